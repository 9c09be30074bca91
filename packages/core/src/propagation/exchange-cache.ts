import type { ExchangedToken } from './exchange-answer.js';

/** What an exchange came to: a token, or why there is none. Times are milliseconds since the epoch. */
export type ExchangeOutcome =
  { readonly token: ExchangedToken; readonly freshUntil: number } | { readonly error: Error; readonly freshUntil: number };

/** Exchanged tokens, the ones used longest ago forgotten first. */
export interface ExchangeCache {
  /** Undefined when there is none or it is used up by `now`. */
  find(key: string, now: number): ExchangeOutcome | undefined;
  keep(key: string, outcome: ExchangeOutcome): void;
  clear(): void;
  readonly size: number;
}

/** Creates the cache, bounded by `entries` and by `bytes` of token text. */
export function createExchangeCache({
  entries = 10_000,
  bytes = 16 * 1024 * 1024,
}: {
  entries?: number;
  bytes?: number;
}): ExchangeCache {
  const held = new Map<string, ExchangeOutcome>();
  let used = 0;
  const drop = (key: string): void => {
    const outcome = held.get(key);
    if (outcome === undefined) return;
    used -= weightOf(outcome);
    held.delete(key);
  };
  return {
    find(key, now) {
      const outcome = held.get(key);
      if (outcome === undefined) return undefined;
      if (!(now < outcome.freshUntil)) return void drop(key);
      // A map iterates in the order of insertion: what was used last goes to the end.
      held.delete(key);
      held.set(key, outcome);
      return outcome;
    },
    keep(key, outcome) {
      drop(key);
      held.set(key, outcome);
      used += weightOf(outcome);
      for (const oldest of held.keys()) {
        if (held.size <= entries && used <= bytes) break;
        drop(oldest);
      }
    },
    clear() {
      held.clear();
      used = 0;
    },
    get size() {
      return held.size;
    },
  };
}

const overhead = 256;

const weightOf = (outcome: ExchangeOutcome): number => overhead + ('token' in outcome ? outcome.token.text.length : 0);
