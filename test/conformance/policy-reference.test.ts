import { describe, expect, it } from 'vitest';
import { checkSeed, checkSeeds, createTally, formatTally } from '../support/reference-check.js';

/** Seeds of random worlds that once showed a bug. */
const seedsOfBugs: readonly number[] = [];

describe('compiled policies and the linear reference', () => {
  it('decide 20 000 random pairs of policies and request alike', () => {
    const { tally, disagreements } = checkSeeds(1, 1, 20_000);
    console.log(formatTally(tally));
    expect(disagreements).toEqual([]);
    // A generator of nothing but misses would prove nothing.
    expect(tally.allowed).toBeGreaterThan(tally.pairs / 10);
    expect(tally.pairs - tally.allowed).toBeGreaterThan(tally.pairs / 10);
    expect(tally.named).toBeGreaterThan(tally.pairs / 10);
  });

  it('agree on the seeds that once found a bug', () => {
    const tally = createTally();
    expect(seedsOfBugs.map((seed) => checkSeed(seed, tally)).filter((found) => found !== undefined)).toEqual([]);
  });
});
