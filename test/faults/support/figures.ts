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

/** Resolves with the milliseconds until `isTrue`, which is asked every 50 ms; rejects after `withinMs`. */
export async function until(isTrue: () => boolean | Promise<boolean>, withinMs: number): Promise<number> {
  const since = performance.now();
  while (!(await isTrue())) {
    if (performance.now() - since > withinMs) throw new Error(`it did not come within ${withinMs} ms`);
    await pause(50);
  }
  return performance.now() - since;
}

/** The sum of the values. */
export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
