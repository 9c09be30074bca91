import { createHash, type KeyObject } from 'node:crypto';

/** SHA-256 of a public key's DER in lower-case hexadecimal: how the issuance log names keys. */
export function keyHash(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
