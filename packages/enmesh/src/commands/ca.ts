import type { Command } from 'commander';
import { registerInit } from './ca-init.js';
import { registerRotateRoot } from './ca-rotate-root.js';
import { registerRun } from './ca-run.js';
import { registerToken } from './ca-token.js';

const examples = `
For VMs and places without a certificate authority of their own: services get their identities from it as from istiod.

Examples:
  $ enmesh ca init --trust-domain cluster.local --name ca.example.com
  $ enmesh ca run
  $ enmesh ca token --namespace shop --service-account gateway --out gateway.token
  $ enmesh ca rotate-root

Exit codes: 0 good, 1 the authority cannot do it (now), 2 called wrongly. docs/ca.md has the whole story.`;

/** `enmesh ca`: a certificate authority for places without one. */
export function register(program: Command): void {
  const ca = program
    .command('ca')
    .description('a certificate authority for places without one: init, run, token, rotate-root')
    .addHelpText('after', examples)
    .action(() => ca.help({ error: true }));
  for (const registerOne of [registerInit, registerRun, registerToken, registerRotateRoot]) registerOne(ca);
  for (const command of ca.commands) command.exitOverride();
}
