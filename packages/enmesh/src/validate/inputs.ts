import {
  configLimits,
  createDirectorySource,
  parseServiceFile,
  validateDocuments,
  type ConfigFile,
  type ConfigProblem,
  type MeshResources,
  type Workload,
} from '@enmesh/core/config';
import { EnmeshError } from '@enmesh/core';
import { isUtf8 } from 'node:buffer';
import { open, readdir, stat } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { MisuseError } from '../output.js';
import { documentDoubts } from './document-doubts.js';
import { doubtsFor } from './doubts.js';

/** What a check found; `files` is how many were read. */
export interface Checked {
  readonly problems: readonly ConfigProblem[];
  readonly files: number;
}

interface CheckedPath extends Checked {
  /** Of a set without errors. */
  readonly resources?: MeshResources | undefined;
  /** Of a service file. */
  readonly workload?: Workload;
  /** Of a service file: issuers whose keys it lets be fetched over plain http. */
  readonly httpIssuers?: readonly string[];
  /** Of a service file: the directory that it names, as written. */
  readonly config?: string;
  readonly directory?: string;
}

/**
 * Checks what a command line names: every directory as a configuration of its own, all single files together as one, `-` as one more file of these from
 * `stdin`, and a file called `enmesh.yaml` as the description of a workload, for which the rest is then looked at once more. A path that does not exist or cannot be read is a `MisuseError`.
 * `areNamed`: by a person, who knows which services share a directory.
 */
export async function checkInputs(paths: readonly string[], stdin: Readable, areNamed = true): Promise<Checked> {
  const checked: CheckedPath[] = [];
  const singles: ConfigFile[] = [];
  for (const path of new Set(paths)) {
    if (path === '-') singles.push({ name: 'stdin', text: decode(await readBounded(stdin), 'stdin') });
    else if (await isDirectory(path)) checked.push(await checkDirectory(path));
    else if (/^enmesh\.ya?ml$/.test(basename(path))) checked.push(checkServiceFile(await readSingle(path), path));
    else singles.push({ name: path, text: await readSingle(path), meshConfig: isMeshConfig(path) });
  }
  if (singles.length > 0) checked.push({ ...validateDocuments(singles), files: singles.length });
  const workloads = checked.flatMap(({ workload }) => workload ?? []);
  const httpIssuers = new Set(checked.flatMap(({ httpIssuers: some = [] }) => some));
  const doubts = checked.flatMap(({ resources, directory = '' }) => {
    if (resources === undefined) return [];
    const found = [
      ...documentDoubts(resources, (issuer) => httpIssuers.has(issuer)),
      ...doubtsFor(resources, workloads, areNamed),
    ];
    return inDirectory(directory, found);
  });
  return {
    problems: [...checked.flatMap(({ problems }) => problems), ...doubts],
    files: checked.reduce((sum, { files }) => sum + files, 0),
  };
}

/**
 * What is checked where nothing is named: `enmesh.yaml` of this folder and the configuration directory that it names. A folder without the one, or a
 * directory that is not there, is a `MisuseError`.
 */
export async function findInputs(): Promise<readonly string[]> {
  const file = ['enmesh.yaml', 'enmesh.yml'].find((name) => existsSync(name));
  if (file === undefined)
    throw new MisuseError(
      'what is to be checked? There is no enmesh.yaml here: name a directory, files, or - for standard input',
    );
  const { config } = checkServiceFile(await readSingle(file), file);
  if (config === undefined) return [file];
  const directory = relative('', resolve(config)) || '.';
  if (!existsSync(directory)) throw new MisuseError(`${directory} does not exist, which \`config\` in ${file} names`);
  return [file, directory];
}

/** A problem that belongs to a whole file. */
function problemOf(file: string, error: EnmeshError): ConfigProblem {
  return { level: 'error', code: error.code, message: error.message, file, line: 1, column: 1, path: '' };
}

function inDirectory(directory: string, problems: readonly ConfigProblem[]): readonly ConfigProblem[] {
  return problems.map((problem) => ({ ...problem, file: join(directory, problem.file) }));
}

async function checkDirectory(path: string): Promise<CheckedPath> {
  try {
    const files = await createDirectorySource({ path }).read();
    const { problems, resources } = validateDocuments(files);
    return { problems: inDirectory(path, problems), files: files.length, resources, directory: path };
  } catch (error) {
    if (!(error instanceof EnmeshError)) throw error;
    return { problems: [problemOf(path, error)], files: 0 };
  }
}

function checkServiceFile(text: string, path: string): CheckedPath {
  try {
    const { namespace, serviceAccount = 'default', labels = {}, config, jwks = {} } = parseServiceFile(text, path);
    const workload = namespace === undefined ? {} : { workload: { namespace, serviceAccount, labels } };
    const httpIssuers = Object.entries(jwks).flatMap(([issuer, said]) =>
      typeof said === 'object' && said.insecureHttp === true ? [issuer] : [],
    );
    return { problems: [], files: 1, httpIssuers, ...workload, ...(config === undefined ? {} : { config }) };
  } catch (error) {
    if (!(error instanceof EnmeshError)) throw error;
    const problems = error.details?.['problems'] as readonly ConfigProblem[] | undefined;
    return { problems: problems ?? [problemOf(path, error)], files: 1 };
  }
}

function isMeshConfig(path: string): boolean {
  return /^mesh\.(ya?ml|json)$/i.test(basename(path)) && basename(dirname(path)) === 'enmesh';
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch((error: unknown) => unreadable(path, error))).isDirectory();
}

/** The text of a file named on the command line: UTF-8, bounded by what a configuration file may have. */
export async function readSingle(path: string): Promise<string> {
  const handle = await open(path).catch((error: unknown) => unreadable(path, error));
  try {
    return decode(await readBounded(handle.createReadStream({ autoClose: false })), path);
  } catch (error) {
    return unreadable(path, error);
  } finally {
    await handle.close();
  }
}

function unreadable(path: string, error: unknown): never {
  if (error instanceof MisuseError) throw error;
  const code = (error as NodeJS.ErrnoException).code;
  throw new MisuseError(`${path} ${code === 'ENOENT' ? 'does not exist' : `cannot be read: ${code ?? 'unknown reason'}`}`);
}

// One byte more than allowed is read, so that the validator says what is too big, and no more.
async function readBounded(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = chunk as Buffer;
    chunks.push(bytes);
    size += bytes.length;
    if (size > configLimits.fileBytes) break;
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Buffer, name: string): string {
  if (bytes.length <= configLimits.fileBytes && !isUtf8(bytes)) throw new MisuseError(`${name} is not UTF-8 text`);
  return bytes.toString('utf8').replace(/^\ufeff/, '');
}

/** One text named on a command line. */
export interface InputText {
  readonly name: string;
  readonly text: string;
}

/** The texts of files, of the YAML files that stand directly in directories, in name order, and of `stdin` where `-` is named. */
export async function readTexts(paths: readonly string[], stdin: Readable): Promise<readonly InputText[]> {
  const texts: InputText[] = [];
  for (const path of new Set(paths)) {
    if (path === '-') texts.push({ name: 'stdin', text: decode(await readBounded(stdin), 'stdin') });
    else if (await isDirectory(path)) {
      const names = (await readdir(path)).filter((name) => /^[^.].*\.(ya?ml|json)$/i.test(name)).toSorted();
      for (const name of names) texts.push({ name: join(path, name), text: await readSingle(join(path, name)) });
    } else texts.push({ name: path, text: await readSingle(path) });
  }
  for (const { name, text } of texts) {
    if (Buffer.byteLength(text) > configLimits.fileBytes)
      throw new MisuseError(`${name} has more than ${configLimits.fileBytes / 1024 / 1024} MiB`);
  }
  return texts;
}
