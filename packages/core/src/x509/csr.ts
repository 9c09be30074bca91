import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto';
import { EnmeshError } from '../errors.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import { createDerWriter, type DerNode, type DerWriter } from './der-writer.js';
import { extensionOid } from './extensions.js';
import { formatPem } from './pem.js';
import { isStrongKey } from './strength.js';

/** Whose certificate is asked for: the key stays here, only its public half and the name go out. */
export interface CsrOptions {
  /** The private key to be certified: RSA from 2048 bits, or ECDSA on P-256 or P-384. */
  readonly key: KeyObject;
  /** The SPIFFE ID. */
  readonly uriSan: string;
}

const extensionRequestOid = '1.2.840.113549.1.9.14';

/** How a key signs (RFC 4055 section 5, RFC 5758 section 3.2). */
interface Algorithm {
  readonly oid: string;
  readonly hash: 'sha256' | 'sha384';
  /** RSA has parameters and they are NULL; ECDSA has none. */
  readonly hasNull: boolean;
}

const rsa: Algorithm = { oid: '1.2.840.113549.1.1.11', hash: 'sha256', hasNull: true };
const byCurve: Readonly<Record<string, Algorithm>> = {
  prime256v1: { oid: '1.2.840.10045.4.3.2', hash: 'sha256', hasNull: false },
  secp384r1: { oid: '1.2.840.10045.4.3.3', hash: 'sha384', hasNull: false },
};

/**
 * Writes a certificate signing request (PKCS #10, RFC 2986) as Istio's agent does and istio-csr insists on: an empty subject and one URI SAN, critical,
 * nothing else. Signed with SHA-256, on P-384 with SHA-384; returned in PEM. Throws `ENMESH_IDENTITY_SPIFFE_ID_INVALID`, `ENMESH_X509_KEY_INVALID` for
 * a key that is not private or not strong, and `ENMESH_X509_ISSUE_FAILED` when the key does not verify what it signed.
 */
export async function createCsr({ key, uriSan }: CsrOptions): Promise<string> {
  const { uri } = parseSpiffeId(uriSan);
  const algorithm = algorithmOf(key);
  const der = await createDerWriter();
  const spki = createPublicKey(key);
  const info = der.encode(
    der.sequence(
      der.integer(Buffer.of(0)),
      der.sequence(),
      der.raw(spki.export({ type: 'spki', format: 'der' })),
      der.explicit(0, der.sequence(der.oid(extensionRequestOid), der.set(der.sequence(writeSan(der, uri))))),
    ),
  );
  const signature = sign(algorithm.hash, info, key);
  if (!verify(algorithm.hash, info, spki, signature))
    throw new EnmeshError('ENMESH_X509_ISSUE_FAILED', 'The signing request was not made: its key does not verify it');
  const parameters = algorithm.hasNull ? [der.raw(Buffer.of(0x05, 0x00))] : [];
  const request = der.sequence(der.raw(info), der.sequence(der.oid(algorithm.oid), ...parameters), der.bitString(signature));
  return formatPem('CERTIFICATE REQUEST', der.encode(request));
}

/** RFC 5280 section 4.2.1.6: critical, because the subject is empty. */
function writeSan(der: DerWriter, uri: string): DerNode {
  const names = der.sequence(der.implicit(6, Buffer.from(uri)));
  return der.sequence(der.oid(extensionOid.subjectAltName), der.boolean(true), der.octetString(der.encode(names)));
}

function algorithmOf(key: KeyObject): Algorithm {
  const { namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const algorithm = key.asymmetricKeyType === 'rsa' ? rsa : byCurve[namedCurve];
  if (key.type !== 'private' || algorithm === undefined || !isStrongKey(key)) {
    throw new EnmeshError(
      'ENMESH_X509_KEY_INVALID',
      'The key of a signing request is a private RSA key from 2048 bits, or ECDSA on P-256 or P-384',
    );
  }
  return algorithm;
}
