/** Decides when a trouble that goes on is told again. Times are milliseconds. */
export interface Seldom {
  /** Whether this sentence is to be told at `now`: the first time, and then again after pauses that double. */
  isDue(sentence: string, now: number): boolean;
  /** It is over: whatever comes next is news. */
  forget(): void;
}

/** More sentences than troubles have at one time: the one told longest ago makes room. */
const mostKept = 32;

interface Told {
  readonly at: number;
  readonly pauseMs: number;
}

/** Creates the memory of what was told. A sentence is told again after `firstMs`, twice that, and so on up to `longestMs`, by default always `firstMs`. */
export function createSeldom({
  firstMs,
  longestMs = firstMs,
}: {
  readonly firstMs: number;
  readonly longestMs?: number;
}): Seldom {
  const told = new Map<string, Told>();
  return {
    isDue(sentence, now) {
      const last = told.get(sentence);
      // A clock that was set back must not silence it for as long.
      if (last !== undefined && Math.abs(now - last.at) < last.pauseMs) return false;
      told.delete(sentence);
      const [oldest] = told.keys();
      if (told.size >= mostKept && oldest !== undefined) told.delete(oldest);
      told.set(sentence, { at: now, pauseMs: last === undefined ? firstMs : Math.min(longestMs, 2 * last.pauseMs) });
      return true;
    },
    forget: () => told.clear(),
  };
}
