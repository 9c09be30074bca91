import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { createValidator, inlineLength, type Validator, type ValidatorOptions } from './off-thread.js';
import { validateDocuments, type ConfigFile } from './validate.js';

const isBuilt = existsSync(createRequire(import.meta.url).resolve('@enmesh/core/config-worker'));
if (!isBuilt) console.log('skip: validation in a worker (packages/core is not built)');

let validator: Validator | undefined;
afterEach(async () => {
  await validator?.close();
  validator = undefined;
});
const create = (o: ValidatorOptions = {}): Validator =>
  (validator = createValidator({ inlineLength: 0, firstInlineLength: 0, ...o }));

const document = (at: number, rules: number): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p${at}, namespace: shop}\nspec:\n  rules:\n` +
  Array.from({ length: rules }, (_, rule) => `  - to: [{operation: {paths: [/p${at}/${rule}], methods: [GET]}}]\n`).join('');
const set = (documents: number, rules: number): ConfigFile[] => [
  { name: 'policies.yaml', text: Array.from({ length: documents }, (_, at) => document(at, rules)).join('---\n') },
  {
    name: 'peers.yaml',
    text: 'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n',
  },
];

describe.skipIf(!isBuilt)('validation in a worker', () => {
  test('gives what validation on the thread gives', async () => {
    const files = set(40, 20);
    const result = await create().validate(files);
    expect(result).toEqual(validateDocuments(files));
    expect(result.resources?.registry.peerAuthentications).toHaveLength(1);
  });

  test('gives the problems of a set that is not good', async () => {
    const files = [...set(1, 1), { name: 'broken.yaml', text: 'kind: [' }];
    expect(await create().validate(files)).toEqual(validateDocuments(files));
  });

  test('takes one set after the other, and starts again after it ended for want of work', async () => {
    const one = create({ idleMs: 1 });
    const results = await Promise.all([set(1, 1), set(2, 1), set(3, 1)].map((files) => one.validate(files)));
    expect(results.map((result) => result.resources?.authorizationPolicies.length)).toEqual([1, 2, 3]);
    await new Promise((settled) => setTimeout(settled, 50));
    expect((await one.validate(set(4, 1))).resources?.authorizationPolicies).toHaveLength(4);
  });

  test('runs nothing of the application in the worker, whatever its flags and environment load', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-worker-'));
    const poison = join(directory, 'poison.mjs');
    writeFileSync(
      poison,
      `import { isMainThread } from 'node:worker_threads';\nif (!isMainThread) throw new Error('loaded in a worker');\n`,
    );
    const before = process.env['NODE_OPTIONS'];
    process.env['NODE_OPTIONS'] = `--import ${poison}`;
    try {
      expect((await create().validate(set(1, 1))).problems).toEqual([]);
    } finally {
      if (before === undefined) delete process.env['NODE_OPTIONS'];
      else process.env['NODE_OPTIONS'] = before;
      rmSync(directory, { recursive: true });
    }
  });
});

describe('a worker that fails', () => {
  const withWorker = async (source: string, o: ValidatorOptions, check: (one: Validator) => Promise<void>): Promise<void> => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-worker-'));
    writeFileSync(join(directory, 'worker.mjs'), source);
    try {
      await check(create({ ...o, workerFile: join(directory, 'worker.mjs') }));
    } finally {
      await validator?.close();
      rmSync(directory, { recursive: true });
    }
  };

  test.each([
    ['throws', 'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => { throw new Error("x"); });'],
    ['exits', 'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => process.exit(3));'],
    ['ends without an answer', ''],
    [
      'answers with nonsense',
      'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => parentPort.postMessage({ type: "part", part: 1 }));',
    ],
  ])('and %s rejects the set', async (_, source) => {
    await withWorker(source, {}, async (one) => {
      await expect(one.validate(set(1, 1))).rejects.toMatchObject({ code: 'ENMESH_CONFIG_WORKER_FAILED' });
    });
  });

  test('and says nothing rejects the set in time, and the next set gets a new worker', async () => {
    await withWorker(
      'import { parentPort } from "node:worker_threads"; parentPort.on("message", () => {});',
      { timeoutMs: 20 },
      async (one) => {
        await expect(one.validate(set(1, 1))).rejects.toMatchObject({ message: expect.stringContaining('20 ms') });
        await expect(one.validate(set(1, 1))).rejects.toMatchObject({ code: 'ENMESH_CONFIG_WORKER_FAILED' });
      },
    );
  });
});

test('small sets need no worker once a first set was good, larger ones do; the first set may be large', async () => {
  const one = createValidator({ workerFile: '/nowhere/worker.js', timeoutMs: 1000 });
  validator = one;
  const large = [{ name: 'a.yaml', text: `${document(1, 1)}${'#'.repeat(inlineLength)}\n` }];
  expect((await one.validate(large)).resources?.authorizationPolicies).toHaveLength(1);
  expect((await one.validate(set(1, 1))).resources?.authorizationPolicies).toHaveLength(1);
  await expect(one.validate(large)).rejects.toMatchObject({ code: 'ENMESH_CONFIG_WORKER_FAILED' });
});

test('where no worker can be started, validation takes the thread and a notice says so', async () => {
  const notices: NoticeEvent[] = [];
  const stop = noticeEvents.subscribe((notice) => notices.push(notice));
  expect(
    (await create({ workerFile: 'relative-and-refused.js' }).validate(set(1, 1))).resources?.authorizationPolicies,
  ).toHaveLength(1);
  stop();
  expect(notices.map((notice) => notice.kind)).toEqual(['config-warning']);
});

test('a closed validator validates nothing', async () => {
  const one = create();
  await one.close();
  await expect(one.validate(set(1, 1))).rejects.toMatchObject({ code: 'ENMESH_CONFIG_WORKER_FAILED' });
});
