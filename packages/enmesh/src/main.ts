import { Command, CommanderError } from 'commander';
import { createRequire } from 'node:module';
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

interface CommandModule {
  register(program: Command): void;
}

/** Each command registers itself under its own name; the order is that of --help. */
const commands: Readonly<Record<string, () => Promise<CommandModule>>> = {
  init: () => import('./commands/init.js'),
  validate: () => import('./commands/validate.js'),
  evaluate: () => import('./commands/evaluate.js'),
  describe: () => import('./commands/describe.js'),
  explain: () => import('./commands/explain.js'),
  test: () => import('./commands/test.js'),
  convert: () => import('./commands/convert.js'),
  token: () => import('./commands/token.js'),
  jwks: () => import('./commands/jwks.js'),
  ca: () => import('./commands/ca.js'),
  completion: () => import('./commands/completion.js'),
};

/** Those that a command line needs: a command that is called by its name waits for no other to be loaded. */
function modulesFor(first: string | undefined): Promise<readonly CommandModule[]> {
  const named = first !== undefined && first !== 'completion' && Object.hasOwn(commands, first) ? commands[first] : undefined;
  return Promise.all(named === undefined ? Object.values(commands).map((load) => load()) : [named()]);
}

/** The command line, as far as `args` need it. Its actions set `process.exitCode` to 1 for a finding and throw {@link MisuseError} for misuse. */
async function createProgram(args: readonly string[]): Promise<Command> {
  const require = createRequire(import.meta.url);
  const { version } = require('enmesh/package.json') as { version: string };
  const program = new Command('enmesh')
    .description("The security half of a service mesh, in Istio's own YAML: check it, ask it, start with it")
    .version(version)
    .showHelpAfterError('(enmesh --help shows what there is)')
    .addHelpText('after', examples);
  for (const { register } of await modulesFor(args[0])) register(program);
  for (const command of [program, ...program.commands]) command.exitOverride();
  for (const command of program.commands) {
    for (const one of [command, ...command.commands]) {
      const names = one === command ? one.name() : `${command.name()} ${one.name()}`;
      one.showHelpAfterError(`(enmesh ${names} --help shows what there is)`);
    }
  }
  return program;
}

/**
 * Runs one command line, `args` without node and script. Resolves to the exit code: 0 good, 1 a finding, 2 misuse (said on standard error).
 * Writes to the process's standard output and error. Rejects only on a fault of the program itself.
 */
export async function run(args: readonly string[]): Promise<number> {
  process.exitCode = exitCodes.good;
  try {
    const program = await createProgram(args);
    await program.parseAsync([...args], { from: 'user' });
    return Number(process.exitCode);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.good : exitCodes.misuse;
    if (!(error instanceof MisuseError)) throw error;
    process.stderr.write(`${paint('red', 'enmesh:', process.stderr)} ${printable(error.message, '\n\t')}\n`);
    return exitCodes.misuse;
  }
}
