import type { RequestAttributes } from '../request/attributes.js';
import type { RequestMatcher } from './conditions.js';

/** What the index searches: a rule's matcher has the last word on every candidate. */
export interface IndexedRule {
  readonly matches: RequestMatcher;
}

/** Finds the smallest position below `best` whose rule matches, else answers `best`. */
export interface RuleSearch {
  search(rules: readonly IndexedRule[], request: RequestAttributes, best: number): number;
}

/** The rules that hang on one key, by ascending position, or an index of them when they are many. */
export interface Bucket {
  /** The smallest position in it. */
  readonly first: number;
  positions: number[];
  nested: RuleSearch | undefined;
}

/** A node of a {@link Trie}: the keys below it share their first `at` characters, which are those of `key`. */
interface TrieNode {
  readonly at: number;
  key: string;
  /** For texts that are the key, and for texts that begin (or end) with it. */
  exact: Bucket | undefined;
  open: Bucket | undefined;
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

function createNode(at: number, key: string): TrieNode {
  return { at, key, exact: undefined, open: undefined, low: 0, table: [], wide: undefined };
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
  if (node.table.length === 0) node.low = code;
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

/** Hangs a rule on a key; `open` keys also match texts that go on. Positions must come in ascending order. Answers the bucket when it is new. */
export function addToTrie(trie: Trie, key: string, open: boolean, position: number): Bucket | undefined {
  const node = nodeFor(trie, key);
  const bucket = open ? node.open : node.exact;
  if (bucket !== undefined) {
    if (bucket.positions.at(-1) !== position) bucket.positions.push(position);
    return undefined;
  }
  const made: Bucket = { first: position, positions: [position], nested: undefined };
  if (open) node.open = made;
  else node.exact = made;
  return made;
}

/** The smallest matching position below `best` among ascending positions, else `best`. */
export function searchPositions(
  positions: readonly number[],
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  for (let at = 0; at < positions.length; at += 1) {
    const position = positions[at] as number;
    if (position >= best) return best;
    if ((rules[position] as IndexedRule).matches(request)) return position;
  }
  return best;
}

function searchBucket(bucket: Bucket, rules: readonly IndexedRule[], request: RequestAttributes, best: number): number {
  return bucket.nested === undefined
    ? searchPositions(bucket.positions, rules, request, best)
    : bucket.nested.search(rules, request, best);
}

/** Whether a bucket is worth comparing its key first: characters that all keys share were passed over on the way down. */
const isBig = (bucket: Bucket): boolean => bucket.nested !== undefined || bucket.positions.length > 2;

/** Searches the rules of every key that is, or begins, `text` from `from` on. */
export function searchForward(
  root: TrieNode,
  text: string,
  from: number,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  let node = root;
  let found = best;
  for (;;) {
    const { open, at } = node;
    if (open !== undefined && open.first < found && (!isBig(open) || text.startsWith(node.key, from))) {
      found = searchBucket(open, rules, request, found);
    }
    if (from + at === text.length) {
      const { exact } = node;
      if (exact === undefined || exact.first >= found || (isBig(exact) && !text.startsWith(node.key, from))) return found;
      return searchBucket(exact, rules, request, found);
    }
    const child = childOf(node, text.charCodeAt(from + at));
    if (child === undefined || from + child.at > text.length) return found;
    node = child;
  }
}

/** Searches the rules of every key that ends `text` before `end`. */
export function searchBackward(
  root: TrieNode,
  text: string,
  end: number,
  rules: readonly IndexedRule[],
  request: RequestAttributes,
  best: number,
): number {
  let node = root;
  let found = best;
  for (;;) {
    const { open, at } = node;
    if (open !== undefined && open.first < found && (!isBig(open) || text.endsWith(node.key, end))) {
      found = searchBucket(open, rules, request, found);
    }
    if (end === at) return found;
    const child = childOf(node, text.charCodeAt(end - 1 - at));
    if (child === undefined || child.at > end) return found;
    node = child;
  }
}
