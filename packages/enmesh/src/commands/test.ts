import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { parseCaseFile, type CaseFile } from '../cases/case-file.js';
import { runCases, type TestRun, type Tried } from '../cases/run.js';
import { readResources } from '../evaluate/configuration.js';
import { placeOf } from '../evaluate/render.js';
import { exitCodes, formatJson, formatTable, MisuseError, paint, printable, writeOut } from '../output.js';
import { readSingle } from '../validate/inputs.js';

interface TestOptions {
  readonly json?: boolean;
  readonly coverage?: boolean;
}

const examples = `
Examples:
  $ enmesh test mesh             run mesh/enmesh/*.test.yaml and mesh/*.test.yaml against the policies in mesh
  $ enmesh test mesh --coverage  rules that no case decides by are findings too

A test file:
  workload: {namespace: shop, serviceAccount: product, labels: {app: product}}   # or the path of an enmesh.yaml; absent: the nearest one
  cases:
  - request: GET /items
    caller: spiffe://cluster.local/ns/shop/sa/gateway
    user: {issuer: https://idp.example, subject: alice, claims: {groups: [staff]}}
    expect: allowed              # allowed, denied, closed, a status, or {outcome, status, policy, rule, reason}`;

/** `enmesh test`: cases that say what the policies are meant to do, and which rules nothing tests. */
export function register(program: Command): void {
  program
    .command('test')
    .description('run the *.test.yaml beside the policies; says which rules no case decides by')
    .argument('<dir>', 'configuration directory')
    .option('--json', 'print {"passed", "failed", "cases": [...], "undecided": [...]}')
    .option('--coverage', 'rules that no case decides by are findings (exit code 1)')
    .addHelpText('after', examples)
    .action(test);
}

async function test(directory: string, options: TestOptions): Promise<void> {
  const resources = await readResources(directory);
  const files = await readCaseFiles(directory);
  if (files.length === 0) throw new MisuseError(`there is no *.test.yaml in ${directory} or ${join(directory, 'enmesh')}`);
  const run = await runCases(files, resources);
  await writeOut(options.json === true ? formatJson(runAsJson(run)) : formatRun(run, directory));
  const isFinding =
    run.tried.some(({ failures }) => failures.length > 0) || (options.coverage === true && run.undecided.length > 0);
  if (isFinding) process.exitCode = exitCodes.finding;
}

async function readCaseFiles(directory: string): Promise<readonly CaseFile[]> {
  const files: CaseFile[] = [];
  for (const folder of [directory, join(directory, 'enmesh')]) {
    const names = await readdir(folder).catch(() => []);
    for (const name of names.filter((one) => /\.test\.ya?ml$/.test(one)).sort()) {
      const path = join(folder, name);
      files.push(parseCaseFile(await readSingle(path), path));
    }
  }
  return files;
}

function runAsJson({ tried, undecided, rules }: TestRun): object {
  const failed = tried.filter(({ failures }) => failures.length > 0).length;
  return {
    passed: tried.length - failed,
    failed,
    cases: tried.map(({ file, test: { name, line }, evaluation: { verdict, refusal }, failures }) => ({
      file,
      line,
      name,
      passed: failures.length === 0,
      failures,
      verdict,
      ...(refusal && { refusal }),
    })),
    rules,
    undecided,
  };
}

function formatRun({ tried, undecided, rules }: TestRun, directory: string): string {
  const failed = tried.filter(({ failures }) => failures.length > 0).length;
  const table = formatTable(['', 'case', 'verdict', 'decided by', 'what differs'], tried.map(rowOf));
  const count = `${tried.length - failed} passed, ${failed} failed; ${rules - undecided.length} of ${rules} rules decided a case`;
  const missed = undecided.map(
    ({ policy, rule, action, source }) => `  ${action} ${policy} rule ${rule}  ${paint('dim', placeOf(source, directory))}\n`,
  );
  const told = missed.length === 0 ? '' : `No case was decided by\n${missed.join('')}`;
  return printable(`${table}${told}${paint(failed > 0 ? 'red' : 'green', count)}\n`, '\n\u001b');
}

function rowOf({ file, test: { name, line }, evaluation: { verdict, refusal }, failures }: Tried): readonly string[] {
  const passed = failures.length === 0;
  const { outcome, status, policy, rule } = verdict;
  return [
    passed ? paint('green', 'ok') : paint('red', 'FAIL'),
    passed ? name : `${name} (${file}:${line})`,
    outcome === 'denied' ? `denied ${status}` : outcome,
    policy === undefined ? (refusal?.code ?? '') : `${policy} rule ${rule}`,
    failures.join('; '),
  ];
}
