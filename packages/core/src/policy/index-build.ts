import { addKey, createTries, type Tries } from './index-dimension.js';
import type { Guards } from './index-guard.js';
import { createGate, narrowGate, type Gate } from './index-gate.js';
import type { Dimension } from './index-keys.js';
import { createSearch, type Bucket, type Collected, type IndexNode, type RuleSearch, type Visited } from './index-search.js';
import { createScales, pickKeys, rulesPerStep, smallSet, weigh, type Scales } from './index-weigh.js';

/** How often the rules of one key are divided anew by another of their fields. */
const deepest = 4;

/** An index, and the positions of the rules that requests may have to try one after the other, because no key finds them. */
export interface BuiltIndex {
  readonly search: RuleSearch | undefined;
  readonly walked: readonly number[];
}

/** An index while it is built. */
interface Building {
  readonly guards: Guards;
  readonly scales: Scales;
  readonly nodes: IndexNode[];
  readonly walked: number[];
}

/**
 * Builds the index of a list of rules from their guards: each rule hangs on the keys of the field that sets it apart from the others, and many
 * rules on one key are divided anew by another field. Without a search when the list is short or no rule has keys. Yields between steps of a fraction
 * of a millisecond.
 */
export function* buildIndex(guards: Guards): Generator<void, BuiltIndex> {
  const positions = Array.from({ length: guards.starts.length - 1 }, (_, position) => position);
  if (positions.length <= smallSet) return { search: undefined, walked: positions };
  const building: Building = { guards, scales: createScales(guards), nodes: [], walked: [] };
  const top = yield* divide(positions, building, 0);
  if (top === undefined) return { search: undefined, walked: positions };
  return { search: createSearch(top, building.nodes), walked: building.walked };
}

/** An index of some of the rules; undefined when their keys are all the same. */
function* divide(positions: readonly number[], building: Building, depth: number): Generator<void, IndexNode | undefined> {
  const { guards, scales, walked } = building;
  yield* weigh(scales, positions);
  const hooks = new Map<Dimension, Hook>();
  const buckets: Bucket[] = [];
  const rest: number[] = [];
  const chosen: number[] = [];
  let hung = 0;
  const limit = depth > 0 ? positions.length : Infinity;
  for (let at = 0; at < positions.length; at += 1) {
    if (at % rulesPerStep === 0) yield;
    const position = positions[at] as number;
    const count = pickKeys(scales, position, limit, chosen);
    if (count === 0) rest.push(position);
    for (let key = 0; key < count; key += 1) hang(chosen[key] as number, position, guards, hooks, buckets);
    hung += count;
  }
  if (hooks.size === 0) return undefined;
  for (const position of rest) walked.push(position);
  // A rule of many values stands in many buckets: dividing each of them by many values again would multiply them.
  const mayDivide = depth < deepest && hung <= positions.length * 2 + 64;
  for (const bucket of buckets) {
    if (mayDivide) bucket.nested = yield* divide(bucket.positions, building, depth + 1);
    if (bucket.nested !== undefined) bucket.positions = [];
    else for (const position of bucket.positions) walked.push(position);
  }
  return createNode(hooks, rest, building);
}

/** What hangs on the keys of one dimension. */
interface Hook {
  readonly tries: Tries;
  gate: Gate;
}

/** Hangs a rule on one of its keys. */
function hang(key: number, position: number, guards: Guards, hooks: Map<Dimension, Hook>, buckets: Bucket[]): void {
  const dimension = guards.keys.dimensions[key] as Dimension;
  let hook = hooks.get(dimension);
  if (hook === undefined) hooks.set(dimension, (hook = { tries: createTries(), gate: new Set() }));
  if ('visit' in dimension.lookup) hook.gate = narrowGate(hook.gate, position, guards);
  const bucket = addKey(hook.tries, guards.keys.at(key), position, smallSet);
  if (bucket !== undefined) buckets.push(bucket);
}

function createNode(hooks: ReadonlyMap<Dimension, Hook>, rest: readonly number[], { guards, nodes }: Building): IndexNode {
  const collected: Collected[] = [];
  const visited: Visited[] = [];
  for (const [{ lookup }, { tries, gate }] of hooks) {
    if ('collect' in lookup) collected.push({ collect: lookup.collect, tries });
    else visited.push({ visit: lookup.visit, tries, gate: createGate(gate, guards) });
  }
  const open = visited.filter(({ gate }) => gate === undefined);
  const peerless = open.length === visited.length ? visited : open;
  const node: IndexNode = { collected, visited, peerless, rest, known: new Map() };
  nodes.push(node);
  return node;
}
