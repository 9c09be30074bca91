/** Lets so much through in a minute for each key. */
export interface RateLimit {
  /** Whether one more may pass now. */
  take(key: string): boolean;
}

/**
 * Creates a limit of `perMinute` for each key, half of it at once (at least 5). Remembers at most `keys` keys (default 10 000): the one that was longest
 * not asked about is forgotten first.
 */
export function createRateLimit(o: {
  readonly perMinute: number;
  readonly clock: () => number;
  readonly keys?: number;
}): RateLimit {
  const { perMinute, clock, keys = 10_000 } = o;
  const burst = Math.min(perMinute, Math.max(5, perMinute / 2));
  const buckets = new Map<string, { tokens: number; at: number }>();
  return {
    take(key) {
      const now = clock();
      const known = buckets.get(key);
      const passed = known === undefined ? 0 : Math.max(0, now - known.at);
      const tokens = Math.min(burst, (known?.tokens ?? burst) + (passed * perMinute) / 60_000);
      // Set anew, so that the order of the map is that of use.
      buckets.delete(key);
      buckets.set(key, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
      if (buckets.size > keys) buckets.delete(buckets.keys().next().value ?? '');
      return tokens >= 1;
    },
  };
}
