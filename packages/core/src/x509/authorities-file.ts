import { X509Certificate } from 'node:crypto';
import { formatPem, parsePem } from './pem.js';
import { fileReason, readSmallFile } from './small-file.js';

const maxBytes = 4 << 20;

/**
 * Reads the certificates of authorities from a file of PEM, anew at each call, so that a renewed file counts at once; what is the same as before is not
 * parsed again. Rejects with what `refuse` makes of the reason: the file cannot be read, is none or has more than 4 MiB, or holds no certificate, or something that is none.
 */
export function createAuthoritiesFile(path: string, refuse: (reason: string) => Error): () => Promise<string> {
  let known: { readonly text: string; readonly pem: string } | undefined;
  return async () => {
    const { text } = await readSmallFile(path, maxBytes).catch((error: unknown) => {
      throw refuse(`cannot be read (${fileReason(error)})`);
    });
    if (known?.text !== text) known = { text, pem: certificatesOf(text, refuse) };
    return known.pem;
  };
}

/** The certificates alone: whatever else stands in the file, a key perhaps, goes no further. */
function certificatesOf(text: string, refuse: (reason: string) => Error): string {
  let certificates: readonly X509Certificate[];
  try {
    certificates = parsePem(text, 'CERTIFICATE').map((der) => new X509Certificate(der));
  } catch {
    throw refuse('holds what is no certificate');
  }
  if (certificates.length === 0) throw refuse('holds no certificate');
  return certificates.map(({ raw }) => formatPem('CERTIFICATE', raw)).join('');
}
