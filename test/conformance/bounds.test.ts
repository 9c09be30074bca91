import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { compileSnapshot, validateDocuments } from '@enmesh/core/config';
import { createEvaluator } from '@enmesh/core/inbound';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Resource } from '../../packages/core/src/identity/workload.js';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import type { AuthorizationPolicySpec } from '../../packages/core/src/policy/resource.js';
import { bareRouter, expressRouter, fastifyRouter, pathSpellings } from '../../packages/core/src/request/router.js';
import { hardConnection, hardDocuments, hardDoorCases } from '../support/hard-door-requests.js';
import { hardCases, specsOf } from '../support/hard-requests.js';
import { createHouse, open, sendRaw, type House } from '../support/house.js';
import { attributesOfProbe } from '../support/rbac-probes.js';

const head = 'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n';
const many = (count: number, make: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => make(index)).join('');
const bomb = many(
  9,
  (index) =>
    `${'abcdefghi'[index]}: &${'abcdefghi'[index]} [${many(9, () => (index === 0 ? 'x,' : `*${'abcdefghi'[index - 1]},`))}]\n`,
);

/** Files that cost more than they look, each with the code that refuses it. */
const files: Readonly<Record<string, readonly [code: string, text: () => string | Buffer]>> = {
  'a YAML bomb': ['ENMESH_CONFIG_LIMIT', () => bomb],
  'a long string repeated by aliases': [
    'ENMESH_CONFIG_LIMIT',
    () => `a: &a "${'x'.repeat(50_000)}"\nb: [${many(20_000, () => '*a,')}]\n`,
  ],
  'a file of 100 MB': ['ENMESH_CONFIG_TOO_BIG', () => Buffer.alloc(100 * 1024 * 1024, '# a comment that goes on\n')],
  '1 000 nested lists': ['ENMESH_CONFIG_LIMIT', () => `${head}  rules: ${'['.repeat(1000)}${']'.repeat(1000)}\n`],
  '1 000 nested maps': ['ENMESH_CONFIG_LIMIT', () => many(1000, (index) => `${' '.repeat(index)}a:\n`)],
  '8 MiB of opening brackets': ['ENMESH_CONFIG_LIMIT', () => '['.repeat(8 * 1024 * 1024 - 8)],
  '100 000 empty rules': ['ENMESH_CONFIG_LIMIT', () => `${head}  rules: [${'{},'.repeat(100_000)}]\n`],
  '100 000 rules of one policy': [
    'ENMESH_CONFIG_LIMIT',
    () => `${head}  rules:\n${many(100_000, (index) => `  - to: [{operation: {paths: ["/${index}"]}}]\n`)}`,
  ],
  '100 000 rules of 1 000 policies': [
    'ENMESH_CONFIG_LIMIT',
    () =>
      many(
        1000,
        (index) =>
          `---\n${head.replace(': p,', `: p${index},`)}  rules:\n${'  - when: [{key: source.ip, values: [10.0.0.1]}]\n'.repeat(100)}`,
      ),
  ],
  'text that is not UTF-8': [
    'ENMESH_CONFIG_NOT_UTF8',
    () => Buffer.concat([Buffer.from(`${head}  # `), Buffer.from([0xe9, 0xff, 0x0a])]),
  ],
  'text in UTF-16': ['ENMESH_CONFIG_NOT_UTF8', () => Buffer.from(`\ufeff${head}`, 'utf16le')],
  'a key that stands twice': ['ENMESH_CONFIG_SYNTAX', () => `${head}  action: ALLOW\n  action: DENY\n  rules: [{}]\n`],
  'an alias to an anchor of another document': [
    'ENMESH_CONFIG_SYNTAX',
    () => `${head}  rules: &r [{}]\n---\n${head}  rules: *r\n`,
  ],
};

interface Loaded {
  readonly accepted: boolean;
  readonly code: string;
  readonly message: string;
  readonly ms: number;
  readonly mib: number;
}

describe('a configuration file that costs more than it looks', () => {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bounds-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each(Object.keys(files))('is refused with a sentence, in time and memory: %s', (name) => {
    const [code, text] = files[name] ?? ['', () => ''];
    writeFileSync(join(directory, 'policies.yaml'), text());
    const program = resolve(import.meta.dirname, '../support/bounded-load.mjs');
    const loaded = JSON.parse(execFileSync(process.execPath, [program, directory], { encoding: 'utf8' })) as Loaded;
    console.log(
      `bounds, ${name}: ${loaded.ms} ms, ${loaded.mib} MiB more than before (${loaded.message.replace(directory, 'DIR')})`,
    );
    expect(loaded).toMatchObject({ accepted: false, code });
    expect(loaded.message).toMatch(/^\S+ .*\S$/);
    // Processor time: about a second.
    expect(loaded.ms).toBeLessThan(20_000);
    expect(loaded.mib).toBeLessThan(200);
  });
});

const target = { namespace: 'shop', labels: {} };
const mesh = { trustDomain: 'cluster.local', trustDomainAliases: ['old', 'older'], rootNamespace: 'istio-system' };

function policyOf(spec: AuthorizationPolicySpec): Resource<AuthorizationPolicySpec> {
  const meta = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p', creationTimestamp: 0, labels: {}, annotations: {} };
  return { meta: { ...meta, source: { file: 'p.yaml', line: 1, column: 1 } }, spec };
}

/** What is so far under every bound that no further try is needed, in milliseconds. */
const clearlyUnder = 0.5;

/**
 * CPU time of a run in milliseconds: the least of up to 12 tries. The process's other threads compile and collect while a run goes on, which can only
 * add to it; how much depends on the machine.
 */
function cpuTime(run: () => void): number {
  let least = Infinity;
  for (let turn = 0; turn < 12 && least > clearlyUnder; turn += 1) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

/** A piece of work like that of a decision: texts, a table, an expression. */
function yardstick(): void {
  const counts = new Map<string, number>();
  let text = '';
  for (let i = 0; i < 4_000; i += 1) {
    const key = `k${i % 977}`;
    counts.set(key, (counts.get(key) ?? 0) + i);
    text += key;
    if (/^k\d{3}$/.test(key)) text = text.slice(-1_000);
  }
  expect(counts.size).toBe(977);
}

/** The bound in milliseconds: 5 on a machine that does the yardstick in 0.6, as the one does for which it was set; more where processors are slower. */
const bound = 5 * Math.max(1, cpuTime(yardstick) / 0.6);

/** The slowest first, each name once. */
function tellSlowest(what: string, measured: readonly (readonly [ms: number, name: string])[]): void {
  const worst = new Map<string, number>();
  for (const [ms, name] of measured) worst.set(name, Math.max(worst.get(name) ?? 0, ms));
  const slowest = [...worst].sort(([, a], [, b]) => b - a).slice(0, 5);
  const list = slowest.map(([name, ms]) => `${ms.toFixed(2)} ms ${name}`).join('; ');
  console.log(`bounds, ${what}: ${measured.length} measured, bound ${bound.toFixed(1)} ms, the slowest in CPU time: ${list}`);
}

describe('a decision about a request that is as hard as can be', () => {
  const slowest: [number, string][] = [];

  it.each(hardCases)('takes less than 5 ms: $name', ({ name, rule, request }) => {
    const plain = attributesOfProbe(request);
    for (const router of [undefined, expressRouter, fastifyRouter]) {
      const spelled = router && { pathSpellings: pathSpellings(plain.path, router), pathIgnoresCase: !router.caseSensitive };
      const attributes = { ...plain, ...spelled };
      for (const spec of specsOf(rule)) {
        const set = compilePolicies([policyOf(spec)], target, mesh);
        const ms = cpuTime(() => evaluatePolicies(set, attributes));
        slowest.push([ms, name]);
        expect(evaluatePolicies(set, attributes).reason).not.toBe('evaluation-failed');
        expect(ms).toBeLessThan(bound);
      }
    }
  });

  afterAll(() => tellSlowest('decisions', slowest));
});

describe('a request that is as hard as can be, from its head on', () => {
  const slowest: [number, string][] = [];

  it.each(hardDoorCases)('takes less than 5 ms: $name', ({ name, request }) => {
    for (const normalization of ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES']) {
      const { resources } = validateDocuments([
        { name: 'mesh', text: JSON.stringify({ pathNormalization: { normalization } }), meshConfig: true },
        { name: 'documents', text: hardDocuments },
      ]);
      if (resources === undefined) throw new Error('the documents are refused');
      const workload = { namespace: 'shop', serviceAccount: 'product', labels: {} };
      const snapshot = compileSnapshot(resources, workload, 1);
      for (const router of [bareRouter, expressRouter, fastifyRouter]) {
        const evaluator = createEvaluator({ snapshot, router });
        const ms = cpuTime(() => void evaluator.evaluate(hardConnection, request));
        slowest.push([ms, `${name}, ${normalization}`]);
        expect(ms).toBeLessThan(bound);
      }
    }
  });

  afterAll(() => tellSlowest('requests', slowest));
});

describe('a request whose headers are too many or too long', () => {
  let house: House;
  let port: number;
  let handled = 0;
  beforeAll(async () => {
    house = await createHouse('');
    port = await open(
      house.mesh.createServer((_request, response) => {
        handled += 1;
        response.end('handled');
      }),
    );
  });
  afterAll(() => house.close());

  const request = (lines: string): string => `GET / HTTP/1.1\r\nHost: product.shop\r\nConnection: close\r\n${lines}\r\n`;

  it.each([
    ['2 000 headers', many(2000, (index) => `x${index}: 1\r\n`)],
    ['2 000 lines of one header', 'x: 1\r\n'.repeat(2000)],
    ['a header of 16 KiB', `x: ${'a'.repeat(16 * 1024)}\r\n`],
    ['16 KiB of headers', `x-a: ${'a'.repeat(1000)}\r\n`.repeat(17)],
  ])('gets 431 and reaches no handler: %s', async (_, lines) => {
    handled = 0;
    expect((await sendRaw({ port }, request(lines))).status).toBe(431);
    expect((await sendRaw({ port }, request('x: 1\r\n'.repeat(50)))).status).toBe(200);
    expect(handled).toBe(1);
  });
});
