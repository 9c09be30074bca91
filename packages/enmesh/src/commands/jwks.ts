import { Option, type Command } from 'commander';
import { algorithms, publicJwk, readSigningKey } from '../keys/signing-key.js';
import { formatJson, MisuseError, writeOut } from '../output.js';

interface JwksFlags {
  readonly alg?: string;
  readonly kid?: string;
  readonly create?: boolean;
  readonly yaml?: boolean;
  readonly json?: boolean;
}

const examples = `
Only public keys are printed.

Examples:
  $ enmesh jwks dev.key                  {"keys":[...]} on one line
  $ enmesh jwks --yaml dev.key           jwks: '{"keys":[...]}', a line for spec.jwtRules[] of a RequestAuthentication
  $ enmesh jwks --create dev.key old.key two keys, so that tokens of both are good while one replaces the other`;

/** `enmesh jwks`: the public key set of key files, ready for `jwks:` of RequestAuthentication. */
export function register(program: Command): void {
  program
    .command('jwks')
    .description('print the public key set of key files, ready for jwks:')
    .argument('<key...>', 'private keys: PEM or JWK')
    .option('--create', 'make a key (P-256, mode 0600) where a file does not exist')
    .addOption(new Option('--alg <algorithm>', 'when a key has several').choices(algorithms))
    .option('--kid <id>', 'key id instead of the thumbprint, of a single key')
    .option('--yaml', "print the line jwks: '...'")
    .option('--json', 'print the set over several lines')
    .addHelpText('after', examples)
    .action(jwks);
}

async function jwks(paths: readonly string[], flags: JwksFlags): Promise<void> {
  if (flags.kid !== undefined && paths.length > 1) throw new MisuseError('--kid names one key; give one file');
  const keys = await Promise.all(paths.map((path) => readSigningKey({ ...flags, path })));
  const set = { keys: keys.map((key) => publicJwk(key)) };
  const line = JSON.stringify(set);
  // A key id may hold a quote; in YAML's single quotes it is doubled.
  const text = flags.yaml === true ? `jwks: '${line.replaceAll("'", "''")}'\n` : `${line}\n`;
  await writeOut(flags.json === true ? formatJson(set) : text);
}
