import type { RequestAttributes } from '../request/attributes.js';
import { addToTrie, createTrie, searchBackward, searchForward, type Bucket, type IndexedRule, type Trie } from './index-trie.js';

/** How a key of the index stands to a text of the request: `exact` is the text, `prefix` begins it, `suffix` ends it. */
export type KeyForm = 'exact' | 'prefix' | 'suffix';

/** The keys of one dimension that an index holds; claims have more of the kind below, by the names of their members. */
export interface Tries {
  forward: Trie | undefined;
  backward: Trie | undefined;
  members: Map<string, Tries> | undefined;
}

export const createTries = (): Tries => ({ forward: undefined, backward: undefined, members: undefined });

/** Hangs a rule on a key; answers the bucket when it is new. */
export function addKey(tries: Tries, path: readonly string[], form: KeyForm, text: string, position: number): Bucket | undefined {
  let place = tries;
  for (const name of path) {
    const members = (place.members ??= new Map());
    let member = members.get(name);
    if (member === undefined) members.set(name, (member = createTries()));
    place = member;
  }
  if (form === 'suffix') return addToTrie((place.backward ??= createTrie(true)), text, true, position);
  return addToTrie((place.forward ??= createTrie(false)), text, form === 'prefix', position);
}

/** Searches an index by what one attribute of the request says: the smallest matching position below `best`, else `best`. */
export type Visit = (tries: Tries, rules: readonly IndexedRule[], request: RequestAttributes, best: number) => number;

function visitText(
  { forward, backward }: Tries,
  text: string,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  let found = best;
  if (forward !== undefined) found = searchForward(forward.root, text, 0, rules, request, found);
  if (backward !== undefined) found = searchBackward(backward.root, text, text.length, rules, request, found);
  return found;
}

/** A text, or a list with texts among its items; anything else has no keys. */
function visitValue(
  tries: Tries,
  value: unknown,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  if (typeof value === 'string') return visitText(tries, value, rules, request, best);
  if (!Array.isArray(value)) return best;
  let found = best;
  for (const item of value as readonly unknown[]) {
    if (typeof item === 'string') found = visitText(tries, item, rules, request, found);
  }
  return found;
}

/** An attribute that is a text, a list of texts or absent. */
export const ofValue =
  (read: (request: RequestAttributes) => unknown): Visit =>
  (tries, rules, request, best) =>
    visitValue(tries, read(request), rules, request, best);

/** Beyond so many names in the index, the names that the token has are looked up instead. */
const namesLookedFor = 8;

function visitMembers(
  tries: Tries,
  value: unknown,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  const found = visitValue(tries, value, rules, request, best);
  if (tries.members === undefined || typeof value !== 'object' || value === null || Array.isArray(value)) return found;
  return visitNames(tries.members, value as Readonly<Record<string, unknown>>, rules, request, found);
}

function visitNames(
  members: Map<string, Tries>,
  value: Readonly<Record<string, unknown>>,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  let found = best;
  if (members.size <= namesLookedFor) {
    for (const [name, member] of members) {
      if (Object.hasOwn(value, name)) found = visitMembers(member, value[name], rules, request, found);
    }
    return found;
  }
  // Unlike Object.keys() this allocates nothing; inherited names are candidates that the matcher refuses.
  for (const name in value) {
    const member = members.get(name);
    if (member !== undefined) found = visitMembers(member, value[name], rules, request, found);
  }
  return found;
}

/** The claims of the user's token; keys have the path of names. */
export const ofClaims: Visit = (tries, rules, request, best) =>
  request.user === undefined ? best : visitMembers(tries, request.user.claims, rules, request, best);

const namespaceMark = '/ns/';
const accountMark = '/sa/';

/**
 * What follows each `/ns/` of the peer's SPIFFE ID (istio-semantics 3.6): keys are namespaces with the slash behind them, the beginnings of
 * such, or as suffixes what stands before any later slash.
 */
export const ofNamespaces: Visit = ({ forward, backward }, rules, request, best) => {
  if (request.peer === undefined) return best;
  const { uri } = request.peer;
  let found = best;
  const first = uri.indexOf(namespaceMark);
  if (first === -1) return found;
  if (forward !== undefined) {
    for (let at = first; at !== -1; at = uri.indexOf(namespaceMark, at + 1)) {
      found = searchForward(forward.root, uri, at + namespaceMark.length, rules, request, found);
    }
  }
  if (backward !== undefined) {
    for (let end = uri.indexOf('/', first + namespaceMark.length); end !== -1; end = uri.indexOf('/', end + 1)) {
      found = searchBackward(backward.root, uri, end, rules, request, found);
    }
  }
  return found;
};

/** The segment behind each `/sa/` of the peer's SPIFFE ID. */
export const ofAccounts: Visit = ({ forward }, rules, request, best) => {
  if (request.peer === undefined || forward === undefined) return best;
  const { uri } = request.peer;
  let found = best;
  for (let at = uri.indexOf(accountMark); at !== -1; at = uri.indexOf(accountMark, at + 1)) {
    const start = at + accountMark.length;
    const slash = uri.indexOf('/', start);
    found =
      slash === -1
        ? searchForward(forward.root, uri, start, rules, request, found)
        : searchForward(forward.root, uri.slice(start, slash), 0, rules, request, found);
  }
  return found;
};

/** The lines of a header; with `items`, each comma-separated item of a line too. */
export const ofHeader =
  (name: string, items: boolean): Visit =>
  (tries, rules, request, best) => {
    const lines = request.header(name);
    if (lines === undefined) return best;
    let found = best;
    for (const line of lines) {
      found = visitText(tries, line, rules, request, found);
      if (!items || !line.includes(',')) continue;
      for (const item of line.split(',')) found = visitText(tries, item.trim(), rules, request, found);
    }
    return found;
  };

type Look = (tries: Tries, path: string, rules: readonly IndexedRule[], request: RequestAttributes, best: number) => number;

/** The path or, in lower case, every spelling of its route: what matches with case matches without, for keys of ASCII. */
const ofSpellings =
  (look: Look, anySpelling: boolean): Visit =>
  (tries, rules, request, best) => {
    if (!anySpelling) return look(tries, request.path, rules, request, best);
    let found = look(tries, request.path.toLowerCase(), rules, request, best);
    for (const spelling of request.pathSpellings) found = look(tries, spelling.toLowerCase(), rules, request, found);
    return found;
  };

/** The path; with `anySpelling` keys are in lower case and every spelling counts (security rule 3). */
export const ofPath = (anySpelling: boolean): Visit => ofSpellings(visitText, anySpelling);

/** One segment of the path, counted from 0. */
export const ofSegment = (index: number, anySpelling: boolean): Visit =>
  ofSpellings((tries, path, rules, request, best) => {
    let start = 0;
    for (let left = index; left > 0; left -= 1) {
      start = path.indexOf('/', start + 1);
      if (start === -1) return best;
    }
    const end = path.indexOf('/', start + 1);
    return visitText(tries, end === -1 ? path.slice(start + 1) : path.slice(start + 1, end), rules, request, best);
  }, anySpelling);
