import type { Readable } from 'node:stream';

/**
 * The lines of a byte stream without their line feeds, one at a time, in bounded memory: of a line longer than `limit` bytes nothing is kept and
 * `undefined` is given in its place. What follows the last line feed is a line unless it is empty.
 */
export async function* readLines(input: Readable, limit: number): AsyncGenerator<Buffer | undefined> {
  let pending: Buffer[] = [];
  let size = 0;
  const take = (): Buffer | undefined => {
    const line = size > limit ? undefined : Buffer.concat(pending, size);
    pending = [];
    size = 0;
    return line;
  };
  const keep = (piece: Buffer): void => {
    size += piece.length;
    if (size <= limit) pending.push(piece);
    else pending = [];
  };
  for await (const part of input) {
    const chunk = typeof part === 'string' ? Buffer.from(part) : (part as Buffer);
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    keep(chunk.subarray(start));
  }
  if (size > 0) yield take();
}
