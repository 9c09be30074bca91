import type { KeyObject } from 'node:crypto';

const curves: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

// SHA-256, -384 and -512 with ECDSA and RSA, and Ed25519. SHA-1 and MD5 can be forged, and RSA-PSS may hide SHA-1 in its parameters.
const signatureAlgorithms: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
]);

/**
 * Whether a key is strong enough to be, or to sign, an identity: RSA of 2048 to 8192 bits with an exponent of 65537 or more,
 * ECDSA on P-256, P-384 or P-521, or Ed25519.
 */
export function isStrongKey(key: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return modulusLength >= 2048 && modulusLength <= 8192 && publicExponent >= 65537n;
    case 'ec':
      return curves.has(namedCurve);
    case 'ed25519':
      return true;
    default:
      return false;
  }
}

/** What {@link isStrongKey} takes, for messages. */
export const strongKeys = 'RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521 and Ed25519 are taken';

/** Whether a certificate signed with this algorithm (an OID) may be believed. */
export function isStrongSignature(oid: string): boolean {
  return signatureAlgorithms.has(oid);
}
