import { beforeEach, describe, expect, it } from 'vitest';
import { createTestClock, type TestClock } from '../testing/clock.js';
import { createSourceMemory, type FailureSays, type SourceMemory } from './source-memory.js';

interface Pending {
  readonly limitMs: number;
  answer(): void;
  fail(says?: FailureSays): void;
}

class Failure extends Error {
  readonly says: FailureSays;
  constructor(says: FailureSays) {
    super(says);
    this.says = says;
  }
}

let clock: TestClock;
let memory: SourceMemory;
let pending: Pending[];
beforeEach(() => {
  clock = createTestClock(Date.UTC(2026, 0, 1));
  pending = [];
  memory = createSourceMemory({
    limitMs: 5_000,
    now: clock.now,
    random: () => 0,
    judge: (error) => (error as Failure).says,
    refuse: (last, since) => new Error(`${(last as Error).message} since ${since}`),
  });
});

/** Begins a call; what comes of it is told as text. */
function call(): Promise<string> {
  const attempt = (limitMs: number): Promise<string> =>
    new Promise((done, fail) =>
      pending.push({ limitMs, answer: () => done('ok'), fail: (says = 'silent') => fail(new Failure(says)) }),
    );
  return memory.ask(attempt).catch((error: Error) => error.message);
}

const last = (): Pending => pending.at(-1) as Pending;

async function goSilent(): Promise<void> {
  const first = call();
  clock.advance(5_000);
  last().fail();
  await first;
}

async function probeInVain(): Promise<number> {
  const begun = call();
  const { limitMs, fail } = last();
  clock.advance(limitMs);
  fail();
  await begun;
  return limitMs;
}

describe('a source that is silent', () => {
  it('is not asked for a while: calls are refused by the last failure, and since when it is so', async () => {
    await goSilent();
    expect(await call()).toBe('silent since 2026-01-01T00:00:00.000Z');
    expect(pending).toHaveLength(1);
  });

  it('is asked by one call at a time', async () => {
    await goSilent();
    clock.advance(250);
    const probe = call();
    expect(await Promise.all([call(), call()])).toEqual(Array(2).fill('silent since 2026-01-01T00:00:00.000Z'));
    expect(pending).toHaveLength(2);
    last().answer();
    expect(await probe).toBe('ok');
    void call();
    void call();
    expect(pending).toHaveLength(4);
  });

  it('is asked after pauses that grow to a second, each probe with a second but for every fourth', async () => {
    await goSilent();
    const [pauses, limits]: [number[], number[]] = [[], []];
    for (let i = 0; i < 8; i++) {
      const count = pending.length;
      let waited = 0;
      for (; pending.length === count; waited += 50) {
        clock.advance(50);
        const begun = call();
        if (pending.length === count) await begun;
        else {
          const { limitMs, fail } = last();
          limits.push(limitMs);
          clock.advance(limitMs);
          fail();
          await begun;
        }
      }
      pauses.push(waited);
    }
    expect(pauses).toEqual([250, 500, 1000, 1000, 1000, 1000, 1000, 1000]);
    expect(limits).toEqual([1000, 1000, 1000, 5000, 1000, 1000, 1000, 5000]);
  });

  it('that used to be slow has twice its usual time', async () => {
    const slow = call();
    clock.advance(1_500);
    last().answer();
    await slow;
    await goSilent();
    clock.advance(250);
    expect(await probeInVain()).toBe(3_000);
  });

  it('is not taken for worse by those that waited with the first', async () => {
    const waiting = [call(), call(), call()];
    clock.advance(5_000);
    for (const { fail } of pending) fail();
    await Promise.all(waiting);
    clock.advance(250);
    void call();
    expect(pending).toHaveLength(4);
  });

  it('is back with any answer, a refusal too, also of a call that began before', async () => {
    const early = call();
    const [first] = pending;
    await goSilent();
    first?.fail('answered');
    expect(await early).toBe('answered');
    void call();
    void call();
    expect(pending).toHaveLength(4);
  });

  it('is not taken for silent again by a call that began before its last answer', async () => {
    const [early, late] = [call(), call()];
    clock.advance(100);
    pending[1]?.answer();
    await late;
    pending[0]?.fail();
    await early;
    void call();
    expect(pending).toHaveLength(3);
  });

  it('stays as it is where a probe never came to ask', async () => {
    await goSilent();
    clock.advance(250);
    const probe = call();
    last().fail('nothing');
    await probe;
    void call();
    expect(await call()).toBe('silent since 2026-01-01T00:00:00.000Z');
    expect(pending).toHaveLength(3);
  });

  it('is not left in peace for longer because the clock was set back', async () => {
    await goSilent();
    clock.advance(-3_600_000);
    void call();
    expect(pending).toHaveLength(2);
  });
});
