import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Workload } from '../identity/workload.js';
import { evaluatePolicies } from '../policy/evaluate.js';
import type { RequestAttributes } from '../request/attributes.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createDirectorySource } from './directory.js';
import type { QuietTimes } from './load.js';
import { createConfigStore, type ConfigStore } from './store.js';
import { until } from '../../../../test/support/waiting.js';

const workload: Workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
const never: QuietTimes = { changedMs: 3_600_000, removedMs: 3_600_000 };

const policy = (name: string, action: string, ...paths: string[]): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec:\n  action: ${action}\n  rules:\n` +
  paths.map((path) => `  - to:\n    - operation:\n        paths: ["${path}"]\n`).join('');

const request = (path: string): RequestAttributes => ({
  method: 'GET',
  path,
  pathSpellings: [],
  pathIgnoresCase: false,
  host: 'product.shop.svc.cluster.local',
  sourceIp: '10.0.0.1',
  remoteIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: '',
  peer: undefined,
  user: undefined,
  header: () => undefined,
});

let root: string;
let store: ConfigStore | undefined;
let notices: NoticeEvent[];
let stop: () => void;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'enmesh-reload-'));
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
});
afterEach(async () => {
  stop();
  await store?.close();
  store = undefined;
  rmSync(root, { recursive: true, force: true });
});

const open = async (quiet?: QuietTimes): Promise<ConfigStore> =>
  (store = await createConfigStore({
    source: createDirectorySource({ path: root }),
    workload,
    ...(quiet === undefined ? {} : { quiet }),
  }));
const allows = (path: string): boolean => evaluatePolicies(store!.current().policies, request(path)).allowed;

function writeOld(name: string, text: string): void {
  writeFileSync(join(root, name), text);
  utimesSync(join(root, name), 1000, 1000);
}

const before = `${policy('allow', 'ALLOW', '/products', '/admin')}---\n${policy('guard', 'DENY', '/admin', '/internal')}`;
const after = `${policy('allow', 'ALLOW', '/products', '/admin', '/stock', '/internal')}---\n${policy('guard', 'DENY', '/admin', '/internal', '/secret')}`;
const wrongDecisions = (): string[] =>
  [
    allows('/products') ? '' : '/products is denied',
    allows('/admin') ? '/admin is allowed' : '',
    allows('/internal') ? '/internal is allowed' : '',
    allows('/other') ? '/other is allowed' : '',
  ].filter((wrong) => wrong !== '');

describe('a policy file written in place', () => {
  test('byte by byte in 10 ms steps never opens or closes anything, and is in force in the end', async () => {
    writeOld('policies.yaml', before);
    await open();
    expect(wrongDecisions()).toEqual([]);
    for (let length = 0; length <= after.length; length++) {
      writeFileSync(join(root, 'policies.yaml'), after.slice(0, length));
      await sleep(10);
      expect(wrongDecisions(), `after ${length} bytes`).toEqual([]);
    }
    await until(() => allows('/stock'));
    expect(wrongDecisions()).toEqual([]);
    expect(notices.map((notice) => notice.kind)).toEqual(['config-loaded', 'config-loaded']);
  });

  test('by a writer that rests where the file is valid but says less never opens anything', async () => {
    writeOld('policies.yaml', before);
    await open();
    const rests = [...after.matchAll(/^(?: {2}- to:|---|kind)/gm)].map((match) => match.index);
    expect(rests.length).toBeGreaterThan(5);
    for (const length of rests) {
      writeFileSync(join(root, 'policies.yaml'), after.slice(0, length));
      for (let waited = 0; waited < 400; waited += 20) {
        await sleep(20);
        expect(wrongDecisions(), `after ${length} bytes`).toEqual([]);
      }
    }
    writeFileSync(join(root, 'policies.yaml'), after);
    await until(() => allows('/stock'));
    expect(wrongDecisions()).toEqual([]);
  });

  test('with less in it is obeyed after a while', async () => {
    writeOld('policies.yaml', before);
    await open();
    writeFileSync(join(root, 'policies.yaml'), policy('allow', 'ALLOW', '/products', '/admin'));
    await until(() => allows('/admin'));
  });

  test('with an error is told with its place, and the next good one is obeyed', async () => {
    writeOld('policies.yaml', before);
    await open();
    writeFileSync(join(root, 'policies.yaml'), before.replace('action: DENY', 'action: DENIED'));
    await until(() => notices.some((notice) => notice.kind === 'config-rejected'));
    expect(notices.at(-1)?.message).toMatch(/policies\.yaml:18:\d+ spec\.action: /);
    expect(wrongDecisions()).toEqual([]);
    writeFileSync(join(root, 'policies.yaml'), after);
    await until(() => allows('/stock'));
  });
});

describe('a policy file that comes whole waits for no quiet', () => {
  test('when it is renamed into place, ten times in a row', async () => {
    writeOld('policies.yaml', before);
    await open(never);
    for (let round = 0; round < 10; round++) {
      writeFileSync(join(root, 'policies.yaml.new'), policy('allow', 'ALLOW', `/round/${round}`));
      renameSync(join(root, 'policies.yaml.new'), join(root, 'policies.yaml'));
      await until(() => allows(`/round/${round}`));
    }
  });

  test('when Kubernetes swaps ..data, ten times in a row, also where documents go', async () => {
    const swap = (version: number): void => {
      mkdirSync(join(root, `..${version}`));
      writeFileSync(join(root, `..${version}`, 'a.yaml'), policy('allow', 'ALLOW', `/version/${version}`));
      writeFileSync(join(root, `..${version}`, 'b.yaml'), version % 2 === 0 ? '' : policy('guard', 'DENY', '/admin'));
      symlinkSync(`..${version}`, join(root, '..data_tmp'));
      renameSync(join(root, '..data_tmp'), join(root, '..data'));
      if (version > 0) rmSync(join(root, `..${version - 1}`), { recursive: true });
    };
    swap(0);
    for (const name of ['a.yaml', 'b.yaml']) symlinkSync(`..data/${name}`, join(root, name));
    await open({ changedMs: 60, removedMs: 3_600_000 });
    for (let version = 1; version <= 10; version++) {
      swap(version);
      await until(() => allows(`/version/${version}`));
      expect(store!.current().resources.authorizationPolicies).toHaveLength(version % 2 === 0 ? 1 : 2);
    }
    expect(notices.filter((notice) => notice.kind === 'config-rejected')).toEqual([]);
  });
});

test('a directory that is deleted and made anew keeps the last good policies meanwhile', async () => {
  writeOld('policies.yaml', before);
  await open();
  rmSync(root, { recursive: true });
  await until(() => notices.some((notice) => notice.code === 'ENMESH_CONFIG_DIRECTORY_MISSING'));
  expect(wrongDecisions()).toEqual([]);
  mkdirSync(root);
  await until(() => notices.some((notice) => notice.code === 'ENMESH_CONFIG_DIRECTORY_EMPTY'));
  expect(wrongDecisions()).toEqual([]);
  writeFileSync(join(root, 'policies.yaml'), after);
  await until(() => allows('/stock'));
});

test('a last file that is emptied for good opens nothing', async () => {
  writeOld('policies.yaml', before);
  await open({ changedMs: 20, removedMs: 40 });
  writeFileSync(join(root, 'policies.yaml'), '');
  await until(() => notices.some((notice) => notice.code === 'ENMESH_CONFIG_DIRECTORY_EMPTY'));
  expect(notices.at(-1)?.message).toMatch(/holds no document any more; to run without any, restart the service$/);
  expect(wrongDecisions()).toEqual([]);
  writeFileSync(join(root, 'policies.yaml'), after);
  await until(() => allows('/stock'));
});

test('a file that is deleted takes its policies along after a while', async () => {
  writeOld('policies.yaml', policy('allow', 'ALLOW', '/products', '/admin'));
  writeOld('guard.yaml', policy('guard', 'DENY', '/admin'));
  await open();
  unlinkSync(join(root, 'guard.yaml'));
  await sleep(500);
  expect(allows('/admin')).toBe(false);
  await until(() => allows('/admin'));
});
