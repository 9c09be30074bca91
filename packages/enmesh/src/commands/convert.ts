import type { Command } from 'commander';
import { writeFile } from 'node:fs/promises';
import type { ConvertedDocument } from '../convert/book.js';
import { convertDocuments, type Conversion } from '../convert/convert.js';
import { readDocuments } from '../convert/document.js';
import { formatDocuments } from '../convert/print.js';
import { exitCodes, formatJson, MisuseError, paint, printable, writeOut, type Colour } from '../output.js';
import { readTexts } from '../validate/inputs.js';

interface ConvertFlags {
  readonly namespace: string;
  readonly rootNamespace: string;
  readonly output?: string;
  readonly json?: boolean;
}

const examples = `
Converted are Policy and MeshPolicy (authentication.istio.io), ClusterRbacConfig, ServiceRole and ServiceRoleBinding (rbac.istio.io), and
EndUserAuthenticationPolicySpec with its binding (config.istio.io). A document is converted as a whole or refused with the reason. What changes in
meaning stands as a comment above each document. Kubernetes Services among the input tell which labels and ports stand behind a service name.

Examples:
  $ enmesh convert legacy.yaml > mesh/converted.yaml
  $ enmesh convert legacy/ services.yaml -o mesh/converted.yaml
  $ kubectl get policies.authentication.istio.io,svc -A -o yaml | enmesh convert - --json`;

/** `enmesh convert`: the legacy kinds of Istio 0.x to 1.5 as PeerAuthentication, RequestAuthentication and AuthorizationPolicy. */
export function register(program: Command): void {
  program
    .command('convert')
    .description('turn legacy Istio policies into those of today, saying what changes in meaning')
    .argument('<path...>', 'files or directories of YAML, or - for standard input')
    .option('-o, --output <file>', 'write to a new file instead of standard output')
    .option('-n, --namespace <name>', 'of documents that name none', 'default')
    .option('--root-namespace <name>', "the mesh's root namespace", 'istio-system')
    .option('--json', 'print {"converted": [...], "refused": [...], "passedOver": [...]}')
    .addHelpText('after', examples)
    .action(convert);
}

async function convert(paths: readonly string[], flags: ConvertFlags): Promise<void> {
  const texts = await readTexts(paths, process.stdin);
  const read = texts.map(({ name, text }) => readDocuments({ file: name, text, namespace: flags.namespace }));
  const unread = read.flatMap((one) => one.unread);
  const conversion = convertDocuments(
    read.flatMap((one) => one.documents),
    { rootNamespace: flags.rootNamespace },
  );
  const broken = unread.map(({ file, line, reason }) => ({ from: `${file}:${line}`, path: '', reason }));
  const all: Conversion = { ...conversion, refused: [...broken, ...conversion.refused] };
  if (all.refused.length > 0) process.exitCode = exitCodes.finding;
  const text = flags.json === true ? formatJson(all) : formatDocuments(all.converted);
  if (flags.output === undefined) await writeOut(text);
  else await writeNew(flags.output, text);
  if (flags.json !== true) process.stderr.write(summary(all));
}

async function writeNew(path: string, text: string): Promise<void> {
  await writeFile(path, text, { flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    throw new MisuseError(
      error.code === 'EEXIST' ? `${path} exists and is not overwritten` : `${path} cannot be written: ${error.code}`,
    );
  });
}

function summary({ converted, refused, passedOver }: Conversion): string {
  const sources = new Map<string, ConvertedDocument[]>();
  for (const one of converted) {
    const from = one.from.join(', ');
    sources.set(from, [...(sources.get(from) ?? []), one]);
  }
  const line = (colour: Colour, word: string, text: string): string =>
    `${paint(colour, word.padEnd(9), process.stderr)} ${printable(text)}\n`;
  const written = [...sources].map(([from, own]) => {
    const names = own.map(({ document }) => `${String(document['kind'])} ${(document['metadata'] as { name: string }).name}`);
    const notes = [...new Set(own.flatMap((one) => one.notes))];
    return line('green', 'converted', `${from} -> ${names.join(', ')}`) + notes.map((note) => line('yellow', '', note)).join('');
  });
  return [
    ...written,
    ...refused.map(({ from, path, reason }) => line('red', 'refused', `${from}${path === '' ? '' : ` ${path}`}: ${reason}`)),
    ...passedOver.map((from) => line('dim', 'left out', `${from}: no legacy kind`)),
    `${sources.size} converted into ${converted.length}, ${refused.length} refused, ${passedOver.length} left out\n`,
  ].join('');
}
