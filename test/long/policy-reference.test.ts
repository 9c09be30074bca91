import { describe, expect, it } from 'vitest';
import { checkSeeds, formatTally } from '../support/reference-check.js';

const isLong = process.env['ENMESH_LONG'] === '1';
if (!isLong) console.log('skip: the million random pairs run in npm run test:all (ENMESH_LONG=1)');

describe.skipIf(!isLong)('compiled policies and the linear reference', () => {
  it('decide 1 000 000 random pairs of policies and request alike', () => {
    // Other worlds than those of the short run.
    const { tally, disagreements } = checkSeeds(1_000_000, 1, Number(process.env['ENMESH_CASES'] ?? 1_000_000));
    console.log(formatTally(tally));
    expect(disagreements).toEqual([]);
  });
});
