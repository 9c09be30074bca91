import type { Command } from 'commander';
import { formatProblem, type ConfigProblem } from '@enmesh/core/config';
import { exitCodes, formatJson, MisuseError, paint, printable, writeOut } from '../output.js';
import { checkInputs, findInputs } from '../validate/inputs.js';
import { answerStream } from '../validate/stream.js';

interface ValidateOptions {
  readonly json?: boolean;
  readonly stream?: boolean;
  readonly strict?: boolean;
}

const examples = `
Examples:
  $ enmesh validate                          enmesh.yaml of this folder and the configuration directory that it names
  $ enmesh validate mesh                     a configuration directory: its files and those of mesh/enmesh/
  $ enmesh validate mesh enmesh.yaml         the file of a workload as well
  $ enmesh validate policy.yaml extra.yaml   single files, as one set
  $ kubectl get peerauthentication,authorizationpolicy -A -o yaml | enmesh validate -
  $ enmesh validate --strict --json mesh     for a pipeline: warnings count, output for programs
  $ enmesh validate --stream < documents.ndjson
                                             {"document": "<yaml>"} a line in, {"errors": [..], "warnings": [..]} a line out`;

/** `enmesh validate`: every error and warning of configuration directories, files or standard input, by file, line and column. */
export function register(program: Command): void {
  program
    .command('validate')
    .description('check configuration: every error and warning at once, as file:line:column')
    .argument(
      '[path...]',
      'directories (each one a configuration), files (together one), or - for standard input; default: ./enmesh.yaml and its config',
    )
    .option('--json', 'print {"errors": [...], "warnings": [...], "files": n}')
    .option('--strict', 'warnings are findings too (exit code 1)')
    .option('--stream', 'answer documents from standard input, one JSON line each')
    .addHelpText('after', examples)
    .action(validate);
}

async function validate(paths: readonly string[], options: ValidateOptions): Promise<void> {
  if (options.stream === true) {
    if (paths.length > 0) throw new MisuseError('--stream reads standard input and takes no path');
    return answerStream(process.stdin, writeOut);
  }
  const areNamed = paths.length > 0;
  const { problems, files } = await checkInputs(areNamed ? paths : await findInputs(), process.stdin, areNamed);
  const errors = problems.filter((problem) => problem.level === 'error');
  const warnings = problems.filter((problem) => problem.level === 'warning');
  await writeOut(options.json === true ? formatJson({ errors, warnings, files }) : formatReport(problems, errors.length, files));
  if (errors.length > 0 || (options.strict === true && warnings.length > 0)) process.exitCode = exitCodes.finding;
}

function formatReport(problems: readonly ConfigProblem[], errors: number, files: number): string {
  const lines = problems.map((problem) => {
    const level = problem.level === 'error' ? paint('red', 'error  ') : paint('yellow', 'warning');
    return `${level} ${printable(formatProblem(problem))}\n`;
  });
  const warnings = problems.length - errors;
  const count = (number: number, word: string): string => `${number} ${word}${number === 1 ? '' : 's'}`;
  const found = `${count(errors, 'error')}, ${count(warnings, 'warning')} in ${count(files, 'file')}`;
  return `${lines.join('')}${problems.length === 0 ? paint('green', found) : found}\n`;
}
