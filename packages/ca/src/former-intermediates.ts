import { join } from 'node:path';
import { readSmallFileIfThere } from '@enmesh/core/issuance';
import { formatPem, parsePem, readCertificateFacts } from '@enmesh/core/x509';
import { replaceFile } from './durable.js';

/** The intermediates that this authority has signed with lately, the newest last. */
export const formerFile = 'intermediates.pem';

/** More than are replaced within the life of a certificate; a path is looked for among ten. */
const maxKept = 4;

/**
 * Remembers the intermediates in use and returns those of before that have not ended. A workload that comes to renew proves itself by a certificate that one
 * of them signed, and what it shows besides its leaf is not told by every release of Node (24.21 keeps it). Without a readable file there are none; one that
 * cannot be written rejects.
 */
export async function rememberIntermediates(
  directory: string,
  current: readonly string[],
  now: number,
): Promise<readonly string[]> {
  const path = join(directory, formerFile);
  const file = await readSmallFileIfThere(path, 1 << 18).catch(() => undefined);
  const former = liveIn(file?.text ?? '', now)
    .filter((pem) => !current.includes(pem))
    .slice(-maxKept);
  const text = [...former, ...current].join('');
  if (text !== file?.text) await replaceFile(path, text, 0o644);
  return former;
}

function liveIn(text: string, now: number): readonly string[] {
  try {
    return parsePem(text, 'CERTIFICATE')
      .filter((der) => readCertificateFacts(der).notAfter > now)
      .map((der) => formatPem('CERTIFICATE', der));
  } catch {
    return [];
  }
}
