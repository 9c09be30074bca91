import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fileProblem, readSmallFile, readSmallFileIfThere } from './small-file.js';

const directory = mkdtempSync(join(tmpdir(), 'enmesh-small-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = (name: string): string => join(directory, name);
const write = (name: string, text: string | Buffer): string => {
  writeFileSync(path(name), text);
  return path(name);
};
const problem = (file: string, maxBytes = 100): Promise<string> => readSmallFile(file, maxBytes).then(() => 'none', fileProblem);

describe('readSmallFile', () => {
  it.each([0, 1, 99, 100])('reads a file of %d bytes whole where 100 are the bound', async (size) => {
    expect((await readSmallFile(write('file', 'ä'.repeat(size / 2) + (size % 2 === 1 ? 'x' : '')), 100)).text).toHaveLength(
      Math.ceil(size / 2),
    );
  });

  it('refuses a file of more bytes than the bound', async () => {
    expect(await problem(write('file', 'x'.repeat(101)))).toBe('it is bigger than 100 bytes');
    expect(await problem(write('file', 'x'.repeat(1 << 20)))).toBe('it is bigger than 100 bytes');
  });

  it('does not believe a file system that tells no size', async () => {
    const { text } = await readSmallFile('/proc/self/stat', 10_000);
    expect(text).toContain(String(process.pid));
    expect(await problem('/proc/self/stat', 10)).toBe('it is bigger than 10 bytes');
  });

  it('follows symbolic links, as those of a mounted Secret', async () => {
    symlinkSync(write('target', 'text'), path('link'));
    expect((await readSmallFile(path('link'), 100)).text).toBe('text');
  });

  it('says what is not there, and what is no file', async () => {
    expect(await problem(path('absent'))).toBe('it is not there');
    expect(await problem(write('plain', '') + '/below')).toBe('it cannot be read (ENOTDIR)');
    expect(await problem(directory)).toBe('it is no regular file');
    expect(await problem('/dev/zero')).toBe('it is no regular file');
    expect(await readSmallFileIfThere(path('absent'), 100)).toBeUndefined();
    await expect(readSmallFileIfThere(directory, 100)).rejects.toThrow(RangeError);
  });

  it('does not wait for whoever may write into a pipe, also behind a link', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    symlinkSync(path('pipe'), path('to-pipe'));
    expect([await problem(path('pipe')), await problem(path('to-pipe'))]).toEqual([
      'it is no regular file',
      'it is no regular file',
    ]);
  });

  it('tells mode and owner, and another mark once the file was written to or is another', async () => {
    const file = write('marked', 'one');
    chmodSync(file, 0o640);
    const first = await readSmallFile(file, 100);
    expect([first.mode, first.uid]).toEqual([0o640, process.getuid?.()]);
    expect((await readSmallFile(file, 100)).mark).toBe(first.mark);
    appendFileSync(file, 'more');
    const second = await readSmallFile(file, 100);
    rmSync(file);
    write('marked', 'onemore');
    expect(new Set([first.mark, second.mark, (await readSmallFile(file, 100)).mark]).size).toBe(3);
  });
});
