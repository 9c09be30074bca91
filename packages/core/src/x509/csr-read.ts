import { createPublicKey, verify, type KeyObject } from 'node:crypto';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { checkPublicKey } from './certificate-facts.js';
import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import { readIntegerHex, readOid } from './der-values.js';
import { extensionOid, readExtensions, type Extension } from './extensions.js';
import { parsePem } from './pem.js';
import { isStrongKey, isStrongSignature } from './strength.js';
import { readSubjectAltNames, type SubjectAltNames } from './subject-alt-name.js';

/** What a certificate signing request asks for. Only its key is proved: names are wishes. */
export interface CertificateRequest extends SubjectAltNames {
  /** The key to be certified; whoever made the request holds its private half. */
  readonly publicKey: KeyObject;
}

const maxLength = 16_384;
const maxAttributes = 16;
const extensionRequestOid = '1.2.840.113549.1.9.14';
const labels = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];

/** Signature algorithms by OID: with which hash, and the type of key that they need. Ed25519 has no hash of its own. */
const algorithms = new Map<string, { readonly hash: string | null; readonly keyType: string }>([
  ['1.2.840.10045.4.3.2', { hash: 'sha256', keyType: 'ec' }],
  ['1.2.840.10045.4.3.3', { hash: 'sha384', keyType: 'ec' }],
  ['1.2.840.10045.4.3.4', { hash: 'sha512', keyType: 'ec' }],
  ['1.2.840.113549.1.1.11', { hash: 'sha256', keyType: 'rsa' }],
  ['1.2.840.113549.1.1.12', { hash: 'sha384', keyType: 'rsa' }],
  ['1.2.840.113549.1.1.13', { hash: 'sha512', keyType: 'rsa' }],
  ['1.3.101.112', { hash: null, keyType: 'ed25519' }],
]);

/**
 * Reads a certificate signing request (PKCS #10, RFC 2986) in PEM: one block, DER to the last byte, a key that is strong and named, and a
 * signature made with it, which node:crypto verifies (proof of possession). At most 16 KiB. Throws `ENMESH_X509_CSR_INVALID`.
 */
export function parseCsr(pem: string): CertificateRequest {
  try {
    return readRequest(pem);
  } catch (error) {
    if (isEnmeshError(error, 'ENMESH_X509_CSR_INVALID')) throw error;
    throw invalid(isEnmeshError(error) ? error.message : 'it cannot be read');
  }
}

function readRequest(pem: string): CertificateRequest {
  if (pem.length > maxLength) throw invalid('it is larger than 16 KiB');
  const [der, more] = labels.flatMap((label) => parsePem(pem, label));
  if (der === undefined || more !== undefined) throw invalid('expected one request in PEM');
  const [info, algorithm, signature, extra] = derChildren(expectDer(parseDer(der), derTag.sequence, 'request'));
  if (extra !== undefined) throw malformed('more than a request');
  const body = expectDer(info, derTag.sequence, 'request body');
  const { key, extensions } = readBody(body);
  checkSignature({ body, algorithm, signature, key });
  return { publicKey: key, ...readSubjectAltNames(extensions.get(extensionOid.subjectAltName)) };
}

function readBody(body: DerElement): { key: KeyObject; extensions: ReadonlyMap<string, Extension> } {
  const [version, subject, spki, attributes, more] = derChildren(body);
  if (readIntegerHex(version, 1) !== '00') throw malformed('a version other than 0');
  expectDer(subject, derTag.sequence, 'subject');
  const keyElement = expectDer(spki, derTag.sequence, 'public key');
  if (more !== undefined) throw malformed('unknown fields');
  checkPublicKey(keyElement);
  return { key: readKey(keyElement.bytes), extensions: readAttributes(attributes) };
}

function readKey(spki: Buffer): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: spki, type: 'spki', format: 'der' });
  } catch {
    throw invalid('its public key cannot be read');
  }
  if (!isStrongKey(key))
    throw invalid('its key is too weak or of another kind: RSA from 2048 bits, ECDSA P-256 to P-521 or Ed25519');
  return key;
}

/** RFC 2986 section 4.1: attributes stand in a context tag 0, which some writers leave out when there are none. */
function readAttributes(field: DerElement | undefined): ReadonlyMap<string, Extension> {
  const none = new Map<string, Extension>();
  if (field === undefined) return none;
  const attributes = derChildren(expectDer(field, 0xa0, 'attributes'));
  if (attributes.length > maxAttributes) throw malformed('too many attributes');
  const seen = new Set<string>();
  let extensions: ReadonlyMap<string, Extension> = none;
  for (const attribute of attributes) {
    const [type, values, more] = derChildren(expectDer(attribute, derTag.sequence, 'attribute'));
    const oid = readOid(type);
    const [value, second] = derChildren(expectDer(values, derTag.set, 'values of an attribute'));
    if (more !== undefined || seen.has(oid)) throw malformed('a broken or repeated attribute');
    seen.add(oid);
    if (oid !== extensionRequestOid) continue;
    if (value === undefined || second !== undefined) throw malformed('an extension request without one value');
    extensions = readExtensions(value);
  }
  return extensions;
}

function checkSignature(o: {
  readonly body: DerElement;
  readonly algorithm: DerElement | undefined;
  readonly signature: DerElement | undefined;
  readonly key: KeyObject;
}): void {
  const [oid, parameters, more] = derChildren(expectDer(o.algorithm, derTag.sequence, 'signature algorithm'));
  const name = readOid(oid);
  const algorithm = algorithms.get(name);
  if (algorithm === undefined || !isStrongSignature(name)) throw invalid('its signature algorithm is not accepted');
  const isNull = parameters?.tag === derTag.null && parameters.content.length === 0;
  if (more !== undefined || (parameters !== undefined && !(isNull && algorithm.keyType === 'rsa')))
    throw malformed('parameters of a signature algorithm that has none');
  if (o.key.asymmetricKeyType !== algorithm.keyType) throw invalid('its signature algorithm does not belong to its key');
  const [unused, ...bytes] = expectDer(o.signature, derTag.bitString, 'signature').content;
  if (unused !== 0) throw malformed('a signature that is no whole bytes');
  if (!isSignedBy(o.body.bytes, algorithm.hash, o.key, Buffer.from(bytes)))
    throw invalid('its signature does not prove that the private key is held');
}

function isSignedBy(body: Buffer, hash: string | null, key: KeyObject, signature: Buffer): boolean {
  try {
    return verify(hash, body, key, signature);
  } catch {
    return false;
  }
}

function invalid(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_X509_CSR_INVALID', `Not an acceptable certificate signing request: ${reason}`);
}
