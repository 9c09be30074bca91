import { describe, expect, it } from 'vitest';
import { runCanaries } from '../support/egress-canary.js';

const isLong = process.env['ENMESH_LONG'] === '1';
if (!isLong) console.log('skip: the 100 000 graphs of calls run in npm run test:all (ENMESH_LONG=1)');

describe.skipIf(!isLong)('tokens that a handler copies by hand into its calls', () => {
  it('are seen by no service beyond the first in 100 000 graphs of calls', async () => {
    const count = Number(process.env['ENMESH_CASES'] ?? 100_000);
    const refusing = await runCanaries({ count: count * 0.8, seed: 11, guard: 'refuse' });
    const stripping = await runCanaries({ count: count * 0.2, seed: 12, guard: 'strip' });
    console.log(`canaries: ${refusing.leaks} refused, ${stripping.leaks} stripped or refused`);
    expect(refusing).toMatchObject({ failed: [], refused: refusing.leaks, reached: [0, 0] });
    expect(stripping).toMatchObject({ failed: [], escaped: [0, 0] });
  }, 1_800_000);
});
