import type { RequestAttributes } from '../request/attributes.js';
import type { Collect, Tries, Visit } from './index-dimension.js';
import type { Place } from './index-trie.js';

/** What the index searches: a rule's matcher has the last word on every candidate. */
export interface IndexedRule {
  matches(request: RequestAttributes): boolean;
}

/** Finds the smallest position below `best` whose rule matches, else answers `best`. */
export interface RuleSearch {
  search(rules: readonly IndexedRule[], request: RequestAttributes, best: number): number;
}

/** Several rules that hang on one key, by ascending position, or an index of them when they are many. */
export interface Bucket {
  /** The smallest position in it. */
  readonly first: number;
  positions: number[];
  nested: IndexNode | undefined;
}

/** The keys of an attribute that is looked up for each request. */
export interface Visited {
  readonly visit: Visit;
  readonly tries: Tries;
  /** Where all of its rules name the peers that they are for: other peers' requests need not be looked up. */
  readonly gate: readonly Collected[] | undefined;
}

/** The keys of an attribute that the peer's identity alone tells. */
export interface Collected {
  readonly collect: Collect;
  readonly tries: Tries;
}

/** An index of some rules: by the peer, by attributes of each request, and those that are tried always. */
export interface IndexNode {
  readonly collected: readonly Collected[];
  readonly visited: readonly Visited[];
  readonly rest: readonly number[];
  /** Those of `visited` that a request without a peer has to be looked up by. */
  readonly peerless: readonly Visited[];
  /** What was found for the peers that asked so far, by SPIFFE ID. */
  readonly known: Map<string, PeerPart>;
}

/** What a node found for one peer: positions of rules, ascending, and whatever has to be searched anew for each request. */
interface PeerPart {
  readonly positions: readonly number[];
  readonly visited: readonly Visited[];
  readonly others: readonly PeerBucket[];
}

interface PeerBucket {
  readonly first: number;
  readonly positions: readonly number[];
  readonly visited: readonly Visited[];
}

/** One question to an index; `best` travels beside it, because it changes on the way. */
export interface Asked {
  rules: readonly IndexedRule[];
  request: RequestAttributes;
  /** What one index remembers of peers altogether. */
  readonly memory: PeerMemory;
}

interface PeerMemory {
  readonly nodes: readonly IndexNode[];
  size: number;
}

/** So many findings are remembered per index, thousands of peers; then all are forgotten, so that no one can make the memory grow. */
const mostRemembered = 5000;

const nobody = undefined as unknown as RequestAttributes;

/** The search by an index whose first node is `top`; `nodes` are all of its nodes. */
export function createSearch(top: IndexNode, nodes: readonly IndexNode[]): RuleSearch {
  // One object for all questions: matchers are synchronous and ask no index.
  const asked: Asked = { rules: [], request: nobody, memory: { nodes, size: 0 } };
  return {
    search(rules, request, best) {
      asked.rules = rules;
      asked.request = request;
      const found = searchNode(top, asked, best);
      asked.request = nobody;
      return found;
    },
  };
}

function searchNode(node: IndexNode, asked: Asked, best: number): number {
  const { peer } = asked.request;
  let found = best;
  if (peer === undefined || (node.collected.length === 0 && node.peerless === node.visited)) {
    found = searchVisited(node.peerless, asked, found);
  } else {
    const { positions, visited, others } = node.known.get(peer.uri) ?? remember(node, peer.uri, asked.memory);
    found = searchPositions(positions, asked, found);
    found = searchVisited(visited, asked, found);
    if (others.length > 0) found = searchOthers(others, asked, found);
  }
  return searchPositions(node.rest, asked, found);
}

function searchOthers(others: readonly PeerBucket[], asked: Asked, best: number): number {
  let found = best;
  for (const other of others) {
    if (other.first >= found) continue;
    found = searchPositions(other.positions, asked, found);
    found = searchVisited(other.visited, asked, found);
  }
  return found;
}

function searchVisited(visited: readonly Visited[], asked: Asked, best: number): number {
  let found = best;
  for (let at = 0; at < visited.length; at += 1) {
    const { visit, tries } = visited[at] as Visited;
    found = visit(tries, asked, found);
  }
  return found;
}

/** The smallest matching position below `best` among ascending positions, else `best`. */
function searchPositions(positions: readonly number[], asked: Asked, best: number): number {
  for (let at = 0; at < positions.length; at += 1) {
    const position = positions[at] as number;
    if (position >= best) return best;
    if ((asked.rules[position] as IndexedRule).matches(asked.request)) return position;
  }
  return best;
}

/** Searches what hangs on a key, whose first position lies below `best`. */
export function searchPlace(place: Exclude<Place, -1>, asked: Asked, best: number): number {
  if (typeof place === 'number') return (asked.rules[place] as IndexedRule).matches(asked.request) ? place : best;
  return place.nested === undefined ? searchPositions(place.positions, asked, best) : searchNode(place.nested, asked, best);
}

/** Looks at a peer's identity for the first time: its rules do not change until the next snapshot. */
function remember(node: IndexNode, uri: string, memory: PeerMemory): PeerPart {
  if (memory.size >= mostRemembered) {
    for (const { known } of memory.nodes) known.clear();
    memory.size = 0;
  }
  const positions = new Set<number>();
  const others = new Map<Place | IndexNode, PeerBucket>();
  gather(node, uri, positions, others);
  const part: PeerPart = {
    positions: [...positions].sort((a, b) => a - b),
    visited: openTo(node, uri),
    others: [...others.values()].sort((a, b) => a.first - b.first),
  };
  node.known.set(uri, part);
  memory.size += 1;
  return part;
}

/** So many rules of a key are remembered by position; of more, only where they are. */
const fewPositions = 8;
const none: readonly never[] = [];

/** What requests of a peer have to be looked up by. */
function openTo({ visited, peerless }: IndexNode, uri: string): readonly Visited[] {
  if (peerless === visited) return visited;
  return visited.filter(({ gate }) => {
    const places: Place[] = [];
    for (const { collect, tries } of gate ?? none) collect(tries, uri, places);
    return gate === undefined || places.length > 0;
  });
}

function gather(node: IndexNode, uri: string, positions: Set<number>, others: Map<Place | IndexNode, PeerBucket>): void {
  const places: Place[] = [];
  for (const { collect, tries } of node.collected) collect(tries, uri, places);
  const add = (from: Bucket | IndexNode, first: number, several: readonly number[], visited: readonly Visited[]): void => {
    const isFew = several.length <= fewPositions;
    if (isFew) for (const position of several) positions.add(position);
    if (!isFew || visited.length > 0) others.set(from, { first, positions: isFew ? none : several, visited });
  };
  for (const place of places) {
    if (typeof place === 'number') positions.add(place);
    else if (place.nested === undefined) add(place, place.first, place.positions, none);
    else if (!others.has(place.nested)) {
      add(place.nested, place.first, place.nested.rest, openTo(place.nested, uri));
      gather(place.nested, uri, positions, others);
    }
  }
}
