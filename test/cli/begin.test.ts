import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { createMesh, type Mesh } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';
import { runEnmesh } from '../support/command-line.js';

const root = mkdtempSync(join(tmpdir(), 'enmesh-begin-'));
afterAll(() => rmSync(root, { recursive: true }));

let home = '';
beforeEach(() => {
  home = mkdtempSync(join(root, 'service-'));
});

const read = (path: string): string => readFileSync(join(home, path), 'utf8');
function write(path: string, text: string): void {
  mkdirSync(join(home, path, '..'), { recursive: true });
  writeFileSync(join(home, path), text);
}

const deployment = (name: string, labels: string, account = ''): string =>
  `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ${name}, namespace: shop}\nspec:\n  template:\n    metadata: {labels: ${labels}}\n    spec: {${account}}\n`;

/** A GET of / as policies see it, by a caller of the mesh. */
function requestBy(serviceAccount: string): Parameters<Mesh['evaluate']>[0] {
  const principal = `cluster.local/ns/default/sa/${serviceAccount}`;
  const uri = `spiffe://${principal}`;
  const spiffeId = { uri, trustDomain: 'cluster.local', path: `/ns/default/sa/${serviceAccount}` };
  const certificate = { certificateSha256: '', subject: '', dnsNames: [], notAfter: Infinity };
  const peer = { spiffeId, uri, principal, trustDomain: 'cluster.local', namespace: 'default', serviceAccount, ...certificate };
  const addresses = { sourceIp: '127.0.0.1', remoteIp: '127.0.0.1', destinationIp: '127.0.0.1', destinationPort: 8080 };
  const path = { path: '/', pathSpellings: [], pathIgnoresCase: false };
  return { method: 'GET', host: 'cart', sni: '', peer, user: undefined, header: () => undefined, ...path, ...addresses };
}

describe('enmesh init', () => {
  it.each([
    [
      '{"name": "@acme/Cart_API"}',
      'node',
      'cart-api',
      'mesh.createServer((req, res) =>',
      "const { createMesh } = require('@enmesh/core');",
    ],
    [
      '{"name": "cart", "type": "module", "dependencies": {"express": "4"}}',
      'express',
      'cart',
      'await listen(mesh, app, 8080)',
      "import { enmesh, listen } from '@enmesh/express';",
    ],
    [
      '{"name": "cart", "dependencies": {"fastify": "5"}}',
      'fastify',
      'cart',
      'serverFactory(mesh)',
      "= require('@enmesh/fastify');",
    ],
    ['not JSON', 'node', '', 'createServer', 'require'],
  ])('finds in %s framework %s and prints its lines', async (manifest, framework, name, ...lines) => {
    write('package.json', manifest);
    const { code, out } = await runEnmesh(['init'], { cwd: home });
    expect(code).toBe(0);
    for (const line of lines) expect(out).toContain(line);
    expect(out).toContain(
      framework === 'node' ? 'npm install @enmesh/core\n' : `npm install @enmesh/core @enmesh/${framework}\n`,
    );
    if (name !== '') expect(read('enmesh.yaml')).toContain(`serviceAccount: ${name}\n`);
  });

  it('takes namespace, service account and labels from the Deployment of its name', async () => {
    write('package.json', '{"name": "cart"}');
    write(
      'k8s/all.yaml',
      `${deployment('other', '{app: other}')}---\n${deployment('cart', '{app: cart, version: v2}', 'serviceAccountName: cart-sa')}`,
    );
    await runEnmesh(['init'], { cwd: home });
    expect(read('enmesh.yaml')).toContain('namespace: shop\nserviceAccount: cart-sa\nlabels:\n  app: cart\n  version: v2\n');
    expect(read('mesh/authorization-policy.yaml')).not.toContain('version');
  });

  it('says that it guesses where manifests do not tell', async () => {
    write('package.json', '{"name": "cart"}');
    write('k8s/all.yaml', `${deployment('a', '{app: a}')}---\n${deployment('b', '{app: b}')}---\n{{ template }}\n`);
    const { out } = await runEnmesh(['init', '--json'], { cwd: home });
    expect((JSON.parse(out) as { found: unknown }).found).toMatchObject({
      namespace: 'default',
      serviceAccount: 'cart',
      labels: { app: 'cart' },
    });
    expect(read('enmesh.yaml')).toContain('check them');
  });

  it('changes no file that exists, and leaves a mesh/ that is in use alone', async () => {
    write('enmesh.yaml', 'namespace: mine\n');
    write('mesh/own.yaml', '# mine\n');
    const { code, out } = await runEnmesh(['init', '--json'], { cwd: home });
    expect([code, (JSON.parse(out) as { written: string[] }).written]).toEqual([0, []]);
    expect([read('enmesh.yaml'), read('mesh/own.yaml')]).toEqual(['namespace: mine\n', '# mine\n']);
    expect((await runEnmesh(['init', 'nowhere'], { cwd: home })).code).toBe(2);
  });

  it('opens nothing: the mesh that it writes denies every request, and takes mutual TLS only', async () => {
    write('package.json', '{"name": "cart"}');
    await runEnmesh(['init'], { cwd: home });
    expect((await runEnmesh(['validate', '--strict', 'mesh', 'enmesh.yaml'], { cwd: home })).code).toBe(0);
    const authority = await createTestAuthority();
    const identity = await authority.identity({ namespace: 'default', serviceAccount: 'cart' });
    const mesh = await createMesh({ file: join(home, 'enmesh.yaml'), identity, log: false, env: {} });
    try {
      const { out } = await runEnmesh(['validate', '--json', 'mesh'], { cwd: home });
      expect((JSON.parse(out) as { warnings: unknown[] }).warnings).toEqual([]);
      const server = mesh.createServer((_, res) => res.end('reached'));
      await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
      const { port } = server.address() as { port: number };
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
      expect(mesh.evaluate(requestBy('cart')).allowed).toBe(false);
      server.close();
    } finally {
      await mesh.close();
    }
  });

  it('writes examples that are valid once the comment signs are gone', async () => {
    write('package.json', '{"name": "cart"}');
    await runEnmesh(['init'], { cwd: home });
    for (const file of ['authorization-policy', 'request-authentication', 'services']) {
      const lines = read(`mesh/${file}.yaml`).split('\n');
      const open = lines.filter((line) => !/^# (Nobody|Then|Whose|With|The services|Kubernetes)|^#$/.test(line));
      write(`open/${file}.yaml`, open.map((line) => line.replace(/^# /, '')).join('\n'));
    }
    const { code, out } = await runEnmesh(['validate', 'open'], { cwd: home });
    expect([code, out]).toEqual([0, '0 errors, 0 warnings in 3 files\n']);
  });
});

describe('enmesh convert', () => {
  const legacy =
    'apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: default, namespace: shop}\nspec: {peers: [{mtls: {}}]}\n';

  it('reads directories and standard input, and writes YAML that is valid and passes itself by', async () => {
    write('legacy/a.yaml', legacy);
    write('legacy/b.txt', 'not read');
    const fromDirectory = await runEnmesh(['convert', 'legacy', '-'], { cwd: home, input: legacy.replaceAll('shop', 'web') });
    expect(fromDirectory.code).toBe(0);
    expect((await runEnmesh(['validate', '-'], { input: fromDirectory.out })).out).toBe('0 errors, 0 warnings in 1 file\n');
    expect(fromDirectory.out).toContain('# From Policy shop/default (legacy/a.yaml:1).');
    expect((await runEnmesh(['convert', '-'], { input: fromDirectory.out })).error).toContain(
      '0 converted into 0, 0 refused, 2 left out',
    );
  });

  it('ends with 1 when anything is refused or unreadable, and converts the rest', async () => {
    const input = `${legacy}---\n${legacy.replace('default', 'other')}---\na: [\n---\n- 1\n---\n${legacy.replace('apiVersion', 'nothing')}`;
    const { code, out } = await runEnmesh(['convert', '--json', '-'], { input });
    const { converted, refused } = JSON.parse(out) as { converted: unknown[]; refused: { reason: string }[] };
    expect([code, converted.length]).toEqual([1, 1]);
    expect(refused.map(({ reason }) => reason)).toEqual([
      'it is not YAML',
      'it is no Kubernetes object',
      'it has no apiVersion and kind',
      'a policy without targets was taken only under the name default; this one had no effect',
    ]);
  });

  it('overwrites nothing', async () => {
    write('out.yaml', 'mine\n');
    const { code, error } = await runEnmesh(['convert', '-', '-o', 'out.yaml'], { cwd: home, input: legacy });
    expect([code, read('out.yaml')]).toEqual([2, 'mine\n']);
    expect(error).toContain('out.yaml exists and is not overwritten');
  });

  it.each([
    ['a thousand levels', `a: ${'['.repeat(100_000)}`],
    [
      'a bomb of aliases',
      `a: &a [x, x]\n${Array.from({ length: 30 }, (_, at) => `b${at}: &b${at} [*${at === 0 ? 'a' : `b${at - 1}`}, *${at === 0 ? 'a' : `b${at - 1}`}]`).join('\n')}`,
    ],
    [
      'a key __proto__',
      'apiVersion: rbac.istio.io/v1alpha1\nkind: ServiceRole\nmetadata: {name: a}\nspec: {__proto__: {rules: []}}',
    ],
  ])('ends with 1 on %s', async (_, input) => {
    const { code, error } = await runEnmesh(['convert', '-'], { input });
    expect(code).toBe(1);
    expect(error).not.toMatch(/\n {4}at /);
  });
});

describe('enmesh', () => {
  it('shows examples in --help of every command, and says its version', async () => {
    const { code, out } = await runEnmesh(['--help']);
    expect(code).toBe(0);
    const names = [...out.matchAll(/^ {2}([a-z]+) (?:\[|<| )/gm)].map((match) => match[1]!).filter((name) => name !== 'help');
    expect(names).toEqual(expect.arrayContaining(['init', 'validate', 'convert', 'token', 'jwks', 'completion']));
    for (const name of names) expect([name, (await runEnmesh([name, '--help'])).out.includes('Examples:')]).toEqual([name, true]);
    expect((await runEnmesh(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('suggests the command that was probably meant, and ends with 2', async () => {
    const { code, error } = await runEnmesh(['valdate']);
    expect([code, error.includes('Did you mean validate?')]).toEqual([2, true]);
  });
});
