import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { link, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { validateDocuments } from './validate.js';
import { createDirectorySource, maxFileBytes, type ConfigSource } from './directory.js';
import { untilHolds } from '../../../../test/support/waiting.js';

let root: string;
let stops: (() => void)[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'enmesh-directory-'));
  stops = [];
});
afterEach(() => {
  for (const stop of stops) stop();
  rmSync(root, { recursive: true, force: true });
});

function writeOld(name: string, text: string | Buffer): void {
  writeFileSync(join(root, name), text);
  utimesSync(join(root, name), 1000, 1000);
}

const names = async (source: ConfigSource): Promise<string[]> => (await source.read()).map((file) => file.name);

describe('reading a configuration directory', () => {
  test('gives its YAML and JSON files and those of enmesh/ in name order, and tells the mesh configuration', async () => {
    mkdirSync(join(root, 'enmesh'));
    for (const name of ['b.yml', 'a.yaml', 'c.json', 'notes.txt', '.hidden.yaml', 'a.yaml~', '.a.yaml.swp']) writeOld(name, name);
    for (const name of ['mesh.yaml', 'tokens.yaml']) writeOld(`enmesh/${name}`, name);
    expect(await createDirectorySource({ path: root }).read()).toEqual([
      { name: 'a.yaml', text: 'a.yaml' },
      { name: 'b.yml', text: 'b.yml' },
      { name: 'c.json', text: 'c.json' },
      { name: 'enmesh/mesh.yaml', text: 'mesh.yaml', meshConfig: true },
      { name: 'enmesh/tokens.yaml', text: 'tokens.yaml' },
    ]);
  });

  test('takes off a byte order mark', async () => {
    writeOld('a.yaml', '\ufeffkind: x');
    expect(await createDirectorySource({ path: root }).read()).toEqual([{ name: 'a.yaml', text: 'kind: x' }]);
  });

  test('never waits for a pipe, at whatever moment it takes the place of a file', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    writeOld('text', 'kind: x');
    let isOver = false;
    const swapping = (async () => {
      for (let i = 0; !isOver; i++) {
        await link(join(root, i % 2 === 0 ? 'pipe' : 'text'), join(root, 'next'));
        // Over another name of the same file a rename does nothing.
        await rename(join(root, 'next'), join(root, 'a.yaml'));
      }
    })();
    try {
      const source = createDirectorySource({ path: root });
      await untilHolds(() => expect(existsSync(join(root, 'a.yaml'))).toBe(true));
      for (let i = 0; i < 100; i++)
        for (const file of await source.read()) expect(file.text === 'kind: x' || file.fault !== undefined).toBe(true);
    } finally {
      isOver = true;
      await swapping;
    }
  });

  test('tells once of a sub-folder that holds YAML and is not read', async () => {
    writeOld('a.yaml', 'a');
    mkdirSync(join(root, 'more'));
    writeOld('more/b.yaml', 'b');
    mkdirSync(join(root, 'pictures'));
    writeOld('pictures/b.png', 'b');
    const notices: NoticeEvent[] = [];
    stops.push(noticeEvents.subscribe((notice) => notices.push(notice)));
    const source = createDirectorySource({ path: root });
    await source.read();
    await source.read();
    expect(notices.map((notice) => [notice.kind, notice.details])).toEqual([['config-warning', { path: join(root, 'more') }]]);
  });

  test.each([
    ['a directory that does not exist', 'ENMESH_CONFIG_DIRECTORY_MISSING', () => rmSync(root, { recursive: true })],
    [
      'a file in its place',
      'ENMESH_CONFIG_DIRECTORY_MISSING',
      () => (rmSync(root, { recursive: true }), writeFileSync(root, 'x')),
    ],
    ['an empty directory', 'ENMESH_CONFIG_DIRECTORY_EMPTY', () => {}],
  ])('refuses %s with %s, naming the path', async (_, code, prepare) => {
    prepare();
    await expect(createDirectorySource({ path: root }).read()).rejects.toMatchObject({
      code,
      message: expect.stringContaining(root),
    });
  });

  test.each([
    [
      'that is too large',
      'ENMESH_CONFIG_TOO_BIG',
      () => (writeOld('a.yaml', 'a'), truncateSync(join(root, 'a.yaml'), maxFileBytes + 1)),
    ],
    ['that is not UTF-8', 'ENMESH_CONFIG_NOT_UTF8', () => writeOld('a.yaml', Buffer.from([0x61, 0xff, 0xfe]))],
    [
      'that is a link that leads nowhere',
      'ENMESH_CONFIG_FILE_UNREADABLE',
      () => symlinkSync('nowhere.yaml', join(root, 'a.yaml')),
    ],
    ['that is a device', 'ENMESH_CONFIG_FILE_UNREADABLE', () => symlinkSync('/dev/zero', join(root, 'a.yaml'))],
  ])('gives a file %s its fault, %s, and reads the others', async (_, code, prepare) => {
    prepare();
    writeOld('b.yaml', 'b');
    const files = await createDirectorySource({ path: root }).read();
    expect(files).toEqual([
      { name: 'a.yaml', text: '', fault: { code, message: expect.stringMatching(/^(is|has|cannot be) /) } },
      { name: 'b.yaml', text: 'b' },
    ]);
    expect(validateDocuments(files).resources).toBeUndefined();
    expect(validateDocuments(files).problems.map(({ file, code: found }) => [file, found])).toEqual([
      ['a.yaml', code],
      ['b.yaml', 'ENMESH_CONFIG_KIND_UNKNOWN'],
    ]);
  });

  test.skipIf(process.getuid?.() === 0)('gives a file that it may not read its fault', async () => {
    writeOld('a.yaml', 'a');
    chmodSync(join(root, 'a.yaml'), 0);
    const [file] = await createDirectorySource({ path: root }).read();
    expect(file?.fault?.code).toBe('ENMESH_CONFIG_FILE_UNREADABLE');
  });

  test('refuses a set that is too large as a whole', async () => {
    for (let at = 0; at < 9; at++) {
      writeOld(`${at}.yaml`, '');
      truncateSync(join(root, `${at}.yaml`), maxFileBytes);
    }
    await expect(createDirectorySource({ path: root }).read()).rejects.toMatchObject({ code: 'ENMESH_CONFIG_TOO_BIG' });
  });
});

describe('a ConfigMap as Kubernetes mounts it', () => {
  const mount = (version: string, files: Readonly<Record<string, string>>): void => {
    mkdirSync(join(root, `..${version}`));
    for (const [name, text] of Object.entries(files)) writeOld(`..${version}/${name}`, text);
    symlinkSync(`..${version}`, join(root, '..data_tmp'));
    renameSync(join(root, '..data_tmp'), join(root, '..data'));
  };

  test('is read through its links, each file once', async () => {
    mount('1', { 'a.yaml': 'one' });
    symlinkSync('..data/a.yaml', join(root, 'a.yaml'));
    expect(await createDirectorySource({ path: root }).read()).toEqual([{ name: 'a.yaml', text: 'one' }]);
  });

  test('is whole at once after each swap of ..data, and a key taken out of it is gone', async () => {
    mount('1', { 'a.yaml': 'one', 'b.yaml': 'one' });
    for (const name of ['a.yaml', 'b.yaml']) symlinkSync(`..data/${name}`, join(root, name));
    const source = createDirectorySource({ path: root });
    await source.read();
    mount('2', { 'a.yaml': 'two' });
    rmSync(join(root, '..1'), { recursive: true });
    expect(await source.read()).toEqual([{ name: 'a.yaml', text: 'two' }]);
    expect(source.quietFor?.()).toBe(Infinity);
    unlinkSync(join(root, 'b.yaml'));
    mount('3', { 'a.yaml': 'three' });
    expect(await source.read()).toEqual([{ name: 'a.yaml', text: 'three' }]);
    expect(source.quietFor?.()).toBe(Infinity);
  });
});

describe('quiet', () => {
  let now: number;
  let source: ConfigSource;
  beforeEach(async () => {
    now = Date.now();
    writeOld('a.yaml', 'one');
    source = createDirectorySource({ path: root, clock: () => now });
    await source.read();
  });
  const quietAfter = async (ms: number): Promise<number | undefined> => {
    now += ms;
    await source.read();
    return source.quietFor?.();
  };

  test('is counted from when a change in place was first seen', async () => {
    appendFileSync(join(root, 'a.yaml'), 'more');
    expect(await quietAfter(10_000)).toBe(0);
    expect(await quietAfter(200)).toBe(200);
    appendFileSync(join(root, 'a.yaml'), 'more');
    expect(await quietAfter(100)).toBe(0);
  });

  test('is no question for a file that was moved into place', async () => {
    writeOld('a.yaml.new', 'two');
    renameSync(join(root, 'a.yaml.new'), join(root, 'a.yaml'));
    expect(await quietAfter(10)).toBe(Infinity);
  });

  test('begins anew when the directory was gone', async () => {
    rmSync(root, { recursive: true });
    now += 10_000;
    await expect(source.read()).rejects.toMatchObject({ code: 'ENMESH_CONFIG_DIRECTORY_MISSING' });
    expect(source.quietFor?.()).toBe(0);
    mkdirSync(root);
    writeFileSync(join(root, 'a.yaml'), 'on');
    expect(await quietAfter(10)).toBe(0);
  });
});

describe('watching', () => {
  let changes: number;
  const watched = async (path = root, pollMs = 3_600_000): Promise<ConfigSource> => {
    const source = createDirectorySource({ path, pollMs });
    changes = 0;
    stops.push(source.watch(() => changes++));
    // The first look, and the one after the watches stand.
    await untilHolds(() => expect(changes).toBeGreaterThanOrEqual(2));
    return source;
  };
  const heard = async (change: () => void): Promise<void> => {
    await new Promise((settled) => setTimeout(settled, 60));
    const before = changes;
    change();
    await untilHolds(() => expect(changes).toBeGreaterThan(before));
  };

  test.each<[string, () => void]>([
    ['a write in place', () => appendFileSync(join(root, 'a.yaml'), 'x')],
    ['a rename', () => (writeFileSync(join(root, 'a.tmp'), 'x'), renameSync(join(root, 'a.tmp'), join(root, 'a.yaml')))],
    ['a new file', () => writeFileSync(join(root, 'b.yaml'), 'x')],
    ['a deletion', () => unlinkSync(join(root, 'a.yaml'))],
    ['a write in enmesh/', () => appendFileSync(join(root, 'enmesh/mesh.yaml'), 'x')],
  ])('hears of %s', async (_, change) => {
    writeOld('a.yaml', 'one');
    mkdirSync(join(root, 'enmesh'));
    writeOld('enmesh/mesh.yaml', 'x');
    await watched();
    await heard(change);
  });

  test('a small file written and moved into place within one tick of the clock is known to be whole', async () => {
    writeOld('a.yaml', 'one');
    const source = await watched();
    await source.read();
    for (let round = 0; round < 5; round++) {
      await heard(() => {
        writeFileSync(join(root, 'a.yaml.tmp'), `round ${round}`);
        renameSync(join(root, 'a.yaml.tmp'), join(root, 'a.yaml'));
      });
      expect(await source.read()).toEqual([{ name: 'a.yaml', text: `round ${round}` }]);
      if (process.platform === 'linux') expect(source.quietFor?.()).toBe(Infinity);
    }
  });

  test('a file deleted and written anew is never taken for whole', async () => {
    writeOld('a.yaml', 'one');
    const source = await watched();
    await source.read();
    await heard(() => {
      unlinkSync(join(root, 'a.yaml'));
      writeFileSync(join(root, 'a.yaml'), 'half');
    });
    await source.read();
    expect(source.quietFor?.()).toBeLessThan(1000);
  });

  test('hears of three swaps of ..data one after the other', async () => {
    const swap = (version: number): void => {
      mkdirSync(join(root, `..${version}`));
      writeFileSync(join(root, `..${version}`, 'a.yaml'), String(version));
      symlinkSync(`..${version}`, join(root, '..data_tmp'));
      renameSync(join(root, '..data_tmp'), join(root, '..data'));
      if (version > 1) rmSync(join(root, `..${version - 1}`), { recursive: true });
    };
    swap(1);
    symlinkSync('..data/a.yaml', join(root, 'a.yaml'));
    const source = await watched();
    for (const version of [2, 3, 4]) {
      await heard(() => swap(version));
      await untilHolds(async () => expect(await source.read()).toEqual([{ name: 'a.yaml', text: String(version) }]));
    }
  });

  test('hears of a directory that is deleted and made anew, and of changes in the new one', async () => {
    const path = join(root, 'mesh');
    mkdirSync(path);
    writeFileSync(join(path, 'a.yaml'), 'one');
    const source = await watched(path);
    await heard(() => rmSync(path, { recursive: true }));
    await heard(() => mkdirSync(path));
    await heard(() => writeFileSync(join(path, 'a.yaml'), 'two'));
    await heard(() => writeFileSync(join(path, 'a.yaml'), 'three'));
    expect(await names(source)).toEqual(['a.yaml']);
  });

  test('hears of a write behind a symbolic link into another directory', async () => {
    mkdirSync(join(root, 'mesh'));
    mkdirSync(join(root, 'elsewhere'));
    writeOld('elsewhere/real.yaml', 'one');
    symlinkSync('../elsewhere/real.yaml', join(root, 'mesh', 'a.yaml'));
    await watched(join(root, 'mesh'));
    await heard(() => appendFileSync(join(root, 'elsewhere', 'real.yaml'), 'x'));
  });

  test('the poll finds what no event told', async () => {
    mkdirSync(join(root, 'one'));
    mkdirSync(join(root, 'two'));
    writeOld('one/a.yaml', 'one');
    writeOld('two/a.yaml', 'two');
    symlinkSync('one', join(root, 'link'));
    // The path goes through a link whose own directory is not watched.
    mkdirSync(join(root, 'one', 'mesh'));
    mkdirSync(join(root, 'two', 'mesh'));
    writeOld('one/mesh/a.yaml', 'one');
    writeOld('two/mesh/a.yaml', 'two');
    const source = await watched(join(root, 'link', 'mesh'), 20);
    await heard(() => {
      symlinkSync('two', join(root, 'link2'));
      renameSync(join(root, 'link2'), join(root, 'link'));
    });
    expect(await source.read()).toEqual([{ name: 'a.yaml', text: 'two' }]);
  });

  test('ends when stopped', async () => {
    writeOld('a.yaml', 'one');
    await watched();
    stops.pop()?.();
    const before = changes;
    appendFileSync(join(root, 'a.yaml'), 'x');
    await new Promise((settled) => setTimeout(settled, 100));
    expect(changes).toBe(before);
  });
});
