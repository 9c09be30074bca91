import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFolderWatches, type FolderWatches } from './files-watch.js';

let folder: string;
let watches: FolderWatches;
let events = 0;
let told = (): void => {};
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enmesh-watch-'));
  events = 0;
  watches = createFolderWatches(() => {
    events++;
    told();
  });
});
afterEach(async () => {
  watches.close();
  await rm(folder, { recursive: true, force: true });
});

/** Resolves with the next event; whatever is still under way is heard before. */
const nextEvent = async (change: () => Promise<unknown>): Promise<void> => {
  await pause(20);
  const event = new Promise<void>((done) => (told = done));
  await change();
  await event;
};

describe('createFolderWatches', () => {
  it('hears of a file that is written, and of one that replaces it', async () => {
    const path = join(folder, 'tls.crt');
    expect(await watches.follow([path])).toBe(true);
    await nextEvent(() => writeFile(path, 'a'));
    await writeFile(join(folder, 'next'), 'b');
    await nextEvent(() => rename(join(folder, 'next'), path));
  });

  it('hears of a write in the folder that a symbolic link leads to, and of the link that is swapped', async () => {
    for (const name of ['..1', '..2']) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'tls.crt'), name);
    }
    await symlink('..1', join(folder, '..data'));
    await symlink(join('..data', 'tls.crt'), join(folder, 'tls.crt'));
    await watches.follow([join(folder, 'tls.crt')]);
    await nextEvent(() => writeFile(join(folder, '..1', 'tls.crt'), 'changed'));
    await symlink('..2', join(folder, '..next'));
    await nextEvent(() => rename(join(folder, '..next'), join(folder, '..data')));
    expect(await watches.follow([join(folder, 'tls.crt')])).toBe(true);
    await nextEvent(() => writeFile(join(folder, '..2', 'tls.crt'), 'changed'));
  });

  it('begins anew with a folder that was deleted and made again, and is silent about one it already follows', async () => {
    const inner = join(folder, 'certs');
    await mkdir(inner);
    const paths = [inner, join(inner, 'tls.crt')];
    expect(await watches.follow(paths)).toBe(true);
    expect(await watches.follow(paths)).toBe(false);
    await nextEvent(() => rm(inner, { recursive: true }));
    await watches.follow(paths);
    await nextEvent(() => mkdir(inner));
    expect(await watches.follow(paths)).toBe(true);
    await nextEvent(() => writeFile(join(inner, 'tls.crt'), 'a'));
  });

  it('passes over folders that do not exist, and hears nothing after its end', async () => {
    expect(await watches.follow([join(folder, 'none', 'tls.crt')])).toBe(false);
    await watches.follow([join(folder, 'tls.crt')]);
    watches.close();
    const before = events;
    await writeFile(join(folder, 'tls.crt'), 'a');
    await pause(50);
    expect(events).toBe(before);
    expect(await watches.follow([join(folder, 'tls.crt')])).toBe(false);
  });
});
