import { endOfGuard, isAnyMark } from './index-code.js';
import type { Guards } from './index-guard.js';
import type { Dimension } from './index-keys.js';

/** Rules that one key may keep together: they are tried one by one, because looking them up costs as much. */
export const smallSet = 4;

/** After so many rules others may have a turn. */
export const rulesPerStep = 64;

/** More rules than there can be: a rule without keys shares nothing with fewer. */
const endless = 0x7fffffff;

/** Which keys rules are to hang on, so that each is tried seldom and few dimensions serve most rules. */
export interface Scales {
  /** Counts a set of rules anew, as what {@link pick} then judges by. */
  weigh(positions: readonly number[]): Generator<void, void>;
  /** Puts the keys that a rule of that set is to hang on into `chosen` and answers how many they are: 0 when it has none shared by fewer rules than `limit`. */
  pick(position: number, limit: number, chosen: number[]): number;
}

/** Creates the scales for a list of rules. */
export function createScales({ keys, code, starts }: Guards): Scales {
  const { dimensions } = keys;
  /** How many rules of the set at hand have a key, and which was the last one counted. */
  const sharing = new Int32Array(dimensions.length);
  const counted = new Int32Array(dimensions.length).fill(-1);
  const fewestOf = new Int32Array(starts.length);

  /** How many rules of the set a request that this guard lets through may have to try. */
  const fewestSharing = (at: number): number => {
    const word = code[at] as number;
    if (word >= 0) return sharing[word] as number;
    const isAny = isAnyMark(word);
    let fewest = isAny ? 0 : endless;
    const end = endOfGuard(code, at);
    for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
      const of = fewestSharing(part);
      if (isAny ? of > fewest : of < fewest) fewest = of;
    }
    return fewest;
  };

  /** How many rules are found well by the dimensions of this guard; -1 where too many share its keys. */
  const coverageOf = (at: number, enough: number): number => {
    const word = code[at] as number;
    if (word >= 0) return (sharing[word] as number) <= enough ? (dimensions[word] as Dimension).coverage : -1;
    const isAny = isAnyMark(word);
    let best = isAny ? endless : -1;
    const end = endOfGuard(code, at);
    for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
      const of = coverageOf(part, enough);
      if (isAny ? of < best : of > best) best = of;
    }
    return best;
  };

  /** Collects the keys of the parts of a guard that are served best; false when there are none. */
  let picked = 0;
  const collect = (at: number, enough: number, chosen: number[]): boolean => {
    const word = code[at] as number;
    if (word >= 0) {
      chosen[picked] = word;
      picked += 1;
      return true;
    }
    const isAny = isAnyMark(word);
    const end = endOfGuard(code, at);
    let best = -1;
    let most = -1;
    for (let part = at + 1; part < end; part = endOfGuard(code, part)) {
      if (isAny) {
        if (!collect(part, enough, chosen)) return false;
        continue;
      }
      const of = coverageOf(part, enough);
      if (of <= most) continue;
      best = part;
      most = of;
    }
    return isAny || (best !== -1 && collect(best, enough, chosen));
  };

  return {
    *weigh(positions) {
      for (let at = 0; at < positions.length; at += 1) {
        if (at % rulesPerStep === 0) yield;
        const position = positions[at] as number;
        const end = starts[position + 1] as number;
        for (let word = starts[position] as number; word < end; word += 1) {
          const key = code[word] as number;
          if (key < 0) continue;
          const dimension = dimensions[key] as Dimension;
          sharing[key] = 0;
          counted[key] = -1;
          // What the peer tells is known from its first request on, so it is preferred to whatever each request has to be asked.
          dimension.coverage = 'collect' in dimension.lookup ? positions.length + 1 : 0;
        }
      }
      for (let at = 0; at < positions.length; at += 1) {
        if (at % rulesPerStep === 0) yield;
        const position = positions[at] as number;
        const end = starts[position + 1] as number;
        for (let word = starts[position] as number; word < end; word += 1) {
          const key = code[word] as number;
          if (key < 0 || counted[key] === position) continue;
          counted[key] = position;
          sharing[key] = (sharing[key] as number) + 1;
        }
      }
      for (let at = 0; at < positions.length; at += 1) {
        if (at % rulesPerStep === 0) yield;
        const position = positions[at] as number;
        const end = starts[position + 1] as number;
        const start = starts[position] as number;
        const fewest = start === end ? endless : fewestSharing(start);
        fewestOf[position] = fewest;
        const enough = enoughFor(fewest);
        for (let word = start; word < end; word += 1) {
          const key = code[word] as number;
          if (key >= 0 && (sharing[key] as number) <= enough) (dimensions[key] as Dimension).coverage += 1;
        }
      }
    },
    pick(position, limit, chosen) {
      const fewest = fewestOf[position] as number;
      picked = 0;
      if (fewest >= limit || fewest === endless) return 0;
      return collect(starts[position] as number, enoughFor(fewest), chosen) ? picked : 0;
    },
  };
}

/** A key shared by so many rules is still good enough when its dimension serves more rules than the best one's. */
const enoughFor = (fewest: number): number => Math.max(smallSet, fewest * 2);
