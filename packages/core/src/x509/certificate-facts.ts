import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import { readIntegerHex, readOid, readTime } from './der-values.js';
import { formatDistinguishedName } from './distinguished-name.js';
import {
  extensionOid,
  readBasicConstraints,
  readExtendedKeyUsage,
  readExtensions,
  readKeyUsage,
  readSubjectKeyId,
  type Extension,
} from './extensions.js';
import { readNameConstraints, type NameConstraints } from './name-constraints.js';
import { readSubjectAltNames, type OtherSan } from './subject-alt-name.js';

/** What a certificate says, read from its DER and never from a printed form. That it says so proves nothing: signatures are checked elsewhere. */
export interface CertificateFacts {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  /** The further kinds of names in the SAN. */
  readonly otherSans: ReadonlySet<OtherSan>;
  readonly isCa: boolean;
  /** How many CAs may stand below this one; undefined for no limit. */
  readonly pathLength: number | undefined;
  /** Names of the bits as in RFC 5280 (`digitalSignature`, `keyCertSign`, ...); undefined without the extension. */
  readonly keyUsage: ReadonlySet<string> | undefined;
  /** OIDs; undefined without the extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  /** OIDs of critical extensions that nobody here understands: RFC 5280 section 4.2 then refuses the certificate. */
  readonly unknownCritical: readonly string[];
  /** The distinguished name as Envoy prints it (RFC 2253), `''` when empty. */
  readonly subject: string;
  /** The same name in DER: what a certificate signed by this one has as its issuer. */
  readonly subjectDer: Buffer;
  /** Lower-case hexadecimal; undefined without the extension. */
  readonly subjectKeyId: string | undefined;
  /** Lower-case hexadecimal without leading zeros. */
  readonly serial: string;
  /** OID of the algorithm that signed the certificate. */
  readonly signatureAlgorithm: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

const understood: ReadonlySet<string> = new Set([
  extensionOid.basicConstraints,
  extensionOid.keyUsage,
  extensionOid.extendedKeyUsage,
  extensionOid.subjectAltName,
  extensionOid.nameConstraints,
  extensionOid.certificatePolicies,
]);

/** Reads a certificate strictly (RFC 5280 section 4.1, X.690 DER). Throws `ENMESH_X509_MALFORMED`; the message never quotes the certificate. */
export function readCertificateFacts(der: Uint8Array): CertificateFacts {
  const [tbs, algorithm, signature, more] = derChildren(expectDer(parseDer(der), derTag.sequence, 'certificate'));
  if (more !== undefined) throw malformed('more than a certificate');
  expectDer(signature, derTag.bitString, 'signature');
  const fields = readFields(expectDer(tbs, derTag.sequence, 'certificate body'));
  const outer = expectDer(algorithm, derTag.sequence, 'signature algorithm');
  // The inner copy is the one that is signed.
  if (!outer.bytes.equals(fields.algorithm.bytes)) throw malformed('two signature algorithms');
  const { extensions, subject } = fields;
  return {
    ...readSubjectAltNames(extensions.get(extensionOid.subjectAltName)),
    ...readBasicConstraints(extensions.get(extensionOid.basicConstraints)),
    keyUsage: readKeyUsage(extensions.get(extensionOid.keyUsage)),
    extendedKeyUsage: readExtendedKeyUsage(extensions.get(extensionOid.extendedKeyUsage)),
    nameConstraints: readNameConstraints(extensions.get(extensionOid.nameConstraints)),
    unknownCritical: [...extensions].filter(([oid, { critical }]) => critical && !understood.has(oid)).map(([oid]) => oid),
    subject: formatDistinguishedName(subject),
    subjectDer: subject.bytes,
    subjectKeyId: readSubjectKeyId(extensions.get(extensionOid.subjectKeyIdentifier)),
    serial: fields.serial,
    signatureAlgorithm: readOid(derChildren(outer)[0]),
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
  };
}

interface Fields {
  readonly serial: string;
  readonly algorithm: DerElement;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly subject: DerElement;
  readonly extensions: ReadonlyMap<string, Extension>;
}

function readFields(body: DerElement): Fields {
  const parts = derChildren(body);
  const version = parts[0]?.tag === 0xa0 ? parts.shift() : undefined;
  const [serial, algorithm, issuer, validity, subject, key, ...rest] = parts;
  expectDer(issuer, derTag.sequence, 'issuer');
  checkPublicKey(expectDer(key, derTag.sequence, 'public key'));
  const times = derChildren(expectDer(validity, derTag.sequence, 'validity'));
  if (times.length !== 2) throw malformed('a broken validity');
  return {
    serial: readIntegerHex(serial, 21),
    algorithm: expectDer(algorithm, derTag.sequence, 'signature algorithm'),
    notBefore: readTime(times[0]),
    notAfter: readTime(times[1]),
    subject: expectDer(subject, derTag.sequence, 'subject'),
    extensions: readExtensionField(rest, version),
  };
}

/**
 * Throws `ENMESH_X509_MALFORMED` for a public key whose curve has no name (RFC 5480 section 2.1.1): OpenSSL would also take one spelled out in
 * numbers, and call it by the name it resembles.
 */
export function checkPublicKey(key: DerElement): void {
  const [algorithm] = derChildren(key);
  const [oid, parameters] = derChildren(expectDer(algorithm, derTag.sequence, 'algorithm of the public key'));
  if (readOid(oid) === '1.2.840.10045.2.1') expectDer(parameters, derTag.oid, 'name of a curve');
}

function readExtensionField(rest: readonly DerElement[], version: DerElement | undefined): ReadonlyMap<string, Extension> {
  const field = rest.at(-1)?.tag === 0xa3 ? rest.at(-1) : undefined;
  const ids = field === undefined ? rest : rest.slice(0, -1);
  // issuerUniqueID and subjectUniqueID: read over, in their order.
  if (ids.some(({ tag }, index) => (tag !== 0x81 && tag !== 0x82) || (index > 0 && tag !== 0x82)) || ids.length > 2) {
    throw malformed('unknown fields');
  }
  if (field === undefined) return new Map();
  const isVersion3 = version !== undefined && readIntegerHex(derChildren(version)[0], 1) === '02';
  const [list, more] = derChildren(field);
  if (!isVersion3 || list === undefined || more !== undefined) throw malformed('extensions outside version 3');
  return readExtensions(list);
}
