import { constants, type Stats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';

/** A file of an identity, a key or a list, as it was when it was read. */
export interface SmallFile {
  /** Read as UTF-8. */
  readonly text: string;
  /** Differs when the file is another one or was written to. */
  readonly mark: string;
  /** The bits of its mode and its owner; 0 on Windows, which has neither. */
  readonly mode: number;
  readonly uid: number;
}

/**
 * Reads a regular file of at most `maxBytes`, anew each time; symbolic links are followed, for mounts are made of them. A pipe or a device under the name is
 * neither waited for nor opened, and no size that the file system tells is believed. Rejects with the error of the system, or with a RangeError that says
 * what is wrong with the file; `fileProblem` makes a sentence of either.
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<SmallFile> {
  // Opening a device may already do something.
  checkRegular(await stat(path));
  const handle = await openAtOnce(path);
  try {
    // What stands under the name may be another file by now: this one is read.
    const stats = await handle.stat();
    checkRegular(stats);
    const text = await readToEnd(handle, stats.size, maxBytes);
    return { text, mark: markOfStats(stats), mode: stats.mode & 0o7777, uid: stats.uid };
  } finally {
    await handle.close().catch(() => {});
  }
}

/** {@link readSmallFile}, and undefined where there is no such file. */
export async function readSmallFileIfThere(path: string, maxBytes: number): Promise<SmallFile | undefined> {
  try {
    return await readSmallFile(path, maxBytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Why a file could not be read, as the rest of a sentence, without a word of what it holds. */
export function fileProblem(error: unknown): string {
  if (error instanceof RangeError) return error.message;
  const { code = 'unknown error' } = (error ?? {}) as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'it is not there' : `it cannot be read (${code})`;
}

/** Why a file could not be read, as a word or two for brackets: the code of the system, or what is wrong with the file. */
export function fileReason(error: unknown): string {
  return error instanceof RangeError ? error.message : String((error as NodeJS.ErrnoException | undefined)?.code ?? 'unreadable');
}

/** What differs when a file is another one or was written to. */
export function markOfStats({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(' ');
}

/** Opens a file for reading; a pipe under the name is opened too, without waiting for its writer. */
export function openAtOnce(path: string): Promise<FileHandle> {
  return open(path, readOnly);
}

// Without O_NONBLOCK, opening a pipe would wait for its writer. Windows has neither of the two.
const readOnly = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

function checkRegular(stats: Stats): void {
  if (!stats.isFile()) throw new RangeError('it is no regular file');
}

async function readToEnd(handle: FileHandle, expected: number, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  for (let length = 0, room = Math.min(expected, maxBytes) + 1; ; room = 16_384) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(room), 0, room, length);
    if (bytesRead === 0) return Buffer.concat(chunks).toString('utf8');
    chunks.push(buffer.subarray(0, bytesRead));
    length += bytesRead;
    if (length > maxBytes) throw new RangeError(`it is bigger than ${maxBytes} bytes`);
  }
}
