import { constants, verify } from 'node:crypto';
import { createScratch, writtenOctets } from './base64url.js';
import type { JwtKey } from './jwk.js';
import { refusals, type JwtRefusal } from './outcome.js';
import { signatureOf, type Jws } from './jws.js';

interface Algorithm {
  /** undefined: the key's own (EdDSA). */
  readonly hash: string | undefined;
  readonly pss?: true;
  /** Octets of a signature where the algorithm fixes them. */
  readonly octets?: number;
}

const ed25519Octets = 64;

const algorithms: Readonly<Record<string, Algorithm>> = {
  RS256: { hash: 'sha256' },
  RS384: { hash: 'sha384' },
  RS512: { hash: 'sha512' },
  PS256: { hash: 'sha256', pss: true },
  PS384: { hash: 'sha384', pss: true },
  PS512: { hash: 'sha512', pss: true },
  ES256: { hash: 'sha256', octets: 64 },
  ES384: { hash: 'sha384', octets: 96 },
  ES512: { hash: 'sha512', octets: 132 },
  EdDSA: { hash: undefined, octets: ed25519Octets },
};

/**
 * Checks a token's signature against a key set, synchronously: undefined when a key verifies it, else why not (istio-semantics 2.5 step 5).
 * The key decides which algorithms it is used with, never the token.
 */
export function checkSignature(token: Jws, keys: readonly JwtKey[]): JwtRefusal | undefined {
  if (keys.length === 0) return refusals.noUsableKey;
  const signature = signatureOf(token);
  let refusal: JwtRefusal = refusals.keyUnknown;
  for (const key of keys) {
    if (token.kid !== '' && key.kid !== '' && token.kid !== key.kid) continue;
    if (key.alg !== '' && key.alg !== token.alg) continue;
    // A key without alg that does not fit counts as tried: Envoy's answer to such a token is that of a failed verification.
    if (refusal === refusals.keyUnknown) refusal = refusals.signature;
    // Envoy looks at no key behind an Ed25519 one whose signatures have another length, whatever the alg of the token.
    if (key.key.asymmetricKeyType === 'ed25519' && signature.length !== ed25519Octets) return refusals.ed25519Length;
    if (key.algorithms.has(token.alg) && isSignedBy(token, signature, key)) return undefined;
  }
  return refusal;
}

const scratch = createScratch();

function signedOctets({ text, signedLength }: Jws): Uint8Array {
  if (signedLength > scratch.room.length) return Buffer.from(text.slice(0, signedLength), 'latin1');
  return writtenOctets(scratch, scratch.room.write(text, 0, signedLength, 'latin1'));
}

function isSignedBy(token: Jws, signature: Uint8Array, { key }: JwtKey): boolean {
  const algorithm = algorithms[token.alg];
  if (algorithm === undefined) return false;
  if (algorithm.octets !== undefined && signature.length !== algorithm.octets) return false;
  const data = signedOctets(token);
  try {
    if (algorithm.pss) {
      const { RSA_PKCS1_PSS_PADDING: padding, RSA_PSS_SALTLEN_DIGEST: saltLength } = constants;
      return verify(algorithm.hash, data, { key, padding, saltLength }, signature);
    }
    return verify(algorithm.hash, data, algorithm.octets === undefined ? key : { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    return false;
  }
}
