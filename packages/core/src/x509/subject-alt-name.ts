import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import type { Extension } from './extensions.js';

/** What else than names of the kinds URI and DNS may stand in a SAN. */
export type OtherSan = 'otherName' | 'email' | 'x400Address' | 'directoryName' | 'ediPartyName' | 'ipAddress' | 'registeredId';

/** The names of a certificate by kind; of the kinds that enmesh has no use for only that they are there. */
export interface SubjectAltNames {
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly otherSans: ReadonlySet<OtherSan>;
}

// Context-specific tags of GeneralName (RFC 5280 section 4.2.1.6); the constructed bit is part of the tag, so no form passes for another.
const otherKinds = new Map<number, OtherSan>([
  [0xa0, 'otherName'],
  [0x81, 'email'],
  [0xa3, 'x400Address'],
  [0xa4, 'directoryName'],
  [0xa5, 'ediPartyName'],
  [0x87, 'ipAddress'],
  [0x88, 'registeredId'],
]);

/** GeneralName's tags for the two kinds that are read. */
export const generalNameTag = { dns: 0x82, uri: 0x86 } as const;

/** Reads the subject alternative names. A URI or DNS name with NUL, a control byte or a byte beyond ASCII throws `ENMESH_X509_MALFORMED`. */
export function readSubjectAltNames(extension: Extension | undefined): SubjectAltNames {
  const uriSans: string[] = [];
  const dnsSans: string[] = [];
  const otherSans = new Set<OtherSan>();
  if (extension === undefined) return { uriSans, dnsSans, otherSans };
  const names = derChildren(expectDer(parseDer(extension.value), derTag.sequence, 'subject alternative name'));
  if (names.length === 0) throw malformed('an empty subject alternative name');
  for (const name of names) {
    const other = otherSanOf(name.tag);
    if (name.tag === generalNameTag.uri) uriSans.push(readAsciiName(name));
    else if (name.tag === generalNameTag.dns) dnsSans.push(readAsciiName(name));
    else if (other !== undefined) otherSans.add(other);
    else throw malformed('a subject alternative name of no known kind');
  }
  return { uriSans, dnsSans, otherSans };
}

/** The kind of a GeneralName by its tag, for the kinds that are not read; undefined for any other tag. */
export function otherSanOf(tag: number): OtherSan | undefined {
  return otherKinds.get(tag);
}

/** An IA5String name that is safe to print and compare: printable ASCII only, not empty. */
export function readAsciiName(name: DerElement): string {
  if (name.content.length === 0) throw malformed('an empty name');
  for (const byte of name.content)
    if (byte < 0x20 || byte > 0x7e) throw malformed('a name with a byte that is no printable ASCII');
  return name.content.toString('latin1');
}
