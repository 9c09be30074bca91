import { createHash, createPublicKey, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { EnmeshError } from '../errors.js';
import { readCertificateFacts, type CertificateFacts } from './certificate-facts.js';
import { derChildren, parseDer } from './der.js';
import { createDerWriter, type DerNode, type DerWriter } from './der-writer.js';
import { extendedKeyUsageOid, extensionOid, keyUsages, type KeyUsage } from './extensions.js';
import { formatPem, parsePem } from './pem.js';
import { isStrongKey } from './strength.js';

/** What a certificate shall say, and whose key signs it. It is written as it stands here: an SVID's own rules are `svidOptions`' and `rootOptions`'. */
export interface IssueOptions {
  /** The public key to be certified (a private one stands for its public half). */
  readonly key: KeyObject;
  /** PEM of the signing certificate; absent for a self-signed one. */
  readonly issuer?: string;
  /** The private key that signs: ECDSA on P-256, P-384 or P-521, or RSA of at least 2048 bits. */
  readonly issuerKey: KeyObject;
  /** The subject's `O` and `CN`; an empty subject without both. */
  readonly subject?: { readonly organization?: string; readonly commonName?: string };
  readonly uriSans?: readonly string[];
  readonly dnsSans?: readonly string[];
  readonly isCa: boolean;
  /** How many CAs may stand below this one. */
  readonly pathLength?: number;
  readonly keyUsage: readonly KeyUsage[];
  /** OIDs; no extension when absent. */
  readonly extendedKeyUsage?: readonly string[];
  /** Milliseconds since the epoch; whole seconds are written. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The profile of a SPIFFE leaf (X509-SVID section 4): empty subject, one URI SAN, digitalSignature, both purposes, no CA. */
export function svidOptions(
  uri: string,
  key: KeyObject,
): Pick<IssueOptions, 'key' | 'uriSans' | 'isCa' | 'keyUsage' | 'extendedKeyUsage'> {
  // RFC 8813 forbids keyEncipherment with an ECDSA key, RSA key exchange needs it.
  const keyUsage: KeyUsage[] = key.asymmetricKeyType === 'rsa' ? ['digitalSignature', 'keyEncipherment'] : ['digitalSignature'];
  const { serverAuth, clientAuth } = extendedKeyUsageOid;
  return { key, uriSans: [uri], isCa: false, keyUsage, extendedKeyUsage: [serverAuth, clientAuth] };
}

/** The profile of a trust domain's self-signed root (X509-SVID section 3.2): the trust domain's own SPIFFE ID, keyCertSign and cRLSign. */
export function rootOptions(
  trustDomain: string,
  key: KeyObject,
): Pick<IssueOptions, 'key' | 'issuerKey' | 'subject' | 'uriSans' | 'isCa' | 'keyUsage'> {
  const subject = { organization: trustDomain };
  return { key, issuerKey: key, subject, uriSans: [`spiffe://${trustDomain}`], isCa: true, keyUsage: ['keyCertSign', 'cRLSign'] };
}

/**
 * Writes and signs a certificate (RFC 5280) with a random positive serial of 128 bits, and returns it in PEM. node-forge, loaded by the first call, only
 * lays out our own data as DER; node:crypto signs. The result is read again and verified before anyone gets it.
 * Throws `ENMESH_X509_ISSUE_FAILED`, or `ENMESH_X509_MALFORMED` for an unreadable issuer.
 */
export async function issueCertificate(options: IssueOptions): Promise<string> {
  checkNames(options);
  const der = await createDerWriter();
  const issuer = options.issuer === undefined ? undefined : readIssuer(options.issuer);
  const spki = publicDer(options.key);
  const { oid, hash, parameters } = signatureAlgorithmOf(options.issuerKey);
  const algorithm = der.sequence(der.oid(oid), ...parameters.map(der.raw));
  const subject = writeName(der, options.subject);
  const body = der.sequence(
    der.explicit(0, der.integer(Buffer.of(2))),
    der.integer(newSerial()),
    algorithm,
    issuer === undefined ? subject : der.raw(issuer.facts.subjectDer),
    der.sequence(der.time(options.notBefore), der.time(options.notAfter)),
    subject,
    der.raw(spki),
    der.explicit(3, der.sequence(...writeExtensions(der, options, issuer?.facts))),
  );
  const signature = signBody(der.encode(body), hash, options.issuerKey);
  const certificate = der.encode(der.sequence(body, algorithm, der.bitString(signature)));
  checkResult(certificate, options, issuer?.x509);
  return formatPem('CERTIFICATE', certificate);
}

function checkNames(options: IssueOptions): void {
  const names = [...(options.uriSans ?? []), ...(options.dnsSans ?? [])];
  // forge cuts other characters to one byte without a word.
  if (!names.every((name) => /^[\x21-\x7e]+$/.test(name))) throw failed('a name is not printable ASCII');
  if (!(options.notBefore < options.notAfter)) throw failed('its validity would end before it begins');
}

interface SignatureAlgorithm {
  readonly oid: string;
  readonly hash: string;
  readonly parameters: readonly Uint8Array[];
}

const curveAlgorithms = new Map<string, SignatureAlgorithm>([
  ['prime256v1', { oid: '1.2.840.10045.4.3.2', hash: 'sha256', parameters: [] }],
  ['secp384r1', { oid: '1.2.840.10045.4.3.3', hash: 'sha384', parameters: [] }],
  ['secp521r1', { oid: '1.2.840.10045.4.3.4', hash: 'sha512', parameters: [] }],
]);
// RFC 4055 section 5: the parameters of RSA's algorithms are NULL, not absent.
const rsaAlgorithm: SignatureAlgorithm = { oid: '1.2.840.113549.1.1.11', hash: 'sha256', parameters: [Buffer.of(5, 0)] };

function signatureAlgorithmOf(key: KeyObject): SignatureAlgorithm {
  const { namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const algorithm = key.asymmetricKeyType === 'rsa' ? rsaAlgorithm : curveAlgorithms.get(namedCurve);
  if (key.type !== 'private' || algorithm === undefined || !isStrongKey(key))
    throw failed('the signing key is neither ECDSA on P-256, P-384 or P-521 nor strong RSA');
  return algorithm;
}

function readIssuer(pem: string): { x509: X509Certificate; facts: CertificateFacts } {
  const [certificate] = parsePem(pem, 'CERTIFICATE');
  if (certificate === undefined) throw failed('the signing certificate is missing');
  return { facts: readCertificateFacts(certificate), x509: new X509Certificate(certificate) };
}

function publicDer(key: KeyObject): Buffer {
  if (key.type === 'secret') throw failed('the key to be certified is symmetric');
  const spki = key.type === 'public' ? key : createPublicKey(key);
  return spki.export({ type: 'spki', format: 'der' });
}

function newSerial(): Buffer {
  const serial = randomBytes(16);
  // A leading bit of 0 keeps it positive, a following 1 keeps its length.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function writeName(der: DerWriter, subject: IssueOptions['subject'] = {}): DerNode {
  const attribute = (oid: string, value: string | undefined): DerNode[] =>
    value === undefined ? [] : [der.set(der.sequence(der.oid(oid), der.utf8String(value)))];
  return der.sequence(...attribute('2.5.4.10', subject.organization), ...attribute('2.5.4.3', subject.commonName));
}

function writeExtensions(der: DerWriter, options: IssueOptions, issuer: CertificateFacts | undefined): DerNode[] {
  const extension = (oid: string, critical: boolean, value: DerNode): DerNode =>
    der.sequence(der.oid(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(der.encode(value)));
  const constraints = [
    ...(options.isCa ? [der.boolean(true)] : []),
    ...(options.pathLength === undefined ? [] : [der.integer(Buffer.of(options.pathLength))]),
  ];
  const names = [
    ...(options.uriSans ?? []).map((name) => der.implicit(6, Buffer.from(name))),
    ...(options.dnsSans ?? []).map((name) => der.implicit(2, Buffer.from(name))),
  ];
  const ownId = keyId(options.key);
  const issuerId = issuer?.subjectKeyId === undefined ? ownId : Buffer.from(issuer.subjectKeyId, 'hex');
  const isSubjectEmpty = options.subject === undefined;
  return [
    extension(extensionOid.basicConstraints, true, der.sequence(...constraints)),
    ...(options.keyUsage.length === 0 ? [] : [extension(extensionOid.keyUsage, true, writeKeyUsage(der, options.keyUsage))]),
    ...(options.extendedKeyUsage === undefined
      ? []
      : [extension(extensionOid.extendedKeyUsage, false, der.sequence(...options.extendedKeyUsage.map(der.oid)))]),
    extension(extensionOid.subjectKeyIdentifier, false, der.octetString(ownId)),
    extension(extensionOid.authorityKeyIdentifier, false, der.sequence(der.implicit(0, issuerId))),
    ...(names.length === 0 ? [] : [extension(extensionOid.subjectAltName, isSubjectEmpty, der.sequence(...names))]),
  ];
}

function writeKeyUsage(der: DerWriter, usages: readonly KeyUsage[]): DerNode {
  const bits = usages.map((usage) => keyUsages.indexOf(usage));
  const last = Math.max(...bits);
  const bytes = Buffer.alloc((last >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return der.bitString(bytes, 7 - (last & 7));
}

/** RFC 7093 method 1: the left 160 bits of the SHA-256 of the public key. */
function keyId(key: KeyObject): Buffer {
  const bits = derChildren(parseDer(publicDer(key)))[1]?.content.subarray(1);
  return createHash('sha256')
    .update(bits ?? '')
    .digest()
    .subarray(0, 20);
}

function signBody(body: Buffer, hash: string, key: KeyObject): Buffer {
  try {
    return sign(hash, body, key);
  } catch (cause) {
    throw failed('the signing key cannot sign', cause);
  }
}

function checkResult(certificate: Buffer, options: IssueOptions, issuer: X509Certificate | undefined): void {
  const facts = readCertificateFacts(certificate);
  const x509 = new X509Certificate(certificate);
  const signer = issuer ?? x509;
  const same = (a: readonly string[], b: readonly string[]): boolean => JSON.stringify(a) === JSON.stringify(b);
  if (!same(facts.uriSans, options.uriSans ?? []) || !same(facts.dnsSans, options.dnsSans ?? []))
    throw failed('its names differ');
  if (facts.isCa !== options.isCa || !same([...(facts.keyUsage ?? [])].sort(), [...options.keyUsage].sort()))
    throw failed('its usages differ');
  if (!publicDer(x509.publicKey).equals(publicDer(options.key))) throw failed('its key differs');
  if (!x509.verify(signer.publicKey)) throw failed('the signing key does not belong to the signing certificate');
}

function failed(reason: string, cause?: unknown): EnmeshError {
  return new EnmeshError('ENMESH_X509_ISSUE_FAILED', `The certificate was not issued: ${reason}`, { cause });
}
