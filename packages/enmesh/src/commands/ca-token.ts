import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { formatJson, MisuseError, writeOut } from '../output.js';
import { directoryOption, readCaSettings, withAuthority } from './ca-files.js';

interface TokenFlags {
  readonly directory: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly expires: string;
  readonly out?: string;
  readonly json?: boolean;
}

const examples = `
A join token gets one certificate for one identity, once; after that the service renews by the certificate. Only its hash is stored.

Examples:
  $ enmesh ca token --namespace shop --service-account gateway --out gateway.token
  $ enmesh ca token -n shop -s gateway --expires 15m --json`;

/** `enmesh ca token`: a one-time join token. */
export function registerToken(ca: Command): void {
  ca.command('token')
    .description('make a one-time join token for a service')
    .option(...directoryOption)
    .requiredOption('-n, --namespace <namespace>', 'of the service')
    .requiredOption('-s, --service-account <name>', 'of the service')
    .option('-e, --expires <duration>', 'how long it is good: 90s, 15m, 24h, 7d', '1h')
    .option('--out <file>', 'write it to a new file, mode 0600, instead of printing it')
    .option('--json', 'print {"token": .., "id": .., "identity": .., "expiresAt": ..}')
    .addHelpText('after', examples)
    .action((flags: TokenFlags) => withAuthority(() => token(flags)));
}

async function token(flags: TokenFlags): Promise<void> {
  const { createJoinToken, parseDuration } = await import('@enmesh/ca');
  const settings = await readCaSettings(flags.directory);
  if (!settings.joinTokens)
    throw new MisuseError('joinTokens is false in the settings of this authority: it would refuse the token');
  const { directory, trustDomain } = settings;
  const { namespace, serviceAccount, out } = flags;
  const lifeSeconds = parseDuration(flags.expires, '--expires');
  const made = await createJoinToken({ directory, trustDomain, namespace, serviceAccount, lifeSeconds });
  const expiresAt = new Date(made.expiresAt).toISOString();
  if (out !== undefined)
    await writeFile(out, `${made.token}\n`, { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
      throw new MisuseError(`${out} cannot be written: ${error.code ?? 'unknown reason'}`);
    });
  if (flags.json === true)
    return writeOut(formatJson({ ...made, expiresAt, ...(out === undefined ? {} : { token: undefined, file: out }) }));
  return writeOut(out === undefined ? `${made.token}\n` : `${out}: a token for ${made.identity}, once, until ${expiresAt}\n`);
}
