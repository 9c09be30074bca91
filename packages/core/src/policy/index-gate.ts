import { endOfGuard, isAnyMark } from './index-code.js';
import { addKey, createTries, type Tries } from './index-dimension.js';
import type { Guards } from './index-guard.js';
import type { Dimension } from './index-keys.js';
import type { Collected } from './index-search.js';

/** Peers that the rules of one dimension are for; undefined once a rule is for anyone, or they are too many to be worth asking. */
export type Gate = Set<number> | undefined;

/** So many keys are looked through for each new peer. */
const mostKeys = 256;

/** Notes whom a rule is for. */
export function narrowGate(gate: Gate, position: number, guards: Guards): Gate {
  if (gate === undefined) return undefined;
  const keys = peerKeysOf(position, guards);
  for (const key of keys) gate.add(key);
  return keys.length === 0 || gate.size > mostKeys ? undefined : gate;
}

const nobody: readonly number[] = [];

/** The keys of that part of a rule's guard which only asks for the peer, one of them being needed; none without such a part. */
function peerKeysOf(position: number, { keys, code, starts }: Guards): readonly number[] {
  const isOfPeer = (at: number): boolean => {
    const word = code[at] as number;
    return word < 0 || 'collect' in (keys.dimensions[word] as Dimension).lookup;
  };
  const end = starts[position + 1] as number;
  const start = starts[position] as number;
  if (start === end) return nobody;
  const first = code[start] as number;
  const isAll = first < 0 && !isAnyMark(first);
  for (let part = isAll ? start + 1 : start; part < end; part = endOfGuard(code, part)) {
    const partEnd = endOfGuard(code, part);
    let at = part;
    while (at < partEnd && isOfPeer(at)) at += 1;
    // Of nested guards every key counts: that only opens the gate wider.
    if (at === partEnd) return code.slice(part, partEnd).filter((word) => word >= 0);
  }
  return nobody;
}

/** The keys of a gate, to be looked up by a peer's identity. */
export function createGate(gate: Gate, { keys }: Guards): readonly Collected[] | undefined {
  if (gate === undefined) return undefined;
  const byDimension = new Map<Dimension, Tries>();
  for (const key of gate) {
    const dimension = keys.dimensions[key] as Dimension;
    let tries = byDimension.get(dimension);
    if (tries === undefined) byDimension.set(dimension, (tries = createTries()));
    addKey(tries, keys.at(key), 0, 1);
  }
  return [...byDimension].flatMap(([{ lookup }, tries]) => ('collect' in lookup ? [{ collect: lookup.collect, tries }] : []));
}
