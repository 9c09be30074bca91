import { open, stat } from 'node:fs/promises';

/**
 * The text of a regular file of at most `maxBytes`, read anew each time: mounts change underneath. Rejects with the error of the system, or with a
 * RangeError that says what is wrong with the file.
 */
export async function readSmallFile(path: string, maxBytes: number): Promise<string> {
  // To open a pipe would wait for somebody to write into it.
  if (!(await stat(path)).isFile()) throw new RangeError('it is no regular file');
  const file = await open(path, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let length = 0; ;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(16_384), 0, 16_384, length);
      if (bytesRead === 0) return Buffer.concat(chunks).toString('utf8');
      chunks.push(buffer.subarray(0, bytesRead));
      length += bytesRead;
      if (length > maxBytes) throw new RangeError(`it is bigger than ${maxBytes} bytes`);
    }
  } finally {
    await file.close();
  }
}

/** Why a file could not be read, without a word of what it holds. */
export function fileProblem(error: unknown): string {
  if (error instanceof RangeError) return error.message;
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' ? 'it is not there' : `it cannot be read (${code})`;
}
