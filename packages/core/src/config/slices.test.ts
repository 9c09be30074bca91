import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runInSlices } from './slices.js';

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => void vi.useRealTimers());

function* work(steps: number, stepMs: number, log: unknown[]): Generator<void, string> {
  for (let step = 0; step < steps; step++) {
    vi.advanceTimersByTime(stepMs);
    log.push(step);
    yield;
  }
  return 'done';
}

test('work that takes little is done before anything else has a turn', async () => {
  const log: unknown[] = [];
  setImmediate(() => log.push('other'));
  expect(await runInSlices(work(5, 0.3, log))).toBe('done');
  expect(log).toEqual([0, 1, 2, 3, 4]);
});

test('others have a turn after every 2 ms of work', async () => {
  const log: unknown[] = [];
  const others = (): void =>
    void (log.push('other'), log.filter((entry) => entry === 'other').length < 3 && setImmediate(others));
  setImmediate(others);
  expect(await runInSlices(work(7, 1, log))).toBe('done');
  expect(log).toEqual([0, 1, 'other', 2, 3, 'other', 4, 5, 'other', 6]);
});

test('rejects with what a step throws', async () => {
  const failure = new Error('no such rule');
  const failing = (function* (): Generator<void, string> {
    yield;
    throw failure;
  })();
  await expect(runInSlices(failing)).rejects.toBe(failure);
});
