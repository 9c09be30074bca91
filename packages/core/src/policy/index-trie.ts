import { searchPlace, type Asked, type Bucket } from './index-search.js';

/** What hangs on a key: nothing (-1), the position of a rule, or several rules. Most keys have one, and a number costs nothing to keep. */
export type Place = number | Bucket;

/** A node of a {@link Trie}: the keys below it share their first `at` characters, which are those of `key`. */
interface TrieNode {
  readonly at: number;
  key: string;
  /** For texts that are the key, and for texts that begin (or end) with it. */
  exact: Place;
  open: Place;
  /** Children by the character at `at`: those below 256 from `low` on, the others in `wide`. */
  low: number;
  table: (TrieNode | undefined)[];
  wide: Map<number, TrieNode> | undefined;
}

/**
 * Keys by their characters, read from the front or from the end. Only characters that tell keys apart are looked at on the way down, so the
 * cost of a search grows with neither the number of keys nor their length.
 */
export interface Trie {
  readonly root: TrieNode;
  readonly fromEnd: boolean;
}

/** An empty trie; `fromEnd` for suffixes. */
export function createTrie(fromEnd: boolean): Trie {
  return { root: createNode(0, ''), fromEnd };
}

/** The table of all nodes without children, most of them; never written to. */
const noTable: (TrieNode | undefined)[] = [];

function createNode(at: number, key: string): TrieNode {
  return { at, key, exact: -1, open: -1, low: 0, table: noTable, wide: undefined };
}

function childOf(node: TrieNode, code: number): TrieNode | undefined {
  if (code > 255) return node.wide?.get(code);
  const at = code - node.low;
  return at >= 0 && at < node.table.length ? node.table[at] : undefined;
}

function setChild(node: TrieNode, code: number, child: TrieNode): void {
  if (code > 255) {
    (node.wide ??= new Map()).set(code, child);
    return;
  }
  if (node.table === noTable) {
    node.low = code;
    node.table = [child];
    return;
  }
  if (code < node.low) {
    node.table = [...Array<undefined>(node.low - code).fill(undefined), ...node.table];
    node.low = code;
  }
  while (node.table.length <= code - node.low) node.table.push(undefined);
  node.table[code - node.low] = child;
}

const codeAt = (key: string, at: number, fromEnd: boolean): number => key.charCodeAt(fromEnd ? key.length - 1 - at : at);

/** How many characters two keys share from `at` on, counted from the trie's side, up to `end`. */
function commonEnd(a: string, b: string, at: number, end: number, fromEnd: boolean): number {
  let same = at;
  while (same < end && codeAt(a, same, fromEnd) === codeAt(b, same, fromEnd)) same += 1;
  return same;
}

function nodeFor({ root, fromEnd }: Trie, key: string): TrieNode {
  let node = root;
  while (node.at < key.length) {
    const code = codeAt(key, node.at, fromEnd);
    const child = childOf(node, code);
    if (child === undefined) {
      const leaf = createNode(key.length, key);
      setChild(node, code, leaf);
      return leaf;
    }
    const common = commonEnd(key, child.key, node.at, Math.min(child.at, key.length), fromEnd);
    if (common < child.at) {
      const fork = createNode(common, key);
      setChild(fork, codeAt(child.key, common, fromEnd), child);
      setChild(node, code, fork);
      node = fork;
    } else node = child;
  }
  node.key = key;
  return node;
}

/**
 * Hangs a rule on a key; `open` keys also match texts that go on. Positions must come in ascending order. Answers the bucket when this rule is the one that
 * made it hold more than `few`.
 */
export function addToTrie(trie: Trie, key: string, open: boolean, position: number, few: number): Bucket | undefined {
  const node = nodeFor(trie, key);
  const place = open ? node.open : node.exact;
  if (typeof place !== 'number') {
    const { positions } = place;
    if (positions.at(-1) === position) return undefined;
    return positions.push(position) === few + 1 ? place : undefined;
  }
  if (place === position) return undefined;
  const made: Place = place === -1 ? position : { first: place, positions: [place, position], nested: undefined };
  if (open) node.open = made;
  else node.exact = made;
  return undefined;
}

/** Whether rules are worth comparing the key first: characters that all keys share were passed over on the way down. */
const isBig = (place: Place): boolean => typeof place !== 'number' && (place.nested !== undefined || place.positions.length > 2);

const firstOf = (place: Place): number => (typeof place === 'number' ? place : place.first);

/** Searches the rules of every key that is, or begins, `text` from `from` to `end`. */
export function searchForward(trie: Trie, text: string, from: number, end: number, asked: Asked, best: number): number {
  let node = trie.root;
  let found = best;
  for (;;) {
    const { open, at } = node;
    if (open !== -1 && firstOf(open) < found && (!isBig(open) || text.startsWith(node.key, from))) {
      found = searchPlace(open, asked, found);
    }
    if (from + at === end) {
      const { exact } = node;
      if (exact === -1 || firstOf(exact) >= found || (isBig(exact) && !text.startsWith(node.key, from))) return found;
      return searchPlace(exact, asked, found);
    }
    const child = childOf(node, text.charCodeAt(from + at));
    if (child === undefined || from + child.at > end) return found;
    node = child;
  }
}

/** Searches the rules of every key that ends `text`. */
export function searchBackward(trie: Trie, text: string, asked: Asked, best: number): number {
  let node = trie.root;
  let found = best;
  for (;;) {
    const { open, at } = node;
    if (open !== -1 && firstOf(open) < found && (!isBig(open) || text.endsWith(node.key))) {
      found = searchPlace(open, asked, found);
    }
    if (text.length === at) return found;
    const child = childOf(node, text.charCodeAt(text.length - 1 - at));
    if (child === undefined || child.at > text.length) return found;
    node = child;
  }
}

/** What hangs on every key that is, or begins, `text` from `from` on. */
export function collectForward(trie: Trie | undefined, text: string, from: number, into: Place[]): void {
  for (let node = trie?.root; node !== undefined && from + node.at <= text.length;) {
    if (node.open !== -1 && text.startsWith(node.key, from)) into.push(node.open);
    if (node.exact !== -1 && from + node.at === text.length && text.startsWith(node.key, from)) into.push(node.exact);
    node = childOf(node, text.charCodeAt(from + node.at));
  }
}

/** What hangs on every key that ends `text` before `end`. */
export function collectBackward(trie: Trie | undefined, text: string, end: number, into: Place[]): void {
  for (let node = trie?.root; node !== undefined && node.at <= end;) {
    if (node.open !== -1 && text.endsWith(node.key, end)) into.push(node.open);
    node = node.at === end ? undefined : childOf(node, text.charCodeAt(end - 1 - node.at));
  }
}
