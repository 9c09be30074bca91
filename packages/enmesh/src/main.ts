import { Command, CommanderError } from 'commander';
import { createRequire } from 'node:module';
import { register as registerCa } from './commands/ca.js';
import { register as registerCompletion } from './commands/completion.js';
import { register as registerConvert } from './commands/convert.js';
import { register as registerEvaluate } from './commands/evaluate.js';
import { register as registerInit } from './commands/init.js';
import { register as registerJwks } from './commands/jwks.js';
import { register as registerToken } from './commands/token.js';
import { register as registerDescribe } from './commands/describe.js';
import { register as registerExplain } from './commands/explain.js';
import { register as registerTest } from './commands/test.js';
import { register as registerValidate } from './commands/validate.js';
import { exitCodes, MisuseError, paint, printable } from './output.js';

const examples = `
Examples:
  $ enmesh init                                   begin in an existing service
  $ enmesh validate mesh                          check every document of a configuration directory
  $ kubectl get authorizationpolicy -A -o yaml | enmesh validate -
  $ enmesh explain --as spiffe://cluster.local/ns/shop/sa/visitor http://product.shop/items
  $ enmesh test mesh                              run the cases beside the policies
  $ enmesh convert legacy.yaml > mesh/converted.yaml
  $ enmesh token --create -k dev.key -i https://idp.example -s alice

Exit codes: 0 good, 1 something was found, 2 called wrongly. Every command has --help with examples.`;

/** Each command registers itself under its own name; the order is that of --help. */
const registrations: readonly ((program: Command) => void)[] = [
  registerInit,
  registerValidate,
  registerEvaluate,
  registerDescribe,
  registerExplain,
  registerTest,
  registerConvert,
  registerToken,
  registerJwks,
  registerCa,
  registerCompletion,
];

/** The whole command line. Its actions set `process.exitCode` to 1 for a finding and throw {@link MisuseError} for misuse. */
export function createProgram(): Command {
  const require = createRequire(import.meta.url);
  const { version } = require('enmesh/package.json') as { version: string };
  const program = new Command('enmesh')
    .description("The security half of a service mesh, in Istio's own YAML: check it, ask it, start with it")
    .version(version)
    .showHelpAfterError('(enmesh --help shows what there is)')
    .addHelpText('after', examples);
  for (const register of registrations) register(program);
  for (const command of [program, ...program.commands]) command.exitOverride();
  return program;
}

/**
 * Runs one command line, `args` without node and script. Resolves to the exit code: 0 good, 1 a finding, 2 misuse (said on standard error).
 * Writes to the process's standard output and error. Rejects only on a fault of the program itself.
 */
export async function run(args: readonly string[]): Promise<number> {
  process.exitCode = exitCodes.good;
  try {
    await createProgram().parseAsync([...args], { from: 'user' });
    return Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.good : exitCodes.misuse;
    if (!(error instanceof MisuseError)) throw error;
    process.stderr.write(`${paint('red', 'enmesh:', process.stderr)} ${printable(error.message, '\n\t')}\n`);
    return exitCodes.misuse;
  }
}
