import { derChildren, derTag, expectDer, malformed, type DerElement } from './der.js';
import { readOid } from './der-values.js';

// OpenSSL's short names; any other type is printed as its OID and DER, as OpenSSL does with types that it does not know.
const shortNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.13': 'description',
  '2.5.4.15': 'businessCategory',
  '2.5.4.17': 'postalCode',
  '2.5.4.41': 'name',
  '2.5.4.42': 'GN',
  '2.5.4.43': 'initials',
  '2.5.4.46': 'dnQualifier',
  '2.5.4.97': 'organizationIdentifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
  '1.3.6.1.4.1.311.60.2.1.3': 'jurisdictionC',
};

/**
 * A Name as Envoy writes it into x-forwarded-client-cert: RFC 2253 in OpenSSL's hand, the last part first, `''` for an empty one.
 * Throws `ENMESH_X509_MALFORMED`.
 */
export function formatDistinguishedName(name: DerElement): string {
  const parts = derChildren(expectDer(name, derTag.sequence, 'name'));
  return parts
    .map((part) =>
      derChildren(expectDer(part, derTag.set, 'part of a name'))
        .map(formatAttribute)
        .reverse()
        .join('+'),
    )
    .reverse()
    .join(',');
}

function formatAttribute(attribute: DerElement): string {
  const [type, value, more] = derChildren(expectDer(attribute, derTag.sequence, 'attribute of a name'));
  if (value === undefined || more !== undefined) throw malformed('a broken attribute of a name');
  const oid = readOid(type);
  const short = shortNames[oid];
  const text = short === undefined ? undefined : readText(value);
  if (text === undefined) return `${short ?? oid}=#${value.bytes.toString('hex').toUpperCase()}`;
  return `${short}=${escapeText(text)}`;
}

function readText(value: DerElement): string | undefined {
  switch (value.tag) {
    case 0x0c: {
      const text = value.content.toString('utf8');
      // Node puts U+FFFD where the bytes are no UTF-8, so only a true text has the same bytes again.
      if (!Buffer.from(text, 'utf8').equals(value.content)) throw malformed('a name that is not UTF-8');
      return text;
    }
    case 0x12:
    case 0x13:
    case 0x14:
    case 0x16:
    case 0x1a:
      return value.content.toString('latin1');
    case 0x1e:
      if (value.content.length % 2 !== 0) throw malformed('a BMPString of odd length');
      return Buffer.from(value.content).swap16().toString('utf16le');
    default:
      return undefined;
  }
}

function escapeText(text: string): string {
  const bytes = Buffer.from(text, 'utf8');
  let escaped = '';
  for (const [index, byte] of bytes.entries()) {
    const char = String.fromCharCode(byte);
    const edge = (char === '#' && index === 0) || (char === ' ' && (index === 0 || index === bytes.length - 1));
    if (byte < 0x20 || byte > 0x7e) escaped += '\\' + byte.toString(16).toUpperCase().padStart(2, '0');
    else escaped += edge || ',+"\\<>;'.includes(char) ? '\\' + char : char;
  }
  return escaped;
}
