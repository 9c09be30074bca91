import { describe, expect, it } from 'vitest';
import { askBoth, formatFinding, formatFuzzTally, fuzzSeeds } from '../support/fuzz-check.js';
import { readRecording } from '../support/fuzz-world.js';
import { fidelityCases } from './fidelity-cases.js';

const recorded = readRecording();
if (recorded.length === 0) console.log('skip: no recorded worlds to cross, so all worlds are random');

/** Seeds of worlds that once showed a bug. */
const seedsOfBugs: readonly number[] = [1103, 2292, 2901, 3981, 4126, 1_001_253, 1_001_588];

describe('the door and the linear reference', () => {
  it('decide requests of crossed and random worlds alike', () => {
    const first = Number(process.env['ENMESH_SEED'] ?? 1);
    const { tally, findings } = fuzzSeeds({ first, cases: 3_000, recorded });
    console.log(formatFuzzTally(tally));
    expect(findings.map(formatFinding)).toEqual([]);
    // A generator of nothing but refusals would prove nothing.
    const { verdicts, cases } = tally;
    for (const verdict of ['allowed 200', 'denied 401', 'denied 403']) expect(verdicts[verdict]).toBeGreaterThan(cases / 10);
  });

  it('agree on the seeds that once found a bug', () => {
    const findings = seedsOfBugs.flatMap((seed) => fuzzSeeds({ first: seed, cases: 1, recorded }).findings);
    expect(findings.map(formatFinding)).toEqual([]);
  });

  it.each(fidelityCases)('both say: %s', (_, status, make) => {
    const { ours, theirs } = askBoth(make());
    expect({ ours, status: ours.status }).toEqual({ ours: theirs, status });
  });
});
