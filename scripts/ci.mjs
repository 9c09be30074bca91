// Everything that must hold of a commit, from a fresh clone: `.ci/run` calls it. Each stage is reported; all of them run even when one fails,
// except that without dependencies nothing else can.
import { fileURLToPath } from 'node:url';
import { runNpm } from './run.mjs';
import { formatTally, sumTallies, tallyOf } from './tally.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const minutes = (count) => count * 60_000;

/** Where the check runs it has an hour. A stage may take whatever is left of this beside what is kept for those behind it, however slow the machine is. */
const budgetMs = minutes(57);

// `keptMs` is what a stage takes on a slow machine, and is sure to have.
const stages = [
  { name: 'install', args: ['ci', '--no-audit', '--no-fund'], keptMs: minutes(3), isNeeded: true },
  { name: 'test', args: ['test'], keptMs: minutes(15) },
  // The cheap ones only: a suite whose server is not there says so and skips.
  { name: 'prepare', args: ['run', 'interop:prepare', '--', 'envoy', 'ext-authz'], keptMs: minutes(2) },
  { name: 'test:all', args: ['run', 'test:all', '--', '--without-base'], keptMs: minutes(22) },
  { name: 'lint', args: ['run', 'lint'], keptMs: minutes(1.5) },
  { name: 'types', args: ['run', 'types'], keptMs: minutes(1.5) },
  { name: 'layers', args: ['run', 'layers'], keptMs: minutes(0.5) },
  { name: 'docs', args: ['run', 'docs:check'], keptMs: minutes(0.5) },
  { name: 'packaging', args: ['run', 'packaging'], keptMs: minutes(3) },
];

const startedAt = Date.now();
const reports = [];
for (const [index, stage] of stages.entries()) {
  const kept = stages.slice(index + 1).reduce((sum, { keptMs }) => sum + keptMs, 0);
  const timeoutMs = budgetMs - (Date.now() - startedAt) - kept;
  console.log(`\n===== ${stage.name}: npm ${stage.args.join(' ')} (${(timeoutMs / 60_000).toFixed(0)} minutes at most)`);
  const result = await runNpm(stage.args, { cwd: root, env: { CI: 'true' }, timeoutMs });
  reports.push({ ...stage, code: result.code, seconds: result.seconds, tally: tallyOf(result) });
  if (stage.isNeeded && result.code !== 0) break;
}

console.log('\n===== summary');
for (const { name, code, seconds, tally } of reports) {
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${formatTally(tally).padEnd(24)} ${seconds.toFixed(0)} s`);
}
if (reports.some(({ code }) => code !== 0)) process.exitCode = 1;
console.log(formatTally(sumTallies(reports.map(({ tally }) => tally))));
