import { open } from 'node:fs/promises';

/** The text of a file of at most `maxBytes`; rejects with the error of the system, or a RangeError where it is bigger. Read anew each time: mounts change underneath. */
export async function readSmallFile(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const bytes = Buffer.alloc(maxBytes + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length, length);
      length += bytesRead;
      if (length > maxBytes) throw new RangeError(`it is bigger than ${maxBytes} bytes`);
      if (bytesRead === 0) return bytes.toString('utf8', 0, length);
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
