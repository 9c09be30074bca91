import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runEnmesh } from '../support/command-line.js';

const provider = (name: string, more: string): string =>
  `- name: ${name}\n  envoyExtAuthzHttp: {service: opa.shop.svc.cluster.local, port: 9191${more}}\n`;
const policy = (name: string, path: string): string =>
  `---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\n` +
  `spec:\n  action: CUSTOM\n  provider: {name: ${name}}\n  rules: [{to: [{operation: {paths: ["${path}"]}}]}]\n`;
const mesh = `extensionProviders:\n${provider('strict', '')}${provider('busy', ', statusOnError: "503"')}${provider('open', ', failOpen: true')}`;

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'enmesh-custom-'));
  writeFileSync(join(cwd, 'enmesh.yaml'), 'namespace: shop\nconfig: mesh\n');
  mkdirSync(join(cwd, 'mesh/enmesh'), { recursive: true });
  writeFileSync(join(cwd, 'mesh/enmesh/mesh.yaml'), mesh);
});
afterAll(() => rmSync(cwd, { recursive: true }));

const given = (...names: string[]): void =>
  writeFileSync(join(cwd, 'mesh/ask.yaml'), names.map((name) => policy(name, '/admin*')).join(''));
const ask = async (command: string, path: string): Promise<{ code: number | null; value: Record<string, unknown> }> => {
  const { code, out } = await runEnmesh([command, `http://product.shop${path}`, '--json'], { cwd });
  return { code, value: JSON.parse(out) as Record<string, unknown> };
};

describe('a CUSTOM policy on the command line, where no authorizer is asked', () => {
  it.each([
    ['strict', 403],
    ['busy', 503],
  ])('denies what it matches with the status for an authorizer that cannot be reached: %s', async (name, status) => {
    given(name);
    for (const command of ['evaluate', 'explain']) {
      const { code, value } = await ask(command, '/admin/users');
      expect(code).toBe(1);
      expect(value).toMatchObject({
        verdict: { outcome: 'denied', status, body: '', policy: `shop/${name}`, rule: 0 },
        refusal: {
          step: 'custom',
          code: 'ENMESH_CUSTOM_CHECK_FAILED',
          reason: expect.stringContaining(`the check of ${name} failed`),
        },
        source: expect.stringMatching(/^mesh\/ask\.yaml:\d+$/),
      });
    }
  });

  it('says so to people, and that nobody was asked', async () => {
    given('strict');
    const { out } = await runEnmesh(['evaluate', 'http://product.shop/admin'], { cwd });
    expect(out).toMatch(/^denied 403\n/);
    expect(out).toContain('authorizers are not asked here');
  });

  it('lets pass what it does not match, and what its provider lets pass when it cannot be reached', async () => {
    given('strict');
    expect(await ask('evaluate', '/items')).toMatchObject({ code: 0, value: { verdict: { outcome: 'allowed' } } });
    given('open');
    expect(await ask('evaluate', '/admin/users')).toMatchObject({ code: 0, value: { verdict: { outcome: 'allowed' } } });
  });

  it('denies what it matches where nobody defines its provider, and validate warns of that with the nearest name', async () => {
    given('stritc');
    expect(await ask('evaluate', '/admin')).toMatchObject({
      code: 1,
      value: { verdict: { status: 403, body: 'RBAC: access denied' }, refusal: { code: 'ENMESH_CUSTOM_PROVIDER' } },
    });
    const { code, out } = await runEnmesh(['validate', 'mesh'], { cwd });
    expect(code).toBe(0);
    expect(out).toMatch(
      /^warning mesh\/ask\.yaml:7:20 spec\.provider\.name: .* has no authorizer "stritc".*did you mean "strict"\?/m,
    );
  });

  it('answers the same in a stream, and does not hold up the cases after it', async () => {
    const lines = [
      {
        world: 'w',
        workload: { namespace: 'shop', serviceAccount: 'product', labels: {}, port: 8080 },
        mesh: {
          extensionProviders: [{ name: 'busy', envoyExtAuthzHttp: { service: 'opa.shop', port: 9191, statusOnError: '503' } }],
        },
        documents: policy('busy', '/admin*'),
      },
      ...['/admin', '/items'].map((target) => ({
        case: target,
        connection: { tls: false, sourceIp: '127.0.0.1', destinationIp: '127.0.0.1', destinationPort: 8080 },
        request: { method: 'GET', target, headers: [['host', 'product.shop']] },
      })),
    ];
    const { out } = await runEnmesh(['evaluate', '--stream'], {
      input: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    });
    const answers = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(answers).toMatchObject([
      { case: '/admin', verdict: { outcome: 'denied', status: 503, policy: 'shop/busy', rule: 0 } },
      { case: '/items', verdict: { outcome: 'allowed' } },
    ]);
  });
});
