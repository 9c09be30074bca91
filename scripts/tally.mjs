/**
 * How many tests or checks a run had.
 * @typedef {{passed: number, failed: number}} Tally
 */

const unstyled = (text) => text.replace(/\x1b\[[0-9;]*m/g, '');

/**
 * Reads the counts that a run printed: its last line `N passed, N failed`, else vitest's own summaries. A run that failed without a failed test
 * counts as one failure, one that passed without any count as one check.
 * @param {{code: number, output: string}} run
 * @returns {Tally}
 */
export function tallyOf({ code, output }) {
  const text = unstyled(output);
  const line = [...text.matchAll(/^(\d+) passed, (\d+) failed$/gm)].at(-1);
  const counted = line === undefined ? tallyOfVitest(text) : { passed: Number(line[1]), failed: Number(line[2]) };
  if (code !== 0 && counted.failed === 0) return { ...counted, failed: 1 };
  return counted.passed + counted.failed === 0 ? { passed: 1, failed: 0 } : counted;
}

function tallyOfVitest(text) {
  const summaries = [...text.matchAll(/^\s*Tests\s+(.*)\(\d+\)\s*$/gm)].map(([, counts]) => counts);
  const count = (word) => summaries.reduce((sum, counts) => sum + Number(new RegExp(`(\\d+) ${word}`).exec(counts)?.[1] ?? 0), 0);
  return { passed: count('passed'), failed: count('failed') };
}

/**
 * @param {readonly Tally[]} tallies
 * @returns {Tally}
 */
export function sumTallies(tallies) {
  const sum = (key) => tallies.reduce((total, tally) => total + tally[key], 0);
  return { passed: sum('passed'), failed: sum('failed') };
}

/**
 * The line that every long run ends with.
 * @param {Tally} tally
 */
export function formatTally({ passed, failed }) {
  return `${passed} passed, ${failed} failed`;
}
