import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as settled } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from './lock.js';

let directory = '';
let path = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-lock-'));
  path = join(directory, 'a.lock');
});
afterEach(() => rmSync(directory, { recursive: true }));

const hold = (pid: number, host = hostname()) => writeFileSync(path, JSON.stringify({ pid, host, token: 'x' }));
const deadPid = () => spawnSync(process.execPath, ['-e', '']).pid;

describe('withLock', () => {
  it('lets one in at a time and leaves nothing behind', async () => {
    let inside = 0;
    const work = async () => {
      expect(++inside).toBe(1);
      expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ pid: process.pid });
      await settled();
      inside--;
      return 'done';
    };
    expect(await Promise.all([1, 2, 3, 4].map(() => withLock(path, work)))).toEqual(['done', 'done', 'done', 'done']);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('frees the lock when the work fails', async () => {
    await expect(withLock(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(existsSync(path)).toBe(false);
  });

  it('takes over from a process that has died, also when several find it so', async () => {
    hold(deadPid());
    let runs = 0;
    await Promise.all([1, 2, 3].map(() => withLock(path, async () => void runs++)));
    expect(runs).toBe(3);
    expect(readdirSync(directory)).toEqual([]);
  });

  it('takes over a lock that is too old, whoever wrote what into it', async () => {
    writeFileSync(path, 'half a li');
    const old = Date.now() / 1000 - 60;
    utimesSync(path, old, old);
    await withLock(path, async () => {});
    expect(readdirSync(directory)).toEqual([]);
  });

  it.each([
    ['a living process', () => hold(process.pid), new RegExp(`process ${process.pid}`)],
    ['a process of another machine', () => hold(1, 'elsewhere.example'), /on elsewhere.example/],
    ['someone who is just writing it', () => writeFileSync(path, ''), /unknown process/],
    ['a process number that means a group', () => hold(0), /unknown process/],
  ])('waits for %s, and gives up with the name of the file', async (_, take, holder) => {
    take();
    const attempt = withLock(path, async () => 'in', { waitMs: 50 });
    await expect(attempt).rejects.toThrow(
      expect.objectContaining({ code: 'ENMESH_ISSUANCE_LOCKED', message: expect.stringMatching(holder) }),
    );
    await expect(withLock(path, async () => 'in', { waitMs: 0 })).rejects.toThrow(path);
    expect(existsSync(path)).toBe(true);
  });

  it('does not free a lock that became somebody else\u2019s meanwhile', async () => {
    await withLock(path, async () => hold(1, 'elsewhere.example'));
    expect(existsSync(path)).toBe(true);
  });

  it('says when the directory cannot be written', async () => {
    await expect(withLock(join(directory, 'absent', 'a.lock'), async () => {})).rejects.toThrow(/ENOENT/);
  });
});
