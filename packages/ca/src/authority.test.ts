import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '@enmesh/core/issuance';
import { openAuthority } from './authority.js';
import { initAuthority } from './make-files.js';
import { rotateRoot } from './rotate-root.js';

const trustDomain = 'cluster.local';
const day = 86_400_000;
let now = Date.UTC(2026, 0, 1);
const clock = (): number => now;
let parent = '';
let directory = '';
const notices: NoticeEvent[] = [];
let stop = (): void => {};
beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  parent = mkdtempSync(join(tmpdir(), 'enmesh-authority-'));
  directory = join(parent, 'ca');
  await initAuthority({ directory, trustDomain, settings: { name: 'ca.yaml', text: '' }, clock });
  notices.length = 0;
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
});
afterEach(() => {
  stop();
  rmSync(parent, { recursive: true });
});
const open = () => openAuthority({ directory, trustDomain, clock });

describe('the keys of an authority', () => {
  it.skipIf(process.platform === 'win32')('are not read where other users could put others in their place', async () => {
    for (const mode of [0o777, 0o770, 0o702]) {
      chmodSync(directory, mode);
      await expect(open()).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_FILES' }));
    }
    chmodSync(directory, 0o755);
    await expect(open()).resolves.toBeDefined();
  });

  it('tell once when they change, whoever listens, and nothing when nothing did', async () => {
    const authority = await open();
    const heard: number[] = [];
    const stopWatching = authority.watch((keys) => heard.push(keys.roots.length));
    for (let look = 0; look < 3; look++) await authority.refresh();
    await rotateRoot('prepare', { directory, trustDomain, clock });
    for (let look = 0; look < 3; look++) await authority.refresh();
    expect(heard).toEqual([2]);
    stopWatching();
    await rotateRoot('activate', { directory, trustDomain, clock });
    await authority.refresh();
    expect(heard).toEqual([2]);
    expect(notices.map(({ kind, level }) => `${kind} ${level}`)).toEqual(['authority-changed info', 'authority-changed info']);
  });

  it('warn of their end from 60 days before, and do not open after it', async () => {
    const { notAfter } = (await open()).current().signer;
    now = notAfter - 59 * day;
    await open();
    expect(notices).toMatchObject([{ level: 'warn', message: expect.stringContaining('ends in 59 days') as string }]);
    now = notAfter;
    await expect(open()).rejects.toThrow(expect.objectContaining({ code: 'ENMESH_CA_EXPIRED' }));
  });
});
