import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long one slice may hold the thread, in milliseconds; its last step and what the thread does besides come on top. */
const sliceMs = 2;

/**
 * Runs work that is made of short steps to its end, with a turn of the event loop after every few milliseconds, so that the requests that the
 * same thread serves do not feel it. What takes less is done at once. Rejects with what a step throws.
 */
export async function runInSlices<Value>(steps: Generator<void, Value>): Promise<Value> {
  let end = performance.now() + sliceMs;
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (performance.now() < end) continue;
    await nextTurn();
    end = performance.now() + sliceMs;
  }
}
