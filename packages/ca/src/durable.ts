import { randomUUID } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Makes what was created, renamed or removed in a directory survive a power failure. Windows needs no such call and has none. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(directory, 'r');
  await handle.sync().finally(() => handle.close());
}

/** Writes a new file and puts it on disk. Fails with `EEXIST` rather than touch one that is there. */
export async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, 'wx', mode);
  await writeAndSync(handle, text);
}

/** Replaces a file in one step: a reader finds the old text or the new one, also after a crash. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await writeNew(temporary, text, mode);
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } finally {
    await rm(temporary, { force: true });
  }
}

async function writeAndSync(handle: FileHandle, text: string): Promise<void> {
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Reads a small file: undefined when there is none, else its text and what tells whether it has changed. Larger than `maxBytes` rejects. */
export async function readSmall(
  path: string,
  maxBytes: number,
): Promise<{ readonly text: string; readonly mark: string; readonly mode: number } | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > maxBytes) throw Object.assign(new Error('not a small file'), { code: 'EFBIG' });
    const bytes = Buffer.alloc(maxBytes + 1);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    if (bytesRead > maxBytes) throw Object.assign(new Error('not a small file'), { code: 'EFBIG' });
    return { text: bytes.toString('utf8', 0, bytesRead), mark: markOf(stats), mode: stats.mode };
  } finally {
    await handle.close();
  }
}

/** What differs when a file is another one or was written to. */
export function markOf(stats: {
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}): string {
  return `${stats.ino} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`;
}

/** The code of an error of the file system, for messages. */
export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? 'unknown error';
}
