import { constants } from 'node:fs';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { EnmeshError } from '../errors.js';

/** The largest file that is read, in bytes; a chain or a bundle of roots is a few KiB. */
export const maxIdentityFileBytes = 1 << 20;

/**
 * Reads a file of an identity as text; symbolic links are followed. Rejects with `ENMESH_ISSUANCE_FILES_ABSENT` where there is none, and with
 * `ENMESH_ISSUANCE_FILES_UNUSABLE` when it is empty, no regular file, larger than {@link maxIdentityFileBytes} or not readable.
 */
export async function readIdentityFile(path: string): Promise<string> {
  let handle;
  try {
    // Without O_NONBLOCK, opening a pipe under this name would wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw unusable(path, 'is no regular file');
    if (stats.size > maxIdentityFileBytes)
      throw unusable(path, `has ${stats.size} bytes; at most ${maxIdentityFileBytes} are read`);
    // What is appended while it is being read is not followed.
    const buffer = Buffer.alloc(stats.size);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    if (length === 0) throw unusable(path, 'is empty');
    return buffer.toString('utf8', 0, length);
  } catch (error) {
    throw error instanceof EnmeshError ? error : failure(path, error);
  } finally {
    await handle?.close().catch(() => {});
  }
}

/** The names in a directory; undefined when there is no such directory. Rejects with `ENMESH_ISSUANCE_FILES_UNUSABLE` when it cannot be read. */
export async function readNames(directory: string): Promise<readonly string[] | undefined> {
  try {
    return await readdir(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw failure(directory, error);
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

function failure(path: string, error: unknown): EnmeshError {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new EnmeshError('ENMESH_ISSUANCE_FILES_ABSENT', `${path} is not there`);
  return unusable(path, `cannot be read (${code})`);
}

function unusable(path: string, reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_FILES_UNUSABLE', `${path} ${reason}`);
}
