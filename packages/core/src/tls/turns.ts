import { performance } from 'node:perf_hooks';

/** What one step of a long work did; `costly` where more work follows from it by itself, such as the closing of a connection. */
export type Step = 'done' | 'more' | 'costly';

/** How long all works together take the event loop at one time, in milliseconds: a quarter of what passed since the last time, within these bounds. */
const shortestMs = 1;
const longestMs = 4;

/** How many costly steps are done at one time: one for each millisecond that passed, for what follows from them is done then; within these bounds. */
const fewestCostly = 1;
const mostCostly = 8;

const works: (() => Step)[] = [];
let isRunning = false;
let endedAt = 0;

/**
 * Does a work step by step, beginning with the next turn of the event loop, until `step` says that it is done. All works of the process share one slice of
 * time between two looks at sockets and timers, whichever server they are for; a busy loop gives a larger one, so that works end in time there too.
 * A step must not throw.
 */
export function doInTurns(step: () => Step): void {
  works.push(step);
  if (isRunning) return;
  isRunning = true;
  endedAt = performance.now();
  setImmediate(turn);
}

function turn(): void {
  const now = performance.now();
  const passed = now - endedAt;
  const until = now + within(shortestMs, passed / 4, longestMs);
  let costly = within(fewestCostly, Math.floor(passed), mostCostly);
  for (let [step] = works; step !== undefined; [step] = works) {
    const did = step();
    if (did === 'done') works.shift();
    if (did === 'costly') costly -= 1;
    if (costly === 0 || performance.now() > until) break;
  }
  endedAt = performance.now();
  isRunning = works.length > 0;
  if (isRunning) setImmediate(turn);
}

function within(least: number, value: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
