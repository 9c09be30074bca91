import { describe, expect, it } from 'vitest';
import { runCanaries } from '../support/egress-canary.js';

describe('tokens that a handler copies by hand into its calls', () => {
  it('are refused in every form and place that the guard knows, in 1600 graphs of calls', async () => {
    const tally = await runCanaries({ count: 1600, seed: 1, guard: 'refuse' });
    expect(tally).toMatchObject({ failed: [], refused: tally.leaks, reached: [0, 0] });
    expect(tally.leaks).toBeGreaterThan(1600);
  });

  it('are taken out by `strip`, and the calls go on without them, in 400 graphs of calls', async () => {
    const tally = await runCanaries({ count: 400, seed: 2, guard: 'strip' });
    expect(tally).toMatchObject({ failed: [], escaped: [0, 0] });
    // Refused is only what stands in the path itself.
    expect(tally.reached).toEqual([tally.leaks - tally.refused, tally.leaks - tally.refused]);
    expect(tally.refused).toBeLessThan(tally.leaks / 3);
  });

  it('arrive everywhere when the guard is off, so that the two tests above look for something that is there', async () => {
    const tally = await runCanaries({ count: 60, seed: 3, guard: 'off' });
    expect(tally).toMatchObject({
      failed: [],
      refused: 0,
      reached: [tally.leaks, tally.leaks],
      escaped: [tally.leaks, tally.leaks],
    });
  });
});
