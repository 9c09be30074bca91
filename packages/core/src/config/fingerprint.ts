import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ConfigFile } from './validate.js';

// About a millisecond of hashing; a set of 64 MiB would otherwise stop the serving thread for a tenth of a second.
const sliceLength = 256 * 1024;

/** A digest of the names and texts of configuration files: equal digests mean that there is nothing new to load. Never stalls the thread for long. */
export async function fingerprintFiles(files: readonly ConfigFile[]): Promise<string> {
  const hash = createHash('sha256');
  let unbroken = 0;
  for (const file of files) {
    hash.update(
      `${file.name.length}:${file.name}${file.meshConfig === true ? '!' : ':'}${file.fault?.message ?? ''}:${file.text.length}:`,
    );
    for (let at = 0; at < file.text.length; at += sliceLength) {
      const slice = file.text.slice(at, at + sliceLength);
      hash.update(slice);
      unbroken += slice.length;
      if (unbroken < sliceLength) continue;
      unbroken = 0;
      await nextTurn();
    }
  }
  return hash.digest('base64url');
}
