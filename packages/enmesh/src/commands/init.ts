import type { Command } from 'commander';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inspectService, type Findings } from '../init/findings.js';
import { instructionsFor } from '../init/instructions.js';
import { filesFor, type NewFile } from '../init/templates.js';
import { formatJson, MisuseError, paint, printable, writeOut } from '../output.js';

const examples = `
It asks nothing: the name and the framework come from package.json, namespace, service account and labels from a Deployment if there is one.
Existing files are never changed, and a mesh/ that holds anything is left alone.

Examples:
  $ cd my-service && enmesh init
  $ enmesh init services/product`;

/** `enmesh init`: enmesh.yaml and a commented mesh/ for an existing service, and the lines to add to its code. */
export function register(program: Command): void {
  program
    .command('init')
    .description('begin in an existing service: enmesh.yaml, a mesh/ that opens nothing, the lines to add')
    .argument('[directory]', 'of the service', '.')
    .option('--json', 'print {"found": .., "written": [..], "left": [..]}')
    .addHelpText('after', examples)
    .action(init);
}

async function init(directory: string, flags: { readonly json?: boolean }): Promise<void> {
  const entries = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    throw new MisuseError(`${directory} is no folder that can be read: ${error.code ?? 'unknown reason'}`);
  });
  const found = await inspectService(directory);
  const hasMesh = entries.includes('mesh') && (await holdsAnything(join(directory, 'mesh')));
  const written: string[] = [];
  const left: string[] = [];
  for (const file of filesFor(found)) {
    const isLeft = (hasMesh && file.path.startsWith('mesh/')) || !(await writeNew(directory, file));
    (isLeft ? left : written).push(file.path);
  }
  await writeOut(flags.json === true ? formatJson({ found, written, left }) : report(found, written, left));
}

async function holdsAnything(directory: string): Promise<boolean> {
  return readdir(directory).then(
    (names) => names.length > 0,
    () => true,
  );
}

/** Whether the file was written; false when there is one already. */
async function writeNew(directory: string, file: NewFile): Promise<boolean> {
  const path = join(directory, file.path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file.text, { flag: 'wx' });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw new MisuseError(`${path} cannot be written: ${code ?? 'unknown reason'}`);
  }
}

function report(found: Findings, written: readonly string[], left: readonly string[]): string {
  const labels = Object.entries(found.labels).map(([key, value]) => `${key}=${value}`);
  const origin =
    found.manifest === undefined ? 'guessed from the name, no Kubernetes manifest was found' : `from ${found.manifest}`;
  const who = `${found.name}: namespace ${found.namespace}, service account ${found.serviceAccount}, labels ${labels.join(',')}`;
  return [
    `${printable(`${who} (${origin})`)}\n\n`,
    ...written.map((path) => `${paint('green', 'wrote', process.stdout)} ${path}\n`),
    ...left.map(
      (path) =>
        `${paint('yellow', 'left ', process.stdout)} ${path}: ${path.startsWith('mesh/') ? 'mesh/ is in use' : 'it exists'}\n`,
    ),
    `\n${instructionsFor(found)}\n`,
    'Until mesh/authorization-policy.yaml allows a caller, every request is denied. Check with: enmesh validate mesh enmesh.yaml\n',
  ].join('');
}
