import { describe, expect, it } from 'vitest';
import { createExchangeCache, type ExchangeOutcome } from './exchange-cache.js';

const outcome = (text: string, freshUntil = 1000): ExchangeOutcome => ({ token: { text, expiresAt: 2000 }, freshUntil });

describe('the cache of exchanged tokens', () => {
  it('gives a token until it is no longer fresh, and forgets it then', () => {
    const cache = createExchangeCache({});
    cache.keep('alice', outcome('a'));
    expect(cache.find('alice', 999)).toEqual(outcome('a'));
    expect(cache.find('bob', 999)).toBeUndefined();
    expect(cache.find('alice', 1000)).toBeUndefined();
    expect(cache.size).toBe(0);
  });

  it('gives nothing by a clock that is no number', () => {
    const cache = createExchangeCache({});
    cache.keep('alice', outcome('a'));
    expect(cache.find('alice', Number.NaN)).toBeUndefined();
  });

  it('forgets the token used longest ago when there are too many', () => {
    const cache = createExchangeCache({ entries: 3 });
    for (const user of ['a', 'b', 'c']) cache.keep(user, outcome(user));
    cache.find('a', 0);
    cache.keep('d', outcome('d'));
    expect(['a', 'b', 'c', 'd'].filter((user) => cache.find(user, 0) !== undefined)).toEqual(['a', 'c', 'd']);
  });

  it('holds no more text than it may, however often tokens are replaced', () => {
    const cache = createExchangeCache({ bytes: 10_000 });
    for (let i = 0; i < 1000; i++) cache.keep(`user-${i % 50}`, outcome('x'.repeat(1000 + (i % 7))));
    expect(cache.size).toBe(7);
    for (let i = 0; i < 100; i++) cache.keep('one', outcome('y'));
    cache.clear();
    expect(cache.size).toBe(0);
    cache.keep('huge', outcome('z'.repeat(20_000)));
    expect(cache.size).toBe(0);
  });
});
