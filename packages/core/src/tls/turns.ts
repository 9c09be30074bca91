import { performance } from 'node:perf_hooks';

/** What one step of a long work did; `costly` where more work follows from it by itself, such as the closing of a connection. */
export type Step = 'done' | 'more' | 'costly';

/** All long works together take the event loop no longer than this at one time, in milliseconds. */
const turnMs = 1;

/** What follows by itself is done in the turns after: so many such steps make no turn that is felt. */
const maxCostly = 4;

const works: (() => Step)[] = [];
let isRunning = false;

/**
 * Does a work step by step, beginning with the next turn of the event loop, until `step` says that it is done. All works of the process share one time
 * slice between two looks at sockets and timers, whichever server they are for. A step must not throw.
 */
export function doInTurns(step: () => Step): void {
  works.push(step);
  if (isRunning) return;
  isRunning = true;
  setImmediate(turn);
}

function turn(): void {
  const until = performance.now() + turnMs;
  let costly = 0;
  for (let [step] = works; step !== undefined; [step] = works) {
    const did = step();
    if (did === 'done') works.shift();
    if (did === 'costly') costly += 1;
    if (costly >= maxCostly || performance.now() > until) break;
  }
  isRunning = works.length > 0;
  if (isRunning) setImmediate(turn);
}
