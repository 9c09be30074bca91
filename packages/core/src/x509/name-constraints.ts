import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import type { Extension } from './extensions.js';
import { generalNameTag, otherSanOf, readAsciiName, type OtherSan, type SubjectAltNames } from './subject-alt-name.js';

/** One side of the name constraints of a CA (RFC 5280 section 4.2.1.10); `others` are the kinds constrained that are not understood here. */
export interface NameSubtrees {
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly others: ReadonlySet<OtherSan>;
}

/** The name constraints that a CA puts on every certificate below it. */
export interface NameConstraints {
  readonly permitted: NameSubtrees;
  readonly excluded: NameSubtrees;
}

/** Reads the name constraints; undefined when there are none. Throws `ENMESH_X509_MALFORMED`. */
export function readNameConstraints(extension: Extension | undefined): NameConstraints | undefined {
  if (extension === undefined) return undefined;
  const parts = derChildren(expectDer(parseDer(extension.value), derTag.sequence, 'name constraints'));
  const permitted = parts[0]?.tag === 0xa0 ? parts.shift() : undefined;
  const excluded = parts[0]?.tag === 0xa1 ? parts.shift() : undefined;
  if (parts.length > 0 || (permitted ?? excluded) === undefined) throw malformed('broken name constraints');
  return { permitted: readSubtrees(permitted), excluded: readSubtrees(excluded) };
}

/**
 * Whether a certificate with these names may stand below a CA with these constraints. A name of a kind that is constrained but not understood
 * here (addresses, e-mail, directory names) is not allowed at all. `subject` is the distinguished name, `''` when empty.
 */
export function isNameAllowed(constraints: NameConstraints, names: SubjectAltNames & { readonly subject: string }): boolean {
  const { permitted, excluded } = constraints;
  if (hasUnjudgedName(permitted, names) || hasUnjudgedName(excluded, names)) return false;
  return (
    areInside(names.uriSans, permitted.uris, excluded.uris, uriHost, isHostBelow) &&
    areInside(names.dnsSans, permitted.dns, excluded.dns, dnsName, isDnsBelow)
  );
}

function hasUnjudgedName(
  subtrees: NameSubtrees,
  names: { readonly otherSans: ReadonlySet<OtherSan>; readonly subject: string },
): boolean {
  const isSubjectMeant = (kind: OtherSan): boolean =>
    (kind === 'directoryName' && names.subject !== '') || (kind === 'email' && names.subject.includes('emailAddress='));
  return [...subtrees.others].some((kind) => names.otherSans.has(kind) || isSubjectMeant(kind));
}

/** `hostOf` returns undefined for a name that cannot be judged; under any constraint of its kind it is refused. */
function areInside(
  names: readonly string[],
  permitted: readonly string[],
  excluded: readonly string[],
  hostOf: (name: string) => string | undefined,
  isBelow: (host: string, base: string) => boolean,
): boolean {
  if (permitted.length + excluded.length === 0) return true;
  return names.every((name) => {
    const host = hostOf(name);
    if (host === undefined || excluded.some((base) => isBelow(host, base))) return false;
    return permitted.length === 0 || permitted.some((base) => isBelow(host, base));
  });
}

function readSubtrees(list: DerElement | undefined): NameSubtrees {
  const uris: string[] = [];
  const dns: string[] = [];
  const others = new Set<OtherSan>();
  const subtrees = list === undefined ? [] : derChildren(list);
  if (list !== undefined && subtrees.length === 0) throw malformed('an empty list of name constraints');
  for (const subtree of subtrees) {
    const [base, more] = derChildren(expectDer(subtree, derTag.sequence, 'name constraint'));
    // RFC 5280 leaves no minimum but 0, which DER does not write, and no maximum.
    if (base === undefined || more !== undefined) throw malformed('a name constraint with a distance');
    const other = otherSanOf(base.tag);
    if (base.tag === generalNameTag.uri) uris.push(readAsciiName(base).toLowerCase());
    else if (base.tag === generalNameTag.dns) dns.push(readDnsBase(base));
    else if (other !== undefined) others.add(other);
    else throw malformed('a name constraint of no known kind');
  }
  return { uris, dns, others };
}

/** A DNS base without labels constrains every name. */
function readDnsBase(base: DerElement): string {
  const text = base.content.length === 0 ? '' : readAsciiName(base).toLowerCase();
  if (text.startsWith('.')) throw malformed('a DNS name constraint that begins with a dot');
  return text;
}

function uriHost(uri: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9._-]+)(?:\/|$)/i.exec(uri)?.[1]?.toLowerCase();
}

/** Wildcards stand for names inside and outside of a constraint, so they are not judged. */
function dnsName(name: string): string | undefined {
  return /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/i.test(name) ? name.toLowerCase() : undefined;
}

function isHostBelow(host: string, base: string): boolean {
  return base.startsWith('.') ? host.endsWith(base) && host.length > base.length : host === base;
}

function isDnsBelow(name: string, base: string): boolean {
  return base === '' || name === base || name.endsWith(`.${base}`);
}
