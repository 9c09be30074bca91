import type { RequestAttributes } from '../request/attributes.js';
import { trimBlanks } from '../request/header-lines.js';
import type { Key } from './index-keys.js';
import type { Asked, Bucket } from './index-search.js';
import { addToTrie, createTrie, searchBackward, searchForward, type Place, type Trie } from './index-trie.js';

/** The keys of one dimension that an index holds; claims have more of the kind below, by the names of their members. */
export interface Tries {
  forward: Trie | undefined;
  backward: Trie | undefined;
  members: Members | undefined;
}

/** The members of a claim by name, and the same as two lists, because walking a Map costs more than what is looked up. */
interface Members {
  readonly byName: Map<string, Tries>;
  readonly names: string[];
  readonly tries: Tries[];
}

export const createTries = (): Tries => ({ forward: undefined, backward: undefined, members: undefined });

/** Hangs a rule on a key; answers the bucket when this rule is the one that made it hold more than `few`. */
export function addKey(tries: Tries, { path, form, text }: Key, position: number, few: number): Bucket | undefined {
  let place = tries;
  for (const name of path) {
    place = memberOf((place.members ??= { byName: new Map(), names: [], tries: [] }), name);
  }
  if (form === 'suffix') return addToTrie((place.backward ??= createTrie(true)), text, true, position, few);
  return addToTrie((place.forward ??= createTrie(false)), text, form === 'prefix', position, few);
}

function memberOf({ byName, names, tries }: Members, name: string): Tries {
  let member = byName.get(name);
  if (member === undefined) {
    byName.set(name, (member = createTries()));
    names.push(name);
    tries.push(member);
  }
  return member;
}

/** Searches an index by what one attribute of the request says: the smallest matching position below `best`, else `best`. */
export type Visit = (tries: Tries, asked: Asked, best: number) => number;

/** What hangs on the keys that the peer's SPIFFE ID satisfies; of most use to those who remember it. */
export type Collect = (tries: Tries, uri: string, into: Place[]) => void;

function visitText({ forward, backward }: Tries, text: string, asked: Asked, best: number): number {
  let found = best;
  if (forward !== undefined) found = searchForward(forward, text, 0, text.length, asked, found);
  if (backward !== undefined) found = searchBackward(backward, text, asked, found);
  return found;
}

/** A text, or a list with texts among its items; anything else has no keys. */
function visitValue(tries: Tries, value: unknown, asked: Asked, best: number): number {
  if (typeof value === 'string') return visitText(tries, value, asked, best);
  if (!Array.isArray(value)) return best;
  let found = best;
  for (const item of value as readonly unknown[]) {
    if (typeof item === 'string') found = visitText(tries, item, asked, found);
  }
  return found;
}

/** An attribute that is a text, a list of texts or absent. */
export const ofValue =
  (read: (request: RequestAttributes) => unknown): Visit =>
  (tries, asked, best) =>
    visitValue(tries, read(asked.request), asked, best);

/** Beyond so many names in the index, the names that the token has are looked up instead: a token rarely has many more, and a search must not grow with the rules. */
const namesLookedFor = 8;

function visitMembers(tries: Tries, value: unknown, asked: Asked, best: number): number {
  const found = visitValue(tries, value, asked, best);
  if (tries.members === undefined || typeof value !== 'object' || value === null || Array.isArray(value)) return found;
  return visitNames(tries.members, value as Readonly<Record<string, unknown>>, asked, found);
}

// Both ways read inherited members too: what they find is a candidate, and the rule's own matcher refuses it.
function visitNames(
  { byName, names, tries }: Members,
  value: Readonly<Record<string, unknown>>,
  asked: Asked,
  best: number,
): number {
  let found = best;
  if (names.length <= namesLookedFor) {
    for (let at = 0; at < names.length; at += 1) {
      const claim = value[names[at] as string];
      if (claim !== undefined) found = visitMembers(tries[at] as Tries, claim, asked, found);
    }
    return found;
  }
  // Unlike Object.keys() this allocates nothing.
  for (const name in value) {
    const member = byName.get(name);
    if (member !== undefined) found = visitMembers(member, value[name], asked, found);
  }
  return found;
}

/** The claims of the user's token; keys have the path of names. */
export const ofClaims: Visit = (tries, asked, best) => {
  const { user } = asked.request;
  return user === undefined ? best : visitMembers(tries, user.claims, asked, best);
};

function visitBare(tries: Tries, line: string, asked: Asked, best: number): number {
  const bare = trimBlanks(line);
  return bare === line ? best : visitText(tries, bare, asked, best);
}

/** The lines of a header; with `items`, each comma-separated item of a line too. */
export const ofHeader =
  (name: string, items: boolean): Visit =>
  (tries, asked, best) => {
    const lines = asked.request.header(name);
    if (lines === undefined) return best;
    let found = best;
    for (const line of lines) {
      found = visitText(tries, line, asked, found);
      if (!items) continue;
      if (line.includes(',')) for (const item of line.split(',')) found = visitText(tries, item.trim(), asked, found);
      else found = visitBare(tries, line, asked, found);
    }
    return found;
  };

type Look = (tries: Tries, path: string, asked: Asked, best: number) => number;

let lastPath = '';
let lastLower = '';

/** Several dimensions ask for the same path in lower case. */
function lowerCase(path: string): string {
  if (path !== lastPath) {
    lastPath = path;
    lastLower = path.toLowerCase();
  }
  return lastLower;
}

/** The path or, in lower case, every spelling of its route: what matches with case matches without, for keys of ASCII. */
const ofSpellings =
  (look: Look, anySpelling: boolean): Visit =>
  (tries, asked, best) => {
    const { request } = asked;
    if (!anySpelling) return look(tries, request.path, asked, best);
    let found = look(tries, lowerCase(request.path), asked, best);
    for (const spelling of request.pathSpellings) found = look(tries, spelling.toLowerCase(), asked, found);
    return found;
  };

const ofPathAlone: Visit = (tries, asked, best) => visitText(tries, asked.request.path, asked, best);

/** The path; with `anySpelling` keys are in lower case and every spelling counts (security rule 3). */
export const ofPath = (anySpelling: boolean): Visit => (anySpelling ? ofSpellings(visitText, true) : ofPathAlone);

/** One segment of the path, counted from 0; its keys are whole segments. */
export const ofSegment = (index: number, anySpelling: boolean): Visit =>
  ofSpellings(({ forward }, path, asked, best) => {
    if (forward === undefined) return best;
    let start = 0;
    for (let left = index; left > 0; left -= 1) {
      start = path.indexOf('/', start + 1);
      if (start === -1) return best;
    }
    const slash = path.indexOf('/', start + 1);
    return searchForward(forward, path, start + 1, slash === -1 ? path.length : slash, asked, best);
  }, anySpelling);
