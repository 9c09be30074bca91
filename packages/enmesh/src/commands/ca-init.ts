import { resolve } from 'node:path';
import type { Command } from 'commander';
import { formatJson, writeOut } from '../output.js';
import { directoryOption, settingsFile, withAuthority } from './ca-files.js';

interface InitFlags {
  readonly directory: string;
  readonly trustDomain: string;
  readonly name?: readonly string[];
  readonly from?: string;
  readonly json?: boolean;
}

const examples = `
Makes a root and an intermediate that signs for it, or takes the files of an existing authority. Nothing is overwritten; keys have mode 0600.

Examples:
  $ enmesh ca init --trust-domain cluster.local --name ca.example.com
  $ enmesh ca init --from cacerts            root-cert.pem, ca-cert.pem, ca-key.pem, cert-chain.pem as in Istio's secret
  $ mv ca/root-key.pem /media/safe/          the root stays offline: nothing needs its key day by day`;

const collect = (value: string, earlier: readonly string[] | undefined): readonly string[] => [...(earlier ?? []), value];

/** `enmesh ca init`: the directory of a new authority. */
export function registerInit(ca: Command): void {
  ca.command('init')
    .description('make the directory of an authority')
    .option(...directoryOption)
    .option('-t, --trust-domain <name>', 'whose identities it gives out', 'cluster.local')
    .option('--name <name>', 'DNS name it is reached by, besides those of istiod; may be repeated', collect)
    .option('--from <directory>', 'plug in the files of an existing authority')
    .option('--json', 'print {"directory": .., "trustBundle": .., "rootKey": ..}')
    .addHelpText('after', examples)
    .action((flags: InitFlags) => withAuthority(() => init(flags)));
}

async function init(flags: InitFlags): Promise<void> {
  const { defaultNames, initAuthority, parseCaSettings } = await import('@enmesh/ca');
  const names = [...defaultNames, ...(flags.name ?? [])];
  const directory = resolve(flags.directory);
  // Read back by the very reader of `run`, so that it never meets a file that it refuses.
  parseCaSettings({ trustDomain: flags.trustDomain, names }, directory);
  const { rootKey } = await initAuthority({
    directory,
    trustDomain: flags.trustDomain,
    settings: { name: settingsFile, text: settingsText(flags.trustDomain, names) },
    ...(flags.from === undefined ? {} : { from: flags.from }),
  });
  const made = { directory, trustBundle: `${directory}/trust-bundle.pem`, rootKey: rootKey ?? null };
  if (flags.json === true) return writeOut(formatJson(made));
  const shown = flags.directory.replace(/\/+$/, '');
  const lines = [
    `${shown}/ is the certificate authority of trust domain ${flags.trustDomain}.`,
    ...(rootKey === undefined ? [] : [`Keep ${shown}/root-key.pem offline: nothing needs it day by day.`]),
    `Give ${shown}/trust-bundle.pem to the services, and start it: enmesh ca run -d ${shown}`,
  ];
  return writeOut(`${lines.join('\n')}\n`);
}

function settingsText(trustDomain: string, names: readonly string[]): string {
  return `# A certificate authority of enmesh: docs/ca.md explains every setting.
trustDomain: ${trustDomain}
listen: 127.0.0.1:15012      # 0.0.0.0:15012 for others than this machine
names: [${names.join(', ')}]
ttl: 24h
maxTtl: 24h
joinTokens: true
# jwt:                       # services that have tokens of an identity provider
# - issuer: https://idp.example
#   audiences: [enmesh-ca]
#   identities:
#   - {subject: gateway-vm, namespace: shop, serviceAccount: gateway}
# tokenReview:               # services with tokens of a Kubernetes cluster
#   url: https://10.0.0.1:6443
#   ca: kubernetes-ca.pem
#   tokenFile: reviewer.token
#   audiences: [istio-ca]
`;
}
