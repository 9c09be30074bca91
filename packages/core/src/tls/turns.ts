import { performance } from 'node:perf_hooks';

/** What one step of a long work did; `costly` where more work follows from it by itself, such as the closing of a connection. */
export type Step = 'done' | 'more' | 'costly';

/** What all works together may take of the event loop at one time. */
interface Share {
  /** Milliseconds: a quarter of what passed since the last time, from 1 to so many. */
  readonly longestMs: number;
  /** Costly steps: one for each millisecond that passed, from 1 to so many, for what follows from them is done then. */
  readonly mostCostly: number;
}

/** At first nobody shall feel it; a work that is not over by then has the loop against it, and has to end all the same. */
const gentleMs = 5_000;
const gentle: Share = { longestMs: 1, mostCostly: 2 };
const urgent: Share = { longestMs: 4, mostCostly: 8 };

interface Work {
  readonly step: () => Step;
  readonly since: number;
}

const works: Work[] = [];
let isRunning = false;
let endedAt = 0;

/**
 * Does a work step by step, beginning with the next turn of the event loop, until `step` says that it is done. All works of the process share one slice of
 * time between two looks at sockets and timers, whichever server they are for. After five seconds a busy loop gives a larger one, so that works end in time
 * there too. A step must not throw.
 */
export function doInTurns(step: () => Step): void {
  const since = performance.now();
  works.push({ step, since });
  if (isRunning) return;
  isRunning = true;
  endedAt = since;
  setImmediate(turn);
}

function turn(): void {
  const now = performance.now();
  const passed = now - endedAt;
  const { longestMs, mostCostly } = now - (works[0]?.since ?? now) < gentleMs ? gentle : urgent;
  const until = now + within(1, passed / 4, longestMs);
  let costly = within(1, Math.floor(passed), mostCostly);
  for (let [work] = works; work !== undefined; [work] = works) {
    const did = work.step();
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
