import { performance } from 'node:perf_hooks';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { doInTurns, type Step } from './turns.js';

/** Milliseconds of a clock that only moves when it is told to. */
let now = 0;
beforeEach(() => void vi.spyOn(performance, 'now').mockImplementation(() => now));
afterEach(() => vi.restoreAllMocks());

/** Runs works of `steps` steps each, in a loop that takes `elsewhere` ms for other things each time, and tells how many steps were done at one time, at most and in all. */
async function run(o: {
  works: number;
  steps: number;
  elsewhere: number;
  step: () => Step;
}): Promise<{ most: number; all: number }> {
  let [left, inTurn, most, all] = [o.works, 0, 0, 0];
  for (let work = 0; work < o.works; work++) {
    let done = 0;
    doInTurns(() => {
      if (done++ === o.steps) {
        left -= 1;
        return 'done';
      }
      inTurn += 1;
      all += 1;
      return o.step();
    });
  }
  while (left > 0) {
    now += o.elsewhere;
    await new Promise((next) => setImmediate(next));
    most = Math.max(most, inTurn);
    inTurn = 0;
  }
  return { most, all };
}

const taking = (ms: number, did: Step) => (): Step => {
  now += ms;
  return did;
};

describe('works that are done in turns', () => {
  it('are done to their end, and leave the loop free when there are none', async () => {
    expect(await run({ works: 3, steps: 7, elsewhere: 0, step: () => 'more' })).toMatchObject({ all: 21 });
    expect(await run({ works: 1, steps: 1, elsewhere: 0, step: () => 'costly' })).toMatchObject({ all: 1 });
  });

  it('share one millisecond at one time, however many they are and however busy the loop is', async () => {
    expect(await run({ works: 20, steps: 3, elsewhere: 20, step: taking(0.4, 'more') })).toEqual({ most: 3, all: 60 });
  });

  it('share up to four of a busy loop once they are late', async () => {
    expect(await run({ works: 1, steps: 1_000, elsewhere: 20, step: taking(0.4, 'more') })).toEqual({ most: 11, all: 1_000 });
  });

  it('do two steps at one time of which more work follows, and up to eight once they are late', async () => {
    expect(await run({ works: 20, steps: 10, elsewhere: 20, step: taking(0, 'costly') })).toEqual({ most: 2, all: 200 });
    expect(await run({ works: 1, steps: 1_000, elsewhere: 20, step: taking(0, 'costly') })).toEqual({ most: 8, all: 1_000 });
  });

  it('do one such step at one time while the loop has little else to do', async () => {
    expect(await run({ works: 2, steps: 10, elsewhere: 0.5, step: taking(0, 'costly') })).toEqual({ most: 1, all: 20 });
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
