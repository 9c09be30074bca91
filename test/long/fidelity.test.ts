import { describe, expect, it } from 'vitest';
import { formatFinding, formatFuzzTally, fuzzSeeds } from '../support/fuzz-check.js';
import { readRecording } from '../support/fuzz-world.js';

const isLong = process.env['ENMESH_LONG'] === '1';
if (!isLong) console.log('skip: the 200 000 requests of crossed worlds run in npm run test:all (ENMESH_LONG=1)');

describe.skipIf(!isLong)('the door and the linear reference', () => {
  it('decide 200 000 requests of crossed and random worlds alike', () => {
    // Other worlds than those of the short run.
    const first = Number(process.env['ENMESH_SEED'] ?? 1_000_000);
    const cases = Number(process.env['ENMESH_CASES'] ?? 200_000);
    const { tally, findings } = fuzzSeeds({ first, cases, recorded: readRecording() });
    console.log(formatFuzzTally(tally));
    expect(findings.map(formatFinding)).toEqual([]);
  });
});
