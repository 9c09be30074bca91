import { performance } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { doInTurns, type Step } from './turns.js';

/** Runs works of `steps` steps each and tells how many steps were done between two turns of the event loop, at most and in all. */
async function run(works: number, steps: number, step: () => Step): Promise<{ most: number; all: number }> {
  let [left, inTurn, most, all] = [works, 0, 0, 0];
  for (let work = 0; work < works; work++) {
    let done = 0;
    doInTurns(() => {
      if (done++ === steps) {
        left -= 1;
        return 'done';
      }
      inTurn += 1;
      all += 1;
      return step();
    });
  }
  while (left > 0) {
    await new Promise((next) => setImmediate(next));
    most = Math.max(most, inTurn);
    inTurn = 0;
  }
  return { most, all };
}

const busyFor = (ms: number): void => {
  for (const until = performance.now() + ms; performance.now() < until;);
};

describe('works that are done in turns', () => {
  it('are done to their end, and leave the loop free when there are none', async () => {
    expect(await run(3, 7, () => 'more')).toMatchObject({ all: 21 });
    expect(await run(1, 1, () => 'costly')).toMatchObject({ all: 1 });
  });

  it('share one slice of time, however many they are', async () => {
    // Of 1 ms, up to 4 where the loop is busy or this process was not let run.
    const { most, all } = await run(20, 3, () => {
      busyFor(1);
      return 'more';
    });
    expect(all).toBe(60);
    expect(most).toBeLessThanOrEqual(5);
  });

  it('do no more than eight steps at one time of which more work follows', async () => {
    const { most, all } = await run(20, 10, () => 'costly');
    expect(all).toBe(200);
    expect(most).toBeLessThanOrEqual(8);
  });

  it('can begin another work from within a step', async () => {
    const order: string[] = [];
    await new Promise<void>((finished) => {
      doInTurns(() => {
        order.push('outer');
        doInTurns(() => {
          order.push('inner');
          finished();
          return 'done';
        });
        return 'done';
      });
    });
    expect(order).toEqual(['outer', 'inner']);
  });
});
