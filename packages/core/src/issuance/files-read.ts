import { readdir, realpath, stat } from 'node:fs/promises';
import { EnmeshError, type ErrorCode } from '../errors.js';
import { fileProblem, readSmallFile } from '../x509/small-file.js';

/** The largest file that is read, in bytes; a chain or a bundle of roots is a few KiB. */
const maxIdentityFileBytes = 1 << 20;

/**
 * Reads a file of an identity as text; symbolic links are followed. Rejects with `ENMESH_ISSUANCE_FILES_ABSENT` where there is none, and with
 * `ENMESH_ISSUANCE_FILES_UNUSABLE` when it is empty, no regular file, larger than {@link maxIdentityFileBytes} or not readable.
 */
export async function readIdentityFile(path: string): Promise<string> {
  let text: string;
  try {
    ({ text } = await readSmallFile(path, maxIdentityFileBytes));
  } catch (error) {
    const code: ErrorCode = isAbsent(error) ? 'ENMESH_ISSUANCE_FILES_ABSENT' : 'ENMESH_ISSUANCE_FILES_UNUSABLE';
    throw new EnmeshError(code, `${path}: ${fileProblem(error)}`);
  }
  if (text === '') throw unusable(path, 'it is empty');
  return text;
}

/** The names in a directory; undefined when there is no such directory. Rejects with `ENMESH_ISSUANCE_FILES_UNUSABLE` when it cannot be read. */
export async function readNames(directory: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw unusable(directory, fileProblem(error));
  }
}

/** What tells one state of a file from the next without reading it: where links lead, and the file's marks. */
export async function markOf(path: string): Promise<string> {
  try {
    const [real, stats] = await Promise.all([realpath(path), stat(path, { bigint: true })]);
    return [path, real, stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join(' ');
  } catch (error) {
    return `${path} ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`;
  }
}

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';

function unusable(path: string, reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_FILES_UNUSABLE', `${path}: ${reason}`);
}
