const firstPauseMs = 250;
const longestPauseMs = 30_000;

/** Leaves an endpoint in peace that gives no answers: a dead provider must not make every call wait for its time limit. Times in milliseconds since the epoch. */
export interface ExchangeBackOff {
  /** Until when the endpoint is not asked; a time in the past when it may be. */
  readonly pausedUntil: number;
  /** An exchange that began at `startedAt` got an answer, whatever it said. */
  answered(): void;
  failed(startedAt: number, now: number): void;
}

/** Creates the state of one endpoint. The pause doubles with each failure that began after the last one: those that failed together count once. */
export function createExchangeBackOff(): ExchangeBackOff {
  let failures = 0;
  let pausedUntil = -Infinity;
  return {
    get pausedUntil() {
      return pausedUntil;
    },
    answered() {
      failures = 0;
      pausedUntil = -Infinity;
    },
    failed(startedAt, now) {
      if (startedAt < pausedUntil) return;
      pausedUntil = now + Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(failures++, 20));
    },
  };
}
