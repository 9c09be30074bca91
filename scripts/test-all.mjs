// Runs every suite: the projects of `npm test`, those that are long or need other programs, and the socket suites again on other Node lines.
// --without-base leaves out what `npm test` ran. ENMESH_REQUIRE=node22,node24,envoy,... turns a skip of these into a failure.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNode, nodeLines } from './node-lines.mjs';
import { isSkipped, suitesOf, unmetRequirements } from './optional-suites.mjs';
import { run } from './run.mjs';
import { formatTally } from './tally.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const reports = mkdtempSync(join(tmpdir(), 'enmesh-tests-'));
const base = ['unit', 'flow', 'adapters', 'conformance', 'examples', 'cli'];
const optional = ['packaging', 'interop', 'long', 'faults'];
// What touches sockets, streams and module loading: the parts of Node that differ from line to line.
const acrossLines = ['flow', 'adapters', 'packaging', 'unit'].flatMap((project) => ['--project', project]);
acrossLines.push('test/flow/', 'test/adapters/', 'test/packaging/', 'packages/core/src/tls/');

const suites = [];
const skips = [];
let broken = 0;

/** One run of vitest on a Node binary; its suites join the list. */
async function runVitest(node, args) {
  const outputFile = join(reports, `${suites.length}-${broken}.json`);
  const version = node === process.execPath ? process.versions.node : await versionOf(node);
  console.log(`\n== vitest ${args.join(' ')} (Node ${version})`);
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const { code } = await run(
    node,
    [vitest, 'run', '--passWithNoTests', '--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`, ...args],
    { cwd: root, env: { ENMESH_LONG: '1', PATH: [dirname(node), process.env.PATH].join(delimiter) } },
  );
  const found = existsSync(outputFile) ? suitesOf(JSON.parse(readFileSync(outputFile, 'utf8')), { root, node: version }) : [];
  suites.push(...found);
  if (code !== 0 && !found.some(({ failed }) => failed > 0)) broken += 1;
}

async function versionOf(node) {
  const { output } = await run(node, ['--version'], { quiet: true });
  return output.trim().replace(/^v/, '');
}

const projects = [...(process.argv.includes('--without-base') ? [] : base), ...optional];
await runVitest(
  process.execPath,
  projects.flatMap((project) => ['--project', project]),
);

for (const line of Object.keys(nodeLines)) {
  const node = await findNode({ root, line });
  if ('skip' in node) {
    console.log(`skip: node${line}: ${node.skip}`);
    skips.push(`node${line}`);
    continue;
  }
  await runVitest(node.path, acrossLines);
}
rmSync(reports, { recursive: true, force: true });

const sum = (key) => suites.reduce((total, suite) => total + suite[key], 0);
const unmet = unmetRequirements(process.env.ENMESH_REQUIRE, suites);
for (const { file, node, failed } of suites) if (failed > 0) console.log(`failed: ${file} (Node ${node}): ${failed}`);
if (broken > 0) console.log(`failed: ${broken} runs of vitest ended with an error outside a test`);
for (const name of unmet) console.log(`failed: ENMESH_REQUIRE asks for ${name}, which was skipped`);
skips.push(...suites.filter(isSkipped).map(({ file }) => file));
const ran = suites.filter((suite) => !isSkipped(suite)).length;
console.log(
  `\nsuites: ${ran} ran, ${skips.length} skipped${skips.length > 0 ? ` (${skips.join(', ')})` : ''}; ${sum('skipped')} tests skipped`,
);
const tally = { passed: sum('passed'), failed: sum('failed') + broken + unmet.length };
console.log(formatTally(tally));
if (tally.failed > 0 || tally.passed === 0) process.exitCode = 1;
