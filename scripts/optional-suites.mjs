import { basename, relative, sep } from 'node:path';

/**
 * One suite of a run: a test file, on one Node line.
 * @typedef {{file: string, node: string, passed: number, failed: number, skipped: number}} Suite
 */

/**
 * Reads the report of vitest's JSON reporter. A file that could not be loaded is one failure.
 * @param {{testResults: readonly {name: string, status: string, assertionResults: readonly {status: string}[]}[]}} report
 * @param {{root: string, node: string}} where
 * @returns {Suite[]}
 */
export function suitesOf(report, { root, node }) {
  return report.testResults.map(({ name, status, assertionResults }) => {
    const count = (...statuses) => assertionResults.filter((test) => statuses.includes(test.status)).length;
    const failed = count('failed');
    const file = relative(root, name).split(sep).join('/');
    const unloaded = status === 'failed' && failed === 0 ? 1 : 0;
    return { file, node, passed: count('passed'), failed: failed + unloaded, skipped: count('pending', 'skipped', 'disabled') };
  });
}

/** Whether nothing of a suite ran. */
export const isSkipped = ({ passed, failed }) => passed + failed === 0;

/**
 * The names of ENMESH_REQUIRE that were not met: `node<line>` needs suites of that line; `corpora` and `oracle` need the conformance suites without a
 * skipped test; any other name needs the interop suites of that name (one or several whole words of the file's) without a skipped test.
 * @param {string | undefined} required  a comma-separated list
 * @param {readonly Suite[]} suites
 * @returns {string[]}
 */
export function unmetRequirements(required, suites) {
  const names = (required ?? '').split(',').map((name) => name.trim().toLowerCase());
  return names.filter((name) => name !== '' && !isMet(name, suites));
}

function isMet(name, suites) {
  const line = /^node(\d+)$/.exec(name)?.[1];
  if (line !== undefined) return suites.some((suite) => suite.node.startsWith(`${line}.`) && !isSkipped(suite));
  const named = suites.filter(({ file }) => belongsTo(name, file));
  return named.length > 0 && named.every((suite) => suite.skipped === 0 && !isSkipped(suite));
}

function belongsTo(name, file) {
  if (name === 'corpora' || name === 'oracle') return file.startsWith('test/conformance/');
  // A name may have dashes of its own: kube-apiserver, go-spiffe.
  return file.startsWith('test/interop/') && `-${basename(file).toLowerCase().replaceAll('.', '-')}-`.includes(`-${name}-`);
}
