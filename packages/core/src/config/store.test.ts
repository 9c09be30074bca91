import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Workload } from '../identity/workload.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import type { ConfigSource } from './directory.js';
import type { Validator } from './off-thread.js';
import type { MeshSnapshot } from './snapshot.js';
import { createConfigStore, type ConfigStore } from './store.js';
import { validateDocuments, type ConfigFile } from './validate.js';

const workload: Workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
const policy = (name: string, ...paths: string[]): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec:\n  rules:\n` +
  paths.map((path) => `  - to: [{operation: {paths: ["${path}"]}}]\n`).join('');
const inline: Validator = { validate: async (files) => validateDocuments(files), close: async () => {} };

interface Fixture extends ConfigSource {
  files: readonly ConfigFile[] | Error;
  quiet: number;
  change(files: readonly ConfigFile[] | Error | string, quiet?: number): void;
  isWatched: boolean;
  reads: number;
}

function fixture(text: string): Fixture {
  let tell = (): void => {};
  return {
    label: 'mesh',
    files: [{ name: 'a.yaml', text }],
    quiet: Infinity,
    isWatched: false,
    reads: 0,
    async read() {
      this.reads += 1;
      if (this.files instanceof Error) throw this.files;
      return this.files;
    },
    quietFor() {
      return this.quiet;
    },
    watch(onChange) {
      this.isWatched = true;
      tell = onChange;
      return () => void (this.isWatched = false);
    },
    change(files, quiet = Infinity) {
      this.files = typeof files === 'string' ? [{ name: 'a.yaml', text: files }] : files;
      this.quiet = quiet;
      tell();
    },
  };
}

let notices: NoticeEvent[];
let stores: ConfigStore[];
let stop: () => void;
beforeEach(() => {
  notices = [];
  stores = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
});
afterEach(async () => {
  vi.useRealTimers();
  stop();
  for (const store of stores) await store.close();
});

async function open(source: ConfigSource): Promise<ConfigStore> {
  const store = await createConfigStore({ source, workload, validator: inline });
  stores.push(store);
  return store;
}
// Everything that is under way comes to its end within some turns of the event loop: time itself stands still.
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
const kinds = (): string[] => notices.map((notice) => notice.kind);
const policyNames = (snapshot: MeshSnapshot): string[] => snapshot.resources.authorizationPolicies.map(({ meta }) => meta.name);

describe('the first load', () => {
  test('gives a compiled snapshot of generation 1 for the workload, and tells so', async () => {
    const store = await open(fixture(policy('one', '/a')));
    expect(store.current()).toMatchObject({ generation: 1, workload, mesh: { rootNamespace: 'istio-system' } });
    expect(store.current().policies.allow).toHaveLength(1);
    expect(notices).toMatchObject([
      { kind: 'config-loaded', message: 'configuration 1 of mesh is in force: 1 AuthorizationPolicy' },
    ]);
  });

  test('rejects with the place of every error, and leaves nothing behind', async () => {
    const source = fixture(
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\nspec: {rule: []}\n',
    );
    await expect(createConfigStore({ source, workload, validator: inline })).rejects.toMatchObject({
      code: 'ENMESH_CONFIG_INVALID',
      message: expect.stringMatching(/^mesh has 1 error:\n {2}a\.yaml:4:\d+ spec\.rule: /),
    });
    expect(source.isWatched).toBe(false);
    expect(notices).toEqual([]);
  });

  test('rejects with what the source rejects with', async () => {
    const source = fixture('');
    source.files = new Error('no such thing');
    await expect(createConfigStore({ source, workload, validator: inline })).rejects.toMatchObject({
      code: 'ENMESH_CONFIG_FAULT',
    });
  });

  test('waits for files that are being written, and gives up in the end', async () => {
    const source = fixture(policy('one', '/a'));
    source.quiet = 100;
    const opening = createConfigStore({ source, workload, validator: inline, firstLoadMs: 1000 });
    opening.catch(() => {});
    await settle();
    expect(source.reads).toBe(1);
    for (let waited = 0; waited < 1300; waited += 50) {
      await vi.advanceTimersByTimeAsync(50);
      await settle();
    }
    await expect(opening).rejects.toMatchObject({ code: 'ENMESH_CONFIG_UNSETTLED' });
  });

  test('comes as soon as the files are quiet', async () => {
    const source = fixture(policy('one', '/a'));
    source.quiet = 100;
    const opening = open(source);
    await settle();
    source.quiet = 250;
    await vi.advanceTimersByTimeAsync(150);
    expect((await opening).current().generation).toBe(1);
  });
});

describe('a change of the source', () => {
  test('that is whole is in force at once, and listeners hear of it after the swap', async () => {
    const source = fixture(policy('one', '/a'));
    const store = await open(source);
    const heard: string[][] = [];
    const end = store.watch((snapshot) => heard.push([...policyNames(snapshot), ...policyNames(store.current())]));
    source.change(policy('two', '/a'));
    await settle();
    expect(store.current().generation).toBe(2);
    end();
    source.change(policy('three', '/a'));
    await settle();
    expect(store.current().generation).toBe(3);
    expect(heard).toEqual([['two', 'two']]);
  });

  test('without new content changes nothing and says nothing', async () => {
    const source = fixture(policy('one', '/a'));
    const store = await open(source);
    const first = store.current();
    source.change(policy('one', '/a'));
    await settle();
    expect(store.current()).toBe(first);
    expect(kinds()).toEqual(['config-loaded']);
  });

  test('that is not good keeps the last good snapshot and is told once for each content', async () => {
    const source = fixture(policy('one', '/a'));
    const store = await open(source);
    const first = store.current();
    for (const text of ['kind: [', 'kind: [', 'kind: {', 'kind: {']) {
      source.change(text);
      await settle();
    }
    source.change(new Error('gone'));
    await settle();
    expect(store.current()).toBe(first);
    expect(kinds()).toEqual(['config-loaded', 'config-rejected', 'config-rejected', 'config-rejected']);
    expect(notices[1]).toMatchObject({
      level: 'error',
      code: 'ENMESH_CONFIG_INVALID',
      message: expect.stringMatching(/a\.yaml:1:\d+/),
    });
    source.change(policy('one', '/a'));
    await settle();
    source.change('kind: [');
    await settle();
    expect(kinds().slice(4)).toEqual(['config-rejected']);
  });

  test('with a hundred errors names twenty of them', async () => {
    const source = fixture(policy('one', '/a'));
    await open(source);
    source.change(Array.from({ length: 100 }, (_, at) => policy(`p${at}`, '/a').replace('rules', 'rulez')).join('---\n'));
    await settle();
    expect(notices[1]?.message.match(/a\.yaml:\d+:\d+/g)).toHaveLength(20);
    expect(notices[1]?.message).toContain('and 80 more');
  });

  test('that fails to be told to one listener is told to the next', async () => {
    const source = fixture(policy('one', '/a'));
    const store = await open(source);
    const second = vi.fn();
    store.watch(() => {
      throw new Error('listener');
    });
    store.watch(second);
    source.change(policy('two', '/a'));
    await settle();
    expect(second).toHaveBeenCalledTimes(1);
    expect(store.current().generation).toBe(2);
  });

  test('tells each warning once, wherever an edit moves it', async () => {
    const deployment = '---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: shop}\n';
    const source = fixture(policy('one', '/a') + deployment);
    await open(source);
    source.change(policy('one', '/a', '/b') + deployment);
    await settle();
    expect(kinds().filter((kind) => kind === 'config-warning')).toHaveLength(1);
  });
});

describe('a change in place', () => {
  test('waits for 250 ms of quiet', async () => {
    const source = fixture(policy('one', '/a'));
    const store = await open(source);
    source.change(policy('one', '/a', '/b'), 0);
    await settle();
    expect(store.current().generation).toBe(1);
    source.quiet = 249;
    await vi.advanceTimersByTimeAsync(250);
    await settle();
    expect(store.current().generation).toBe(1);
    source.quiet = 250;
    await vi.advanceTimersByTimeAsync(1);
    await settle();
    expect(store.current().generation).toBe(2);
  });

  test('waits for 2 s of quiet where it would take something away', async () => {
    const source = fixture(policy('one', '/a', '/b'));
    const store = await open(source);
    source.change(policy('one', '/a'), 1999);
    await settle();
    expect(store.current().generation).toBe(1);
    source.quiet = 2000;
    await vi.advanceTimersByTimeAsync(1);
    await settle();
    expect(store.current().generation).toBe(2);
  });

  test('that is half done is not called an error before it was quiet', async () => {
    const source = fixture(policy('one', '/a'));
    await open(source);
    source.change('kind: [', 10);
    await settle();
    expect(kinds()).toEqual(['config-loaded']);
    source.quiet = 250;
    await vi.advanceTimersByTimeAsync(240);
    await settle();
    expect(kinds()).toEqual(['config-loaded', 'config-rejected']);
  });
});

describe('reload()', () => {
  test('reads at once, without quiet, and says whether a new snapshot is in force', async () => {
    const source = fixture(policy('one', '/a', '/b'));
    const store = await open(source);
    source.quiet = 0;
    expect(await store.reload()).toBe(false);
    source.files = [{ name: 'a.yaml', text: policy('one', '/a') }];
    expect(await store.reload()).toBe(true);
    expect(store.current().generation).toBe(2);
    source.files = [{ name: 'a.yaml', text: 'kind: [' }];
    expect(await store.reload()).toBe(false);
    expect(store.current().generation).toBe(2);
  });

  test('calls are served one after the other', async () => {
    const source = fixture(policy('one', '/a'));
    let under = 0;
    const read = source.read.bind(source);
    source.read = async () => {
      expect(++under).toBe(1);
      const files = await read();
      await new Promise((resolve) => setImmediate(resolve));
      under -= 1;
      return files;
    };
    const store = await open(source);
    source.change(policy('two', '/a'));
    expect(await Promise.all([store.reload(), store.reload(), store.reload()])).toEqual([false, false, false]);
    expect(store.current().generation).toBe(2);
  });
});

test('a closed store keeps its last snapshot and hears no more', async () => {
  const source = fixture(policy('one', '/a'));
  const store = await open(source);
  source.change(policy('two', '/a'), 0);
  await store.close();
  expect(source.isWatched).toBe(false);
  source.quiet = Infinity;
  await vi.advanceTimersByTimeAsync(5000);
  await settle();
  expect(await store.reload()).toBe(false);
  expect(store.current().generation).toBe(1);
});
