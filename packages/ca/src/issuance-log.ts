import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError } from '@enmesh/core/issuance';
import { codeOf } from './durable.js';

/** The issuance log's file, in the authority's directory. */
export const issuanceLogFile = 'issued.jsonl';

/** One certificate that was given out. */
export interface IssuanceRecord {
  /** Times are ISO 8601. */
  readonly time: string;
  readonly serial: string;
  readonly identity: string;
  /** How the caller proved itself, and by what: a token's id, an issuer, a serial number. */
  readonly method: string;
  readonly proof: string;
  readonly notAfter: string;
  /** SHA-256 of the public key's DER in lower-case hexadecimal. */
  readonly publicKeySha256: string;
  readonly address: string;
}

/** A log that is only ever appended to. */
export interface IssuanceLog {
  /** Resolves when the record is on disk. Rejects with `ENMESH_CA_LOG`: then nobody may have the certificate. */
  append(record: IssuanceRecord): Promise<void>;
  close(): Promise<void>;
}

interface Waiting {
  readonly line: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Opens the log of an authority, JSON lines, mode 0600. Records that come together are put on disk together. Rejects with `ENMESH_CA_LOG`. */
export async function openIssuanceLog(directory: string): Promise<IssuanceLog> {
  const path = join(directory, issuanceLogFile);
  const failed = (error: unknown): EnmeshError =>
    new EnmeshError('ENMESH_CA_LOG', `The issuance log ${path} cannot be written (${codeOf(error)})`);
  const handle = await openForAppending(path).catch((error: unknown) => Promise.reject(failed(error)));
  let waiting: Waiting[] = [];
  let flushing: Promise<void> | undefined;
  let isTorn = false;
  const flush = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        // What was cut off by a failure must not swallow the record after it.
        const text = (isTorn ? '\n' : '') + batch.map(({ line }) => line).join('');
        isTorn = true;
        await handle.appendFile(text);
        await handle.datasync();
        isTorn = false;
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(failed(error));
      }
    }
    flushing = undefined;
  };
  return {
    append: (record) =>
      new Promise((resolve, reject) => {
        waiting.push({ line: `${JSON.stringify(record)}\n`, resolve, reject });
        flushing ??= flush();
      }),
    async close() {
      await flushing;
      await handle.close();
    },
  };
}

async function openForAppending(path: string): Promise<FileHandle> {
  const handle = await open(path, 'a+', 0o600);
  const { size } = await handle.stat();
  const last = Buffer.alloc(1);
  if (size > 0) await handle.read(last, 0, 1, size - 1);
  if (size > 0 && last[0] !== 10) await handle.appendFile('\n');
  return handle;
}
