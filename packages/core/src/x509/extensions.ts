import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import { readBoolean, readIntegerHex, readNamedBits, readOid } from './der-values.js';

/** OIDs of the extensions that enmesh reads or writes (RFC 5280 section 4.2.1). */
export const extensionOid = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Bits of the key usage extension in their order (RFC 5280 section 4.2.1.3). */
export const keyUsages = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

/** One bit of the key usage extension. */
export type KeyUsage = (typeof keyUsages)[number];

/** Purposes of keys: an SVID with the extension has both of TLS (X509-SVID section 4.4); `any` counts for its signers only. */
export const extendedKeyUsageOid = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  any: '2.5.29.37.0',
} as const;

/** An extension as it stands in a certificate; `value` is the DER inside the OCTET STRING. */
export interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

/** The extensions of a certificate by OID. An OID that comes twice throws `ENMESH_X509_MALFORMED`: readers would disagree on which one counts. */
export function readExtensions(list: DerElement): ReadonlyMap<string, Extension> {
  const extensions = new Map<string, Extension>();
  for (const item of derChildren(expectDer(list, derTag.sequence, 'extensions'))) {
    const parts = derChildren(expectDer(item, derTag.sequence, 'extension'));
    const oid = readOid(parts[0]);
    const flag = parts.length === 3 ? parts[1] : undefined;
    const value = expectDer(parts[flag === undefined ? 1 : 2], derTag.octetString, 'value of an extension');
    if (parts.length > 3 || extensions.has(oid)) throw malformed('a broken or repeated extension');
    extensions.set(oid, { critical: flag !== undefined && readBoolean(flag), value: value.content });
  }
  if (extensions.size === 0) throw malformed('an empty list of extensions');
  return extensions;
}

/** Basic constraints: whether this is a CA, and how many CAs may stand below it. */
export function readBasicConstraints(extension: Extension | undefined): { isCa: boolean; pathLength: number | undefined } {
  if (extension === undefined) return { isCa: false, pathLength: undefined };
  const parts = derChildren(expectDer(parseDer(extension.value), derTag.sequence, 'basic constraints'));
  const flag = parts[0]?.tag === derTag.boolean ? parts.shift() : undefined;
  const length = parts.shift();
  if (parts.length > 0) throw malformed('broken basic constraints');
  const pathLength = length === undefined ? undefined : Number.parseInt(readIntegerHex(length, 2), 16);
  return { isCa: flag !== undefined && readBoolean(flag), pathLength };
}

/** The bits of the key usage extension; undefined when there is none. */
export function readKeyUsage(extension: Extension | undefined): ReadonlySet<string> | undefined {
  if (extension === undefined) return undefined;
  return new Set(readNamedBits(parseDer(extension.value)).map((bit) => keyUsages[bit] ?? `bit ${bit}`));
}

/** The purposes of the extended key usage extension as OIDs; undefined when there is none. */
export function readExtendedKeyUsage(extension: Extension | undefined): readonly string[] | undefined {
  if (extension === undefined) return undefined;
  return derChildren(expectDer(parseDer(extension.value), derTag.sequence, 'extended key usage')).map(readOid);
}

/** The subject key identifier in lower-case hexadecimal; undefined when there is none. */
export function readSubjectKeyId(extension: Extension | undefined): string | undefined {
  if (extension === undefined) return undefined;
  return expectDer(parseDer(extension.value), derTag.octetString, 'subject key identifier').content.toString('hex');
}
