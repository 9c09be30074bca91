import { derChildren, derTag, expectDer, malformed, parseDer, type DerElement } from './der.js';
import type { Extension } from './extensions.js';
import { generalNameTag, readAsciiName, type SubjectAltNames } from './subject-alt-name.js';

/** One side of the name constraints of a CA (RFC 5280 section 4.2.1.10); `other` when it speaks of anything but URIs and DNS names. */
export interface NameSubtrees {
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly other: boolean;
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
 * Whether a certificate with these names may stand below a CA with these constraints. A kind of name that is constrained
 * but not understood here is not allowed at all. `subject` is the distinguished name, `''` when empty.
 */
export function isNameAllowed(constraints: NameConstraints, names: SubjectAltNames & { readonly subject: string }): boolean {
  const { permitted, excluded } = constraints;
  if ((permitted.other || excluded.other) && (names.subject !== '' || names.otherSans.size > 0)) return false;
  const hosts = names.uriSans.map(uriHost);
  if (hosts.includes(undefined) && permitted.uris.length + excluded.uris.length > 0) return false;
  const isUriIn = (list: readonly string[]) => (host: string | undefined) =>
    list.some((base) => matchesUriBase(host ?? '', base));
  const isDnsIn = (list: readonly string[]) => (name: string) => list.some((base) => matchesDnsBase(name, base));
  if (hosts.some(isUriIn(excluded.uris)) || names.dnsSans.some(isDnsIn(excluded.dns))) return false;
  if (permitted.uris.length > 0 && !hosts.every(isUriIn(permitted.uris))) return false;
  return permitted.dns.length === 0 || names.dnsSans.every(isDnsIn(permitted.dns));
}

function readSubtrees(list: DerElement | undefined): NameSubtrees {
  const uris: string[] = [];
  const dns: string[] = [];
  let other = false;
  for (const subtree of list === undefined ? [] : derChildren(list)) {
    const [base, more] = derChildren(expectDer(subtree, derTag.sequence, 'name constraint'));
    // RFC 5280 leaves no minimum but 0, which DER does not write, and no maximum.
    if (base === undefined || more !== undefined) throw malformed('a name constraint with a distance');
    if (base.tag === generalNameTag.uri) uris.push(readAsciiName(base).toLowerCase());
    else if (base.tag === generalNameTag.dns && base.content.length === 0) dns.push('');
    else if (base.tag === generalNameTag.dns) dns.push(readAsciiName(base).toLowerCase());
    else other = true;
  }
  return { uris, dns, other };
}

function uriHost(uri: string): string | undefined {
  return /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9._-]+)(?:\/|$)/i.exec(uri)?.[1]?.toLowerCase();
}

function matchesUriBase(host: string, base: string): boolean {
  return base.startsWith('.') ? host.endsWith(base) && host.length > base.length : host === base;
}

function matchesDnsBase(name: string, base: string): boolean {
  const lower = name.toLowerCase();
  return base === '' || lower === base || lower.endsWith(base.startsWith('.') ? base : `.${base}`);
}
