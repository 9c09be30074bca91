import { Option, type Command } from 'commander';
import { claimsOf, type ClaimFlags } from '../keys/claims.js';
import { algorithms, readSigningKey, signToken } from '../keys/signing-key.js';
import { formatJson, writeOut } from '../output.js';

interface TokenFlags extends ClaimFlags {
  readonly key: string;
  readonly alg?: string;
  readonly kid?: string;
  readonly create?: boolean;
  readonly json?: boolean;
}

const examples = `
For development and tests: whoever holds the key file is the issuer. The key id is the key's RFC 7638 thumbprint, as in enmesh jwks.

Examples:
  $ enmesh token --create -k dev.key -i https://idp.example -s alice -a shop --claim groups='["admin"]' --expires 15m
  $ curl -H "authorization: Bearer $(enmesh token -k dev.key -i https://idp.example -s alice)" http://localhost:8080/
  $ enmesh token -k dev.key -i https://idp.example -s alice --expires -1m        one that has expired`;

const collect = (value: string, earlier: readonly string[] | undefined): readonly string[] => [...(earlier ?? []), value];

/** `enmesh token`: a JWT signed with a key file, its claims given by flags. */
export function register(program: Command): void {
  program
    .command('token')
    .description('sign a token with a key file, for development')
    .requiredOption('-k, --key <file>', 'private key: PEM or JWK')
    .option('--create', 'make the key (P-256, mode 0600) if the file does not exist')
    .option('-i, --issuer <issuer>', 'claim iss')
    .option('-s, --subject <subject>', 'claim sub')
    .option('-a, --audience <audience>', 'claim aud; may be repeated', collect)
    .option('-c, --claim <name=value>', 'another claim, its value JSON or text; may be repeated', collect)
    .option('-e, --expires <duration>', 'claim exp from now: 90s, 15m, 1h, 7d, or never', '1h')
    .option('--not-before <duration>', 'claim nbf from now')
    .addOption(new Option('--alg <algorithm>', 'when the key has several').choices(algorithms))
    .option('--kid <id>', 'key id instead of the thumbprint')
    .option('--json', 'print {"token": .., "header": .., "claims": ..}')
    .addHelpText('after', examples)
    .action(token);
}

async function token(flags: TokenFlags): Promise<void> {
  const claims = claimsOf(flags, Date.now());
  const key = await readSigningKey({ ...flags, path: flags.key });
  const signed = signToken(key, claims);
  const header = { alg: key.alg, kid: key.kid, typ: 'JWT' };
  await writeOut(flags.json === true ? formatJson({ token: signed, header, claims }) : `${signed}\n`);
}
