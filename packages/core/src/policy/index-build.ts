import { addKey, createTries, type Tries } from './index-dimension.js';
import type { Dimension, Guard, GuardKey } from './index-keys.js';
import { searchPositions, type Bucket, type RuleSearch } from './index-trie.js';

/** Up to so many rules are tried one by one: looking them up costs as much. */
const smallSet = 4;

/** How often the rules of one key are divided anew by another of their fields. */
const deepest = 4;

/** After so many rules others may have a turn. */
const rulesPerStep = 32;

/**
 * Builds the index of a list of rules from their guards, which stand at the rules' positions: each rule hangs on the keys of the field that
 * sets it apart from the others, and many rules on one key are divided anew by another field. Undefined when the list is short. Yields
 * between steps of a fraction of a millisecond.
 */
export function* buildIndex(guards: readonly Guard[]): Generator<void, RuleSearch | undefined> {
  if (guards.length <= smallSet) return undefined;
  return yield* divide(
    guards.map((_, position) => position),
    guards,
    0,
  );
}

/** An index of some of the rules; undefined when their keys are all the same. */
function* divide(positions: readonly number[], guards: readonly Guard[], depth: number): Generator<void, RuleSearch | undefined> {
  const choose = yield* weigh(positions, guards);
  const probes = new Map<Dimension, Tries>();
  const buckets: Bucket[] = [];
  const rest: number[] = [];
  let keys = 0;
  for (const [at, position] of positions.entries()) {
    if (at % rulesPerStep === 0) yield;
    const chosen = choose(position, depth > 0 ? positions.length : Infinity);
    if (chosen === undefined) rest.push(position);
    else keys += hang(chosen, position, probes, buckets);
  }
  if (probes.size === 0) return undefined;
  // A rule of many values stands in many buckets: dividing each of them by many values again would multiply them.
  if (depth < deepest && keys <= positions.length * 2 + 64) {
    for (const bucket of buckets) {
      if (bucket.positions.length <= smallSet) continue;
      bucket.nested = yield* divide(bucket.positions, guards, depth + 1);
      if (bucket.nested !== undefined) bucket.positions = [];
    }
  }
  return createIndex(probes, rest);
}

function hang(keys: readonly GuardKey[], position: number, probes: Map<Dimension, Tries>, buckets: Bucket[]): number {
  for (const { dimension, path, form, text } of keys) {
    let tries = probes.get(dimension);
    if (tries === undefined) probes.set(dimension, (tries = createTries()));
    const bucket = addKey(tries, path, form, text, position);
    if (bucket !== undefined) buckets.push(bucket);
  }
  return keys.length;
}

function createIndex(probes: ReadonlyMap<Dimension, Tries>, rest: readonly number[]): RuleSearch {
  const visits = [...probes].map(([dimension, tries]) => ({ visit: dimension.visit, tries }));
  return {
    search(rules, request, best) {
      let found = best;
      for (let at = 0; at < visits.length; at += 1) {
        const { visit, tries } = visits[at] as (typeof visits)[number];
        found = visit(tries, rules, request, found);
      }
      return rest.length === 0 ? found : searchPositions(rest, rules, request, found);
    },
  };
}

/** The keys that a rule is to hang on; undefined when it has none shared by fewer rules than `limit`. */
type Choose = (position: number, limit: number) => readonly GuardKey[] | undefined;

/** Counts how many of the rules share each key, and how many each dimension would find well, so that few dimensions serve most rules. */
function* weigh(positions: readonly number[], guards: readonly Guard[]): Generator<void, Choose> {
  for (const [at, position] of positions.entries()) {
    if (at % rulesPerStep === 0) yield;
    forget(guards[position] as Guard);
  }
  for (const [at, position] of positions.entries()) {
    if (at % rulesPerStep === 0) yield;
    count(guards[position] as Guard, position);
  }
  for (const [at, position] of positions.entries()) {
    if (at % rulesPerStep === 0) yield;
    const guard = guards[position] as Guard;
    cover(guard, enoughFor(fewestSharing(guard)));
  }
  return (position, limit) => {
    const guard = guards[position] as Guard;
    const fewest = fewestSharing(guard);
    if (fewest >= limit) return undefined;
    const chosen: GuardKey[] = [];
    return pick(guard, enoughFor(fewest), chosen) ? chosen : undefined;
  };
}

const partsOf = (guard: Exclude<Guard, GuardKey>): readonly Guard[] => ('all' in guard ? guard.all : guard.any);

function forget(guard: Guard): void {
  if ('dimension' in guard) {
    guard.rules = 0;
    guard.counted = -1;
    guard.dimension.coverage = 0;
  } else for (const part of partsOf(guard)) forget(part);
}

function count(guard: Guard, position: number): void {
  if ('dimension' in guard) {
    if (guard.counted !== position) guard.rules += 1;
    guard.counted = position;
  } else for (const part of partsOf(guard)) count(part, position);
}

function cover(guard: Guard, enough: number): void {
  if ('dimension' in guard) {
    if (guard.rules <= enough) guard.dimension.coverage += 1;
  } else for (const part of partsOf(guard)) cover(part, enough);
}

/** How many rules of the set a request that this guard lets through may have to try. */
function fewestSharing(guard: Guard): number {
  if ('dimension' in guard) return guard.rules;
  const isAny = 'any' in guard;
  let fewest = isAny ? 0 : Infinity;
  for (const part of partsOf(guard)) {
    const sharing = fewestSharing(part);
    if (isAny ? sharing > fewest : sharing < fewest) fewest = sharing;
  }
  return fewest;
}

/** A key shared by so many rules is still good enough when its dimension serves more rules than the best one's. */
const enoughFor = (fewest: number): number => Math.max(smallSet, fewest * 2);

/** How many rules are found well by the dimensions of this guard; -1 where too many share its keys. */
function coverageOf(guard: Guard, enough: number): number {
  if ('dimension' in guard) return guard.rules <= enough ? guard.dimension.coverage : -1;
  const isAny = 'any' in guard;
  let best = isAny ? Infinity : -1;
  for (const part of partsOf(guard)) {
    const coverage = coverageOf(part, enough);
    if (isAny ? coverage < best : coverage > best) best = coverage;
  }
  return best;
}

/** Collects the keys of the parts of a guard that are served best; false when there are none. */
function pick(guard: Guard, enough: number, chosen: GuardKey[]): boolean {
  if ('dimension' in guard) {
    chosen.push(guard);
    return true;
  }
  if ('any' in guard) return guard.any.every((part) => pick(part, enough, chosen));
  let best: Guard | undefined;
  let most = -1;
  for (const part of guard.all) {
    const coverage = coverageOf(part, enough);
    if (coverage <= most) continue;
    best = part;
    most = coverage;
  }
  return best !== undefined && pick(best, enough, chosen);
}
