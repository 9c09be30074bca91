import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '@enmesh/core/issuance';
import { openDenyList, parseDenyList } from './deny-list.js';

const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
let directory = '';
const notices: NoticeEvent[] = [];
let stop = (): void => {};
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-deny-'));
  notices.length = 0;
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
});
afterEach(() => {
  stop();
  rmSync(directory, { recursive: true });
});
const path = (): string => join(directory, 'deny.list');
let version = 0;
const write = (text: string): void => {
  // By rename, as an editor does it, so that no two writes look alike.
  writeFileSync(`${path()}.${++version}`, text);
  renameSync(`${path()}.${version}`, path());
};

describe('the deny list', () => {
  it('reads identities, and serial numbers however they are printed', () => {
    const { found, problem } = parseDenyList(`# remark\n\nidentity ${uri}   # why\r\nserial 0A:BC:0D\nserial 00ff\nserial abc\n`);
    expect(problem).toBeUndefined();
    expect([...found.identities]).toEqual([uri]);
    expect([...found.serials]).toEqual(['0abc0d', 'ff', '0abc']);
  });

  it.each(['identity gateway', 'identity spiffe://cluster.local', 'serial xyz', `identity ${uri} ${uri}`, uri, 'deny all'])(
    'says which line cannot be read: %s',
    (line) => {
      expect(parseDenyList(`serial 01\n${line}\nserial 02`)).toMatchObject({
        problem: expect.stringContaining('line 2') as string,
      });
    },
  );

  it('follows its file', async () => {
    const list = await openDenyList(directory);
    expect(list.hasIdentity(uri)).toBe(false);
    write(`identity ${uri}\nserial 0f`);
    await list.refresh();
    expect([list.hasIdentity(uri), list.hasSerial('0f')]).toEqual([true, true]);
    write('');
    await list.refresh();
    expect([list.hasIdentity(uri), list.hasSerial('0f')]).toEqual([false, false]);
    expect(notices).toEqual([]);
  });

  it('adds what it can read of a list with a bad line, takes nothing off, and says so once', async () => {
    write(`identity ${uri}`);
    const list = await openDenyList(directory);
    write('serial 0f\nidentiy spiffe://cluster.local/ns/shop/sa/x');
    for (let look = 0; look < 3; look++) await list.refresh();
    expect([list.hasIdentity(uri), list.hasSerial('0f')]).toEqual([true, true]);
    expect(notices).toMatchObject([{ level: 'error', code: 'ENMESH_CA_FILES' }]);
    write('serial 0f');
    await list.refresh();
    expect([list.hasIdentity(uri), list.hasSerial('0f')]).toEqual([false, true]);
  });

  it('stays as it was when its file is gone', async () => {
    write(`identity ${uri}`);
    const list = await openDenyList(directory);
    rmSync(path());
    await list.refresh();
    expect(list.hasIdentity(uri)).toBe(true);
    expect(notices).toHaveLength(1);
  });

  it('does not open with a line that cannot be read', async () => {
    write('deny gateway');
    await expect(openDenyList(directory)).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_FILES' }));
  });

  it('does not wait for a pipe that takes its place: what was denied stays denied', async () => {
    write(`identity ${uri}\n`);
    const list = await openDenyList(directory);
    rmSync(path());
    execFileSync('mkfifo', [path()]);
    await list.refresh();
    expect(list.hasIdentity(uri)).toBe(true);
    expect(notices.map(({ message }) => message)).toEqual([expect.stringContaining('it is no regular file')]);
  });
});
