import { isSameMark, type FileMark, type ScannedFile } from './scan.js';

/** How a file came to its present state, as far as the operating system's events tell: moved into place, or written to (which outweighs the other). */
export type Touch = 'moved' | 'written';

/** One file as it was read: what the directory showed, a digest of its content, and whether it changed while it was being read. */
export interface ReadState {
  readonly file: ScannedFile;
  readonly digest: string;
  readonly torn: boolean;
}

/** When an observation was made: `startedAt` before the first file was opened, `endedAt` after the last; milliseconds since the epoch. */
export interface ObservationTimes {
  readonly startedAt: number;
  readonly endedAt: number;
}

/** Remembers the states in which configuration files were read, to tell a file that may be half written from one that was put there whole. */
export interface Settling {
  /**
   * Compares what was read with what was read before. The answer is how long, in milliseconds, nothing has been changed in place:
   * Infinity when every change came whole, by rename or by the swap of a symbolic link.
   */
  observe(states: readonly ReadState[], touches: ReadonlyMap<string, Touch>, times: ObservationTimes): number;
}

interface Known extends ReadState {
  readonly writtenAt: number;
}

/** Starts with nothing known: at the first observation only a file written a moment ago, by its own times, counts as possibly half written. */
export function createSettling(): Settling {
  let known: ReadonlyMap<string, Known> | undefined;
  // Moves that were heard while the files were already being read, and will show only at the next observation.
  let early = new Map<string, Touch>();
  let removedAt = -Infinity;
  return {
    observe(states, touches, times) {
      const next = new Map<string, Known>();
      const nextEarly = new Map<string, Touch>();
      for (const state of states) {
        const before = known?.get(state.file.name);
        const { real } = state.file;
        const touch = touches.get(real) ?? early.get(real);
        const writtenAt = known === undefined ? firstWrittenAt(state, times) : nextWrittenAt(before, state, touch, times);
        if (touches.get(real) === 'moved' && before !== undefined && isUnchanged(before, state)) nextEarly.set(real, 'moved');
        next.set(state.file.name, { ...state, writtenAt });
      }
      for (const [name, before] of known ?? []) if (!before.file.linked && !next.has(name)) removedAt = times.endedAt;
      known = next;
      early = nextEarly;
      let last = removedAt;
      for (const { writtenAt } of next.values()) last = Math.max(last, writtenAt);
      return Math.max(0, times.startedAt - last);
    },
  };
}

function firstWrittenAt(state: ReadState, times: ObservationTimes): number {
  if (state.torn) return times.endedAt;
  const writtenAt = Number(state.file.mark.mtimeNs / 1_000_000n);
  return isLastTouchedByWriting(state.file.mark) && writtenAt <= times.startedAt ? writtenAt : -Infinity;
}

function nextWrittenAt(before: Known | undefined, now: ReadState, touch: Touch | undefined, times: ObservationTimes): number {
  if (now.torn) return times.endedAt;
  if (before !== undefined && isUnchanged(before, now)) return before.writtenAt;
  return cameWhole(before, now, touch) ? -Infinity : times.endedAt;
}

function isUnchanged(before: ReadState, now: ReadState): boolean {
  return before.digest === now.digest && before.file.real === now.file.real && isSameMark(before.file.mark, now.file.mark);
}

function cameWhole(before: Known | undefined, now: ReadState, touch: Touch | undefined): boolean {
  if (before === undefined && now.file.linked) return true;
  if (before !== undefined && before.file.real !== now.file.real) return true;
  if (before?.file.mark.identity === now.file.mark.identity) return false;
  // An empty file has just been created, most likely, and nothing was written yet that an event could tell of.
  if (now.file.mark.size === 0n) return false;
  // A rename moves the change time only, a write moves both times alike. Both may fall into one tick of the kernel's clock; then its events tell.
  // NTFS keeps no such order between the two times, and only Linux tells a creation and the writes after it one by one.
  if (touch === 'written' || process.platform === 'win32') return false;
  return (touch === 'moved' && process.platform === 'linux') || !isLastTouchedByWriting(now.file.mark);
}

function isLastTouchedByWriting(mark: FileMark): boolean {
  return mark.ctimeNs <= mark.mtimeNs;
}
