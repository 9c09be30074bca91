import { isOfTheHop, type RequestChanges } from '../custom/contract.js';
import { canonicalName, isForged, type StripTable } from '../propagation/strip.js';

/** What an external authorizer changed of a request: later steps judge the request with it, and the handler gets it. */
export interface HeaderOverlay {
  /** Headers with one new value in the place of all their lines, by lower-case name. */
  readonly set: ReadonlyMap<string, string>;
  /** Lower-case names whose lines are gone. */
  readonly removed: ReadonlySet<string>;
  /** The new query, `''` or beginning with `?`; undefined when it stays. */
  readonly query: string | undefined;
}

/** The request as it was before the change. */
export interface OverlayBase {
  header(name: string): readonly string[] | undefined;
  /** What follows `?`, or `''`. */
  readonly query: string;
}

/**
 * Makes the overlay of an authorizer's changes; undefined when there are none. Headers of the hop and pseudo-headers are left alone, and so are
 * headers that carry an identity inside the mesh (the strip table, x-forwarded-client-cert), unless the provider names that very header.
 */
export function createOverlay(changes: RequestChanges, base: OverlayBase, strip: StripTable): HeaderOverlay | undefined {
  const set = new Map<string, string>();
  const removed = new Set(changes.removeHeaders.filter((name) => !isOfTheHop(name)));
  const allowed = changes.setHeaders.filter(
    ({ name, isListed }) => !isOfTheHop(name) && !removed.has(name) && (isListed || !carriesIdentity(name, strip)),
  );
  // In Envoy's order: what overwrites, what appends, and over all what is removed (measured on 1.40).
  for (const { name, value, action } of allowed) if (action === 'overwrite') set.set(name, value);
  for (const { name, value, action } of allowed) {
    const before = set.get(name) ?? base.header(name)?.join(',');
    // It appends to what is there, and adds nothing.
    if (action === 'append' && before !== undefined) set.set(name, `${before},${value}`);
  }
  const query = editQuery(base.query, changes);
  if (set.size === 0 && removed.size === 0 && query === undefined) return undefined;
  return { set, removed, query };
}

function carriesIdentity(name: string, strip: StripTable): boolean {
  const canonical = canonicalName(name);
  return isForged(strip, canonical) || canonical === 'x-forwarded-client-cert';
}

/** The query with parameters removed, then set, names compared as they stand; undefined when nothing is to be done. */
function editQuery(query: string, { setQuery, removeQuery }: RequestChanges): string | undefined {
  if (setQuery.length === 0 && removeQuery.length === 0) return undefined;
  const gone = new Set([...removeQuery, ...setQuery.map(([name]) => name)]);
  const kept = query.split('&').filter((piece) => piece !== '' && !gone.has(piece.split('=', 1)[0] ?? ''));
  const pieces = [...kept, ...setQuery.map(([name, value]) => `${keepWhole(name)}=${keepWhole(value)}`)];
  return pieces.length === 0 ? '' : `?${pieces.join('&')}`;
}

/** Characters that would end a parameter or the query, or that no request target may hold. */
function keepWhole(text: string): string {
  return text.replace(/[&=#\s]|[^\x21-\x7e]/gu, (character) => encodeURIComponent(character));
}
