import { describe, expect, it } from 'vitest';
import { createRateLimit } from './rate-limit.js';

describe('a rate limit', () => {
  it('lets a burst through, then the rate, for each key by itself', () => {
    let now = 0;
    const limit = createRateLimit({ perMinute: 60, clock: () => now });
    const taken = (key: string, times: number): number =>
      Array.from({ length: times }, () => limit.take(key)).filter(Boolean).length;
    expect(taken('a', 100)).toBe(30);
    expect(taken('b', 100)).toBe(30);
    now = 10_000;
    expect(taken('a', 100)).toBe(10);
    now = 5_000;
    expect(taken('a', 100)).toBe(0);
    now = 3_600_000;
    expect(taken('a', 100)).toBe(30);
  });

  it('forgets the keys that were longest not asked about', () => {
    const limit = createRateLimit({ perMinute: 1, clock: () => 0, keys: 2 });
    expect([limit.take('a'), limit.take('b'), limit.take('a'), limit.take('c'), limit.take('a'), limit.take('b')]).toEqual([
      true,
      true,
      false,
      true,
      false,
      true,
    ]);
  });
});
