/** Runs something once after `ms` milliseconds unless the returned function is called before. */
export type Timer = (run: () => void, ms: number) => () => void;

/** A clock that stands still until it is moved. `now` and `timer` may be handed over alone: neither needs `this`. */
export interface TestClock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Moves the clock, forwards step by step through every timer that falls due; backwards without running any. */
  advance(ms: number): void;
  /** A timer on this clock. */
  timer: Timer;
  /** How many timers wait. */
  readonly pending: number;
}

/**
 * A clock for tests, at first at `start` (milliseconds since the epoch; 1 January 2026 by default).
 *
 * @example
 * const clock = createTestClock();
 * clock.advance(60_000);
 */
export function createTestClock(start: number = Date.UTC(2026, 0, 1)): TestClock {
  let time = start;
  const waiting = new Set<{ readonly at: number; readonly run: () => void }>();
  const nextBefore = (end: number) => [...waiting].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  return {
    now: () => time,
    advance(ms) {
      const end = time + ms;
      for (let due = nextBefore(end); due !== undefined && ms >= 0; due = nextBefore(end)) {
        waiting.delete(due);
        time = Math.max(time, due.at);
        due.run();
      }
      time = end;
    },
    timer(run, ms) {
      const entry = { at: time + ms, run };
      waiting.add(entry);
      return () => void waiting.delete(entry);
    },
    get pending() {
      return waiting.size;
    },
  };
}
