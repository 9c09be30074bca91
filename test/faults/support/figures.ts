import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Counted, Member } from './fleet.js';

/** Prints what a suite has measured, in one line that stands in the log of the run. */
export function printFigures(fault: string, figures: Readonly<Record<string, number | string>>): void {
  const parts = Object.entries(figures).map(([name, value]) => `${name} ${typeof value === 'number' ? rounded(value) : value}`);
  console.log(`${fault}: ${parts.join(' · ')}`);
}

function rounded(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}

/** Resolves after so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

/** Resolves with the milliseconds until `isTrue`, which is asked every 50 ms; rejects when it is not so after a minute, saying `what` did not come. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what = isTrue.toString(),
  withinMs = 60_000,
): Promise<number> {
  const since = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - since > withinMs) throw new Error(`within ${withinMs} ms it did not come to this: ${what}`);
    await pause(50);
  }
  return performance.now() - since;
}

const delays = monitorEventLoopDelay({ resolution: 10 });
delays.enable();

/**
 * Tells at the end of what is measured from now on by how many milliseconds more it may have taken: a machine that does not let processes run makes
 * everything late. Three times the longest that the event loops of the driver and of each process stood still, for what is late at the beginning, on the way
 * and at the end.
 */
export async function watchLateness(...members: readonly Member[]): Promise<() => Promise<number>> {
  const read = async (): Promise<number> => {
    const others = await Promise.all(members.map((member) => member.ask<number>('longestDelay')));
    const sum = others.reduce((before, ms) => before + ms, delays.max / 1e6);
    delays.reset();
    return 3 * sum;
  };
  await read();
  return read;
}

/** A load of a caller from the beginning, with nothing on its way of what was before: runs so long, and until so many calls were served. */
export async function countAnew(caller: Member, load: object, atLeast: number, ms = 1_000): Promise<Counted> {
  await caller.ask('stop');
  await caller.ask('take');
  await caller.ask('load', load);
  await pause(ms);
  await until(async () => (await caller.ask<number>('served')) >= atLeast, `${atLeast} calls were served`);
  await caller.ask('stop');
  return caller.ask<Counted>('take');
}

/** The sum of the values. */
export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
