// Everything that must hold of a commit, from a fresh clone: `.ci/run` calls it. Each stage is reported; all of them run even when one fails,
// except that without dependencies nothing else can.
import { fileURLToPath } from 'node:url';
import { runNpm } from './run.mjs';
import { formatTally, sumTallies, tallyOf } from './tally.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const minutes = (count) => count * 60_000;

const stages = [
  { name: 'install', args: ['ci', '--no-audit', '--no-fund'], timeoutMs: minutes(8), isNeeded: true },
  { name: 'test', args: ['test'], timeoutMs: minutes(18) },
  // The cheap ones only: a suite whose server is not there says so and skips.
  { name: 'prepare', args: ['run', 'interop:prepare', '--', 'envoy', 'ext-authz'], timeoutMs: minutes(4) },
  { name: 'test:all', args: ['run', 'test:all', '--', '--without-base'], timeoutMs: minutes(24) },
  { name: 'lint', args: ['run', 'lint'], timeoutMs: minutes(3) },
  { name: 'types', args: ['run', 'types'], timeoutMs: minutes(6) },
  { name: 'layers', args: ['run', 'layers'], timeoutMs: minutes(2) },
  { name: 'docs', args: ['run', 'docs:check'], timeoutMs: minutes(1) },
  { name: 'packaging', args: ['run', 'packaging'], timeoutMs: minutes(12) },
];

const reports = [];
for (const stage of stages) {
  console.log(`\n===== ${stage.name}: npm ${stage.args.join(' ')}`);
  const result = await runNpm(stage.args, { cwd: root, env: { CI: 'true' }, timeoutMs: stage.timeoutMs });
  reports.push({ ...stage, code: result.code, seconds: result.seconds, tally: tallyOf(result) });
  if (stage.isNeeded && result.code !== 0) break;
}

console.log('\n===== summary');
for (const { name, code, seconds, tally } of reports) {
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(10)} ${formatTally(tally).padEnd(24)} ${seconds.toFixed(0)} s`);
}
if (reports.some(({ code }) => code !== 0)) process.exitCode = 1;
console.log(formatTally(sumTallies(reports.map(({ tally }) => tally))));
