import type { EventEmitter } from 'node:events';

/**
 * What is sure to come may take this long, in milliseconds: enough for a machine that has a tenth of a core to give. Below the time of every test, so that
 * what does not come is named by the error.
 */
const patienceMs = 40_000;

// The real ones, whatever a test puts in their place.
const { setTimeout: wake, clearTimeout: forget } = globalThis;
const now = performance.now.bind(performance);

/** Looks again and again, at first soon and then every 50 ms, as looking may be costly. */
async function* looks(withinMs: number): AsyncGenerator<void> {
  const since = now();
  for (let pauseMs = 1; now() - since < withinMs; pauseMs = Math.min(2 * pauseMs, 50)) {
    yield;
    await new Promise((done) => void wake(done, pauseMs));
  }
}

/** Waits until something is so; `what` says in the error what did not come. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what = isSo.toString(),
  withinMs = patienceMs,
): Promise<void> {
  for await (const _look of looks(withinMs)) if (await isSo()) return;
  throw new Error(`within ${withinMs / 1000} s it did not come to this: ${what}`);
}

/** Waits until an expectation holds, and resolves with what it returns; its last error is thrown when it never does. */
export async function untilHolds<T>(expectation: () => T | Promise<T>, withinMs = patienceMs): Promise<T> {
  let last: unknown;
  for await (const _look of looks(withinMs)) {
    try {
      return await expectation();
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

/** Resolves when a socket or stream is gone, however it went. What it still has to say is let by. */
export function closed(stream: EventEmitter & { readonly closed: boolean; resume?(): unknown }): Promise<void> {
  stream.on('error', () => {}).resume?.();
  return new Promise((done) => (stream.closed ? done() : void stream.once('close', done)));
}

const ends = ['close', 'end', 'exit'] as const;

/**
 * Resolves with what the next `event` brings. Unlike `once` of node:events it also ends where the event cannot come any more: when the socket, server or
 * process has gone, or after a long while.
 */
export function heard<T extends readonly unknown[]>(emitter: EventEmitter, event: string): Promise<T> {
  return new Promise((done, fail) => {
    const stops: (() => void)[] = [];
    const on = (name: string, act: (...given: unknown[]) => void): void => {
      const settle = (...given: unknown[]): void => {
        for (const stop of stops) stop();
        act(...given);
      };
      emitter.on(name, settle);
      stops.push(() => emitter.removeListener(name, settle));
    };
    on(event, (...given) => done(given as unknown as T));
    if (event !== 'error') on('error', (error) => fail(error as Error));
    for (const end of ends.filter((name) => name !== event))
      on(end, (...given) => fail(new Error(`'${end}' came before '${event}': ${given.map(String).join(' ')}`)));
    const timer = wake(() => {
      for (const stop of stops) stop();
      fail(new Error(`no '${event}' came within ${patienceMs / 1000} s`));
    }, patienceMs);
    stops.push(() => forget(timer));
  });
}
