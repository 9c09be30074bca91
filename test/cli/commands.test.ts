import { mkdtempSync, rmSync, writeFileSync, cpSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createMesh, type Mesh } from '@enmesh/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runEnmesh } from '../support/command-line.js';

const cwd = resolve(import.meta.dirname, 'shop');
const product = ['--workload', 'product/enmesh.yaml'];
const gateway = ['--as', 'spiffe://cluster.local/ns/shop/sa/gateway'];
const json = async (args: readonly string[]): Promise<{ code: number | null; value: Record<string, never> }> => {
  const { code, out, error } = await runEnmesh([...args, '--json'], { cwd });
  expect(error).toBe('');
  return { code, value: JSON.parse(out) as Record<string, never> };
};

describe('enmesh evaluate', () => {
  it.each([
    [
      'a flag for each part',
      ['-X', 'GET', '--path', '/items/7', '--host', 'product.shop', ...gateway],
      0,
      { outcome: 'allowed', policy: 'shop/product', rule: 0 },
    ],
    ['a URL', ['http://product.shop/items', ...gateway], 0, { outcome: 'allowed' }],
    ['a curl line', ['--curl', "curl -s -X GET -H 'x-a: b' http://product.shop/items", ...gateway], 0, { outcome: 'allowed' }],
    [
      'a curl line that sends data',
      ['--curl', "curl http://product.shop/items -d '{}'", ...gateway],
      1,
      { outcome: 'denied', status: 403 },
    ],
    ['plaintext', ['http://product.shop/items'], 1, { outcome: 'closed' }],
    [
      'a caller as policies write it',
      ['http://product.shop/items', '--as', 'cluster.local/ns/shop/sa/gateway'],
      0,
      { outcome: 'allowed' },
    ],
    ['another port', ['http://product.shop/metrics', '--port', '9090'], 0, { outcome: 'allowed', rule: 2 }],
    [
      'a user with a claim',
      ['-X', 'DELETE', ...gateway, '--user', 'https://idp.example/alice', '--claims', '{"groups":["admin"]}'],
      0,
      { rule: 1 },
    ],
    ['a user without it', ['-X', 'DELETE', ...gateway, '--user', 'https://idp.example/alice'], 1, { status: 403 }],
    [
      'a token whose keys nobody gave',
      ['http://product.shop/items', ...gateway, '--token', 'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.AAAA'],
      1,
      { status: 401 },
    ],
  ])('decides %s', async (_, args, code, verdict) => {
    const told = await json(['evaluate', ...product, ...args]);
    expect(told.code).toBe(code);
    expect(told.value['verdict']).toMatchObject(verdict);
  });

  it.each([
    ['no workload', ['evaluate', '/x'], 'which workload'],
    ['a file that does not exist', ['evaluate', '--workload', 'none.yaml'], 'none.yaml does not exist'],
    ['a directory that does not exist', ['evaluate', ...product, '--config', 'none'], 'none'],
    [
      'a caller without its namespace',
      ['evaluate', ...product, '--as', 'gateway'],
      'write spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT',
    ],
    ['a header that is none', ['evaluate', ...product, '-H', 'x'], 'no header line'],
    ['a port that is none', ['evaluate', ...product, '--port', '0'], 'no port'],
    ['claims that are no object', ['evaluate', ...product, '--user', 'a/b', '--claims', '[]'], 'no JSON object'],
    ['a user without an issuer', ['evaluate', ...product, '--user', 'alice'], '<issuer>/<subject>'],
    ['an unknown curl option', ['evaluate', ...product, '--curl', 'curl --proxy a http://b'], '--proxy'],
    ['an open quote', ['evaluate', ...product, '--curl', "curl -H 'a http://b"], 'not closed'],
    ['a decision without an address', ['explain', '--running', 'nowhere', 'ab'], 'no address'],
    ['an address where nobody listens', ['describe', '--running', '127.0.0.1:1'], 'no admin listener'],
    ['no decision id', ['explain', '--running', '15000', 'http://a'], 'which decision'],
    ['a directory that is no configuration', ['test', 'none'], 'none'],
  ])('calls %s misuse', async (_, args, sentence) => {
    const { code, error } = await runEnmesh(args, { cwd });
    expect(error).toContain(sentence);
    expect(code).toBe(2);
  });

  it('names every error of a configuration that is not valid', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-cli-'));
    writeFileSync(
      join(directory, 'a.yaml'),
      'apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: b}\nspec: {mtls: {mode: NO}, x: 1}\n',
    );
    const { code, error } = await runEnmesh(['evaluate', ...product, '--config', directory], { cwd });
    rmSync(directory, { recursive: true });
    expect(code).toBe(2);
    expect(error.match(/a\.yaml:4:\d+/g)).toHaveLength(2);
  });
});

describe('enmesh explain', () => {
  it('names the fields that an ALLOW rule wants otherwise', async () => {
    const { code, value } = await json([
      'explain',
      ...product,
      'http://product.shop/items',
      '--as',
      'spiffe://cluster.local/ns/shop/sa/visitor',
    ]);
    const { near } = value['explanation'] as unknown as { near: { policy: string; rule: number; failed: { path: string }[] }[] };
    expect(code).toBe(1);
    expect(near[0]).toMatchObject({
      policy: 'shop/product',
      rule: 0,
      failed: [{ path: 'spec.rules[0].from[0].source.principals' }],
    });
  });

  it('says nothing of near misses where a request is allowed', async () => {
    const { code, value } = await json(['explain', ...product, 'http://product.shop/items', ...gateway]);
    expect([code, 'explanation' in value]).toEqual([0, false]);
  });
});

describe('enmesh test', () => {
  let directory = '';
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'enmesh-cli-'));
    cpSync(cwd, directory, { recursive: true });
  });
  afterAll(() => rmSync(directory, { recursive: true }));
  const run = async (text: string): Promise<Awaited<ReturnType<typeof runEnmesh>>> => {
    writeFileSync(join(directory, 'mesh/enmesh/product.test.yaml'), text);
    return runEnmesh(['test', 'mesh', '--json'], { cwd: directory });
  };

  it('passes what is as expected and names the rules that decided nothing', async () => {
    const { code, value } = await json(['test', 'mesh']);
    expect(code).toBe(0);
    expect(value).toMatchObject({
      passed: 5,
      failed: 0,
      rules: 4,
      undecided: [{ policy: 'shop/product', rule: 2, source: { file: 'product.yaml' } }],
    });
    expect((await runEnmesh(['test', 'mesh', '--coverage'], { cwd })).code).toBe(1);
  });

  it('fails a case that becomes of otherwise, with what differs', async () => {
    const { code, out } = await run(
      'workload: ../../product/enmesh.yaml\ncases:\n- request: GET /items\n  expect: {outcome: allowed, policy: shop/product, reason: none of it}\n',
    );
    const { cases } = JSON.parse(out) as { cases: { line: number; failures: string[] }[] };
    expect(code).toBe(1);
    expect(cases[0]?.line).toBe(3);
    expect(cases[0]?.failures).toEqual([
      'outcome is closed, wants allowed',
      'policy is none, wants shop/product',
      'reason is "the port is STRICT and the client spoke plaintext", wants "none of it"',
    ]);
  });

  it('asks the workload of the nearest enmesh.yaml where the file names none', async () => {
    const near = join(directory, 'enmesh.yaml');
    writeFileSync(near, 'namespace: shop\nserviceAccount: product\nlabels: {app: product}\n');
    const { code, out } = await run('cases:\n- request: GET /items\n  expect: closed\n');
    rmSync(near);
    expect(out).toContain('passed');
    expect(code).toBe(0);
  });

  it('does not take a policy for cases because its file is named like them', async () => {
    const policy =
      'apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: all, namespace: shop}\nspec: {action: DENY, rules: [{}]}\n';
    writeFileSync(join(directory, 'mesh/deny.test.yaml'), policy);
    const { out } = await runEnmesh(['evaluate', ...product, 'http://product.shop/items', ...gateway, '--json'], {
      cwd: directory,
    });
    rmSync(join(directory, 'mesh/deny.test.yaml'));
    expect(JSON.parse(out)).toMatchObject({ verdict: { status: 403, policy: 'shop/all' }, source: 'mesh/deny.test.yaml:4' });
  });

  it.each([
    [
      'an unknown field',
      'workload: {namespace: a}\ncases:\n- request: GET /\n  expects: allowed\n',
      ':4: cases[0] has no field "expects"',
    ],
    [
      'an unknown outcome',
      'workload: {namespace: a}\ncases:\n- request: GET /\n  expect: allow\n',
      ':4: cases[0].expect is none of allowed',
    ],
    ['no expectation', 'workload: {namespace: a}\ncases:\n- request: GET /\n', ':3: cases[0].expect is no map'],
    ['no workload', 'cases:\n- request: GET /\n  expect: allowed\n', 'names no workload and there is no enmesh.yaml near it'],
    [
      'a request that is none',
      'workload: {namespace: a}\ncases:\n- request: items\n  expect: allowed\n',
      ':3: cases[0].request is no request',
    ],
    ['no cases', 'workload: {namespace: a}\ncases: []\n', 'is no list of cases'],
  ])('calls %s misuse, by file and line', async (_, text, sentence) => {
    const { code, error } = await run(text);
    expect(error).toContain(sentence);
    expect(code).toBe(2);
  });
});

describe('a running process', () => {
  const meshes: Mesh[] = [];
  afterEach(async () => {
    for (const mesh of meshes.splice(0)) await mesh.close();
  });

  it('is described, and its denials are explained by their id', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-cli-'));
    const mesh = await createMesh({
      namespace: 'shop',
      serviceAccount: 'product',
      labels: { app: 'product' },
      config: join(cwd, 'mesh'),
      identity: { dev: { directory, allowAnywhere: true } },
      adminPort: 0,
      log: false,
      env: {},
    });
    meshes.push(mesh);
    const server = mesh.createServer((_, response) => void response.end(), { workloadPort: 9090 });
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/items/draft-1?secret=1`, {
      headers: { authorization: 'Basic c2VjcmV0' },
    });
    const id = answer.headers.get('x-enmesh-decision') ?? '';
    const address = `127.0.0.1:${mesh.adminPort}`;

    const described = await json(['describe', '--running', address]);
    expect(described.value).toMatchObject({ workload: { namespace: 'shop', serviceAccount: 'product' }, access: 'listed' });
    const told = await json(['explain', '--running', address, id]);
    expect(told.value).toMatchObject({
      id,
      status: 403,
      policy: 'shop/no-drafts',
      rule: 0,
      method: 'GET',
      path: '/items/draft-1',
    });
    expect(JSON.stringify(told.value)).not.toContain('secret');
    expect((await json(['explain', '--running', address, 'abc123'])).value).toEqual({ error: 'unknown' });
    rmSync(directory, { recursive: true });
  });

  it('is told from something else that answers', async () => {
    const server = createServer((_, response) => void response.end('hello'));
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    const { error, code } = await runEnmesh(['describe', '--running', String((server.address() as AddressInfo).port)]);
    server.close();
    expect([code, error]).toEqual([2, expect.stringContaining('is no admin listener of enmesh')]);
  });
});
