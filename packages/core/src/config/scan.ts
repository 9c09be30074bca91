import type { BigIntStats, Dirent } from 'node:fs';
import { lstat, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { EnmeshError } from '../errors.js';

/** The sub-folder that holds what Kubernetes would not know: `mesh.yaml` and `TokenPropagation`. */
export const ownFolder = 'enmesh';

/** How many entries one folder may have; more is refused with `ENMESH_CONFIG_TOO_BIG`. */
const maxEntries = 10_000;

/** One configuration file as the directory shows it. Two scans with equal marks saw the same file with, as far as its times tell, the same content. */
export interface ScannedFile {
  /** Relative to the directory, with forward slashes: `policies.yaml`, `enmesh/mesh.yaml`. */
  readonly name: string;
  /** Where its bytes are, every symbolic link resolved. */
  readonly real: string;
  /** Whether `name` is a symbolic link (Kubernetes mounts the keys of a ConfigMap so). */
  readonly linked: boolean;
  /** True for `enmesh/mesh.yaml`, which is written in MeshConfig's own fields. */
  readonly meshConfig: boolean;
  readonly mark: FileMark;
  /** Why there is nothing to read: a link that leads nowhere, a device in place of a file. */
  readonly fault?: FileFault;
}

/** Why the text of one file is not there, as a sentence about it. `isMissing`: it may be on its way. */
export interface FileFault {
  readonly code: 'ENMESH_CONFIG_FILE_UNREADABLE' | 'ENMESH_CONFIG_TOO_BIG' | 'ENMESH_CONFIG_NOT_UTF8';
  readonly message: string;
  readonly isMissing?: boolean;
}

/** What tells one state of a file from another; times are nanoseconds since the epoch. */
export interface FileMark {
  readonly identity: string;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** What a configuration directory holds at one moment. `folders` are the real directories whose changes matter, `ignored` the sub-folders passed over. */
export interface DirectoryScan {
  readonly files: readonly ScannedFile[];
  readonly folders: readonly string[];
  readonly ignored: readonly string[];
}

/** The {@link FileMark} of a file's status. */
export function markOf(stats: BigIntStats): FileMark {
  return { identity: `${stats.dev}:${stats.ino}`, size: stats.size, mtimeNs: stats.mtimeNs, ctimeNs: stats.ctimeNs };
}

/** The mark of what cannot be looked at. */
const noMark: FileMark = { identity: '', size: 0n, mtimeNs: 0n, ctimeNs: 0n };

/** Whether two marks are of the same, unchanged file. */
export function isSameMark(a: FileMark, b: FileMark): boolean {
  return a.identity === b.identity && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Whether two scans saw the same files in the same places, unchanged. */
export function isSameScan(a: DirectoryScan, b: DirectoryScan): boolean {
  if (a.files.length !== b.files.length) return false;
  return a.files.every((file, at) => {
    const other = b.files[at];
    return other !== undefined && file.name === other.name && file.real === other.real && isSameMark(file.mark, other.mark);
  });
}

/** Whether a file of this name is configuration: `.yaml`, `.yml` or `.json`, and not hidden. */
export function isConfigName(name: string): boolean {
  return !name.startsWith('.') && /\.(ya?ml|json)$/i.test(name);
}

/**
 * Lists the configuration files of a directory and of its sub-folder `enmesh/`, in name order, without reading them. Other sub-folders are not
 * entered, as `kubectl apply -f DIRECTORY` does not; hidden entries and the `..data` of a mounted ConfigMap are passed over.
 * Refuses with `ENMESH_CONFIG_DIRECTORY_MISSING`, `ENMESH_CONFIG_FILE_UNREADABLE` (of a folder), `ENMESH_CONFIG_TOO_BIG`.
 */
export async function scanDirectory(path: string): Promise<DirectoryScan> {
  const root = await realFolder(path);
  const top = await scanFolder(path, root, '');
  const own = top.folders.includes(ownFolder)
    ? await scanFolder(path, await realFolder(join(path, ownFolder)), `${ownFolder}/`)
    : undefined;
  const files = [...top.files, ...(own?.files ?? [])];
  const behindLinks = files.filter((file) => file.linked).map((file) => dirname(file.real));
  return {
    files,
    folders: [...new Set([root, ...(own === undefined ? [] : [own.real]), ...behindLinks])],
    ignored: [
      ...top.folders.filter((folder) => folder !== ownFolder),
      ...(own?.folders ?? []).map((folder) => `${ownFolder}/${folder}`),
    ],
  };
}

interface FolderScan {
  readonly real: string;
  readonly files: readonly ScannedFile[];
  readonly folders: readonly string[];
}

async function scanFolder(path: string, real: string, prefix: string): Promise<FolderScan> {
  const entries = await readdir(real, { withFileTypes: true }).catch((cause: unknown) => {
    throw unreadable(join(path, prefix), cause);
  });
  if (entries.length > maxEntries) {
    throw new EnmeshError('ENMESH_CONFIG_TOO_BIG', `${join(path, prefix)} has more than ${maxEntries} entries`);
  }
  const files: ScannedFile[] = [];
  const folders: string[] = [];
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.')) continue;
    if (entry.isDirectory()) folders.push(entry.name);
    else if (entry.isSymbolicLink() && (await isFolder(join(real, entry.name)))) folders.push(entry.name);
    else if (isConfigName(entry.name)) {
      const file = await scanFile(prefix, real, entry);
      if (file !== undefined) files.push(file);
    }
  }
  return { real, files, folders };
}

async function scanFile(prefix: string, folder: string, entry: Dirent): Promise<ScannedFile | undefined> {
  const plain = join(folder, entry.name);
  const name = prefix + entry.name;
  const common = { name, linked: entry.isSymbolicLink(), meshConfig: /^enmesh\/mesh\.(ya?ml|json)$/i.test(name) };
  try {
    const stats = await stat(plain, { bigint: true });
    if (!stats.isFile()) throw new Error('it is not a regular file');
    return { ...common, real: common.linked ? await realpath(plain) : plain, mark: markOf(stats) };
  } catch (cause) {
    if (isMissing(cause) && (await hasLeftConfigMap(plain))) return undefined;
    return { ...common, real: plain, mark: noMark, fault: unreadableFile(cause) };
  }
}

// Kubernetes removes a key from a mounted ConfigMap by swapping `..data` first and deleting the then dangling link `key -> ..data/key` a moment later.
async function hasLeftConfigMap(path: string): Promise<boolean> {
  try {
    const target = await readlink(path);
    if (!target.startsWith('..data/')) return false;
    return await isFolder(join(dirname(path), '..data'));
  } catch (cause) {
    return isMissing(cause) && !(await exists(path));
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function realFolder(path: string): Promise<string> {
  const missing = (why: string, cause?: unknown): EnmeshError =>
    new EnmeshError(
      'ENMESH_CONFIG_DIRECTORY_MISSING',
      `configuration directory ${path} ${why}; config in enmesh.yaml, ENMESH_CONFIG or createMesh({config}) names it`,
      { cause, details: { path } },
    );
  try {
    const real = await realpath(path);
    if (!(await stat(real)).isDirectory()) throw missing('is not a directory');
    return real;
  } catch (cause) {
    if (cause instanceof EnmeshError) throw cause;
    throw isMissing(cause) ? missing('does not exist', cause) : unreadable(path, cause);
  }
}

/** The fault of a file that the system does not let be read, with its own reason. */
export function unreadableFile(cause: unknown): FileFault {
  return {
    code: 'ENMESH_CONFIG_FILE_UNREADABLE',
    message: `cannot be read: ${reasonOf(cause)}`,
    ...(isMissing(cause) ? { isMissing: true } : {}),
  };
}

function unreadable(path: string, cause: unknown): EnmeshError {
  const message = `${path} cannot be read: ${reasonOf(cause)}`;
  return new EnmeshError('ENMESH_CONFIG_FILE_UNREADABLE', message, { cause, details: { path } });
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : 'unknown reason';
}

/** Whether a file system error says that there is nothing at the path. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'ENOENT';
}
