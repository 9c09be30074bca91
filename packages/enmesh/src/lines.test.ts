import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { readLines } from './lines.js';

async function linesOf(chunks: readonly string[], limit = 10): Promise<(string | undefined)[]> {
  const lines: (string | undefined)[] = [];
  for await (const line of readLines(
    Readable.from(
      chunks.map((one) => Buffer.from(one)),
      { objectMode: true },
    ),
    limit,
  ))
    lines.push(line?.toString());
  return lines;
}

describe('readLines', () => {
  it.each([
    [[], []],
    [['a\nb\n'], ['a', 'b']],
    [['a\nb'], ['a', 'b']],
    [['\n\n'], ['', '']],
    [
      ['a', 'b', '\nc', 'd\n'],
      ['ab', 'cd'],
    ],
    [['é\n'.slice(0, 1), '\n'], ['é']],
    [['0123456789\n'], ['0123456789']],
    [
      ['0123456789', 'x\nnext\n'],
      [undefined, 'next'],
    ],
    [['0123456789x'], [undefined]],
    [
      ['0123456789x', 'y', 'z\n', '1\n'],
      [undefined, '1'],
    ],
  ])('reads %j as %j', async (chunks, expected) => {
    expect(await linesOf(chunks)).toEqual(expected);
  });

  it('keeps nothing of a line that is too long, whatever its length', async () => {
    const before = process.memoryUsage().arrayBuffers;
    let largest = 0;
    const chunk = Buffer.alloc(1024 * 1024, 'x');
    async function* endless(): AsyncGenerator<Buffer> {
      for (let number = 0; number < 200; number++) {
        largest = Math.max(largest, process.memoryUsage().arrayBuffers - before);
        yield Buffer.from(chunk);
        await Promise.resolve();
      }
      yield Buffer.from('\nend\n');
    }
    const lines: (string | undefined)[] = [];
    for await (const line of readLines(Readable.from(endless()), 4096)) lines.push(line?.toString());
    expect(lines).toEqual([undefined, 'end']);
    expect(largest).toBeLessThan(150 * 1024 * 1024);
  });
});
