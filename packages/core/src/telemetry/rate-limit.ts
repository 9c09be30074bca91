/** Lets at most so many through: `burst` at once, then `perSecond`. */
export interface RateLimit {
  /** Whether one more may pass now. */
  take(): boolean;
  /** How many were held back since this was last called. */
  suppressed(): number;
}

/** Creates a token bucket that is full at first; `clock` gives milliseconds. */
export function createRateLimit(o: {
  readonly perSecond: number;
  readonly burst: number;
  readonly clock: () => number;
}): RateLimit {
  let tokens = o.burst;
  let filledAt = o.clock();
  let held = 0;
  return {
    take() {
      const now = o.clock();
      // A clock set back must not stop the refill for as long as it was set back.
      tokens = Math.min(o.burst, tokens + (Math.max(0, now - filledAt) / 1000) * o.perSecond);
      filledAt = now;
      if (tokens < 1) {
        held += 1;
        return false;
      }
      tokens -= 1;
      return true;
    },
    suppressed() {
      const count = held;
      held = 0;
      return count;
    },
  };
}
