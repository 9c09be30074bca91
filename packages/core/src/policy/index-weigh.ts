import { endOfGuard, isAnyMark } from './index-code.js';
import type { Guards } from './index-guard.js';
import type { Dimension } from './index-keys.js';

/** Rules that one key may keep together: they are tried one by one, because looking them up costs as much. */
export const smallSet = 4;

/** After so many rules others may have a turn. */
export const rulesPerStep = 64;

/** More rules than there can be: a rule without keys shares nothing with fewer. */
const endless = 0x7fffffff;

/** Which keys rules are to hang on, so that each is tried seldom and few dimensions serve most rules. Counters are those of the set at hand. */
export interface Scales extends Guards {
  readonly dimensions: readonly Dimension[];
  /** How many rules have a key, and which was the last one counted. */
  readonly sharing: Int32Array;
  readonly counted: Int32Array;
  /** Of each rule, how many rules a request that its guard lets through may have to try. */
  readonly fewest: Int32Array;
}

/** Creates the scales for a list of rules. */
export function createScales(guards: Guards): Scales {
  const { dimensions } = guards.keys;
  return {
    ...guards,
    dimensions,
    sharing: new Int32Array(dimensions.length),
    counted: new Int32Array(dimensions.length),
    fewest: new Int32Array(guards.starts.length),
  };
}

/** Counts a set of rules anew, as what {@link pickKeys} then judges by. */
export function* weigh(scales: Scales, positions: readonly number[]): Generator<void, void> {
  // What the peer tells is known from its first request on, so it is preferred to what each request has to be asked for.
  const advantage = positions.length + 1;
  yield* eachInSteps(positions, (position) => forget(scales, position, advantage));
  yield* eachInSteps(positions, (position) => count(scales, position));
  yield* eachInSteps(positions, (position) => cover(scales, position));
}

function* eachInSteps(positions: readonly number[], work: (position: number) => void): Generator<void, void> {
  for (let at = 0; at < positions.length; at += 1) {
    if (at % rulesPerStep === 0) yield;
    work(positions[at] as number);
  }
}

function forget({ code, starts, dimensions, sharing, counted }: Scales, position: number, advantage: number): void {
  const end = starts[position + 1] as number;
  for (let at = starts[position] as number; at < end; at += 1) {
    const key = code[at] as number;
    if (key < 0) continue;
    const dimension = dimensions[key] as Dimension;
    dimension.coverage = 'collect' in dimension.lookup ? advantage : 0;
    sharing[key] = 0;
    counted[key] = -1;
  }
}

function count({ code, starts, sharing, counted }: Scales, position: number): void {
  const end = starts[position + 1] as number;
  for (let at = starts[position] as number; at < end; at += 1) {
    const key = code[at] as number;
    if (key < 0 || counted[key] === position) continue;
    counted[key] = position;
    sharing[key] = (sharing[key] as number) + 1;
  }
}

function cover(scales: Scales, position: number): void {
  const { code, starts, dimensions, sharing } = scales;
  const start = starts[position] as number;
  const end = starts[position + 1] as number;
  const fewest = start === end ? endless : fewestSharing(scales, start);
  scales.fewest[position] = fewest;
  const enough = enoughFor(fewest);
  for (let at = start; at < end; at += 1) {
    const key = code[at] as number;
    if (key >= 0 && (sharing[key] as number) <= enough) (dimensions[key] as Dimension).coverage += 1;
  }
}

/** How many rules of the set a request that this guard lets through may have to try. */
function fewestSharing(scales: Scales, at: number): number {
  const { code, sharing } = scales;
  const word = code[at] as number;
  if (word >= 0) return sharing[word] as number;
  const isAny = isAnyMark(word);
  let fewest = isAny ? 0 : endless;
  const end = endOfGuard(code, at);
  for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
    const ofPart = fewestSharing(scales, part);
    if (isAny ? ofPart > fewest : ofPart < fewest) fewest = ofPart;
  }
  return fewest;
}

/** A key shared by so many rules is still good enough when its dimension serves more rules than the best one's. */
const enoughFor = (fewest: number): number => Math.max(smallSet, fewest * 2);

/** How many rules are found well by the dimensions of this guard; -1 where too many share its keys. */
function coverageOf(scales: Scales, at: number, enough: number): number {
  const { code, sharing, dimensions } = scales;
  const word = code[at] as number;
  if (word >= 0) return (sharing[word] as number) <= enough ? (dimensions[word] as Dimension).coverage : -1;
  const isAny = isAnyMark(word);
  let best = isAny ? endless : -1;
  const end = endOfGuard(code, at);
  for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
    const ofPart = coverageOf(scales, part, enough);
    if (isAny ? ofPart < best : ofPart > best) best = ofPart;
  }
  return best;
}

/**
 * Puts the keys that a rule of the set is to hang on into `chosen`, from its beginning, and answers how many they are: 0 when it has none shared by
 * fewer rules than `limit`.
 */
export function pickKeys(scales: Scales, position: number, limit: number, chosen: number[]): number {
  const fewest = scales.fewest[position] as number;
  if (fewest >= limit || fewest === endless) return 0;
  return Math.max(0, pick(scales, scales.starts[position] as number, enoughFor(fewest), chosen, 0));
}

/** Adds the keys of the parts of a guard that are served best behind the first `picked`; answers how many there are then, or -1 when it has none. */
function pick(scales: Scales, at: number, enough: number, chosen: number[], picked: number): number {
  const { code } = scales;
  const word = code[at] as number;
  if (word >= 0) {
    chosen[picked] = word;
    return picked + 1;
  }
  const isAny = isAnyMark(word);
  const end = endOfGuard(code, at);
  let total = picked;
  let best = -1;
  let most = -1;
  for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
    if (isAny) {
      total = pick(scales, part, enough, chosen, total);
      if (total === -1) return -1;
      continue;
    }
    const coverage = coverageOf(scales, part, enough);
    if (coverage <= most) continue;
    best = part;
    most = coverage;
  }
  if (isAny) return total;
  return best === -1 ? -1 : pick(scales, best, enough, chosen, picked);
}
