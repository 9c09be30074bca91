import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMesh, type Mesh, type RequestEnmesh } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { runEnmesh } from '../support/command-line.js';
import { heard, until } from '../support/waiting.js';
import { peerAuthentication, serviceEntry } from '../support/documents.js';

/** What the door adds to a request. */
type Judged = IncomingMessage & { readonly enmesh: RequestEnmesh };

const bin = resolve(import.meta.dirname, '../../packages/enmesh/dist/bin.js');
const gatewayUri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const idp = await createTestIssuer();

const policies = `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: product, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}]
`;

let work = '';
let ca: ChildProcess;
let caAddress = '';
let caErrors = '';
const meshes: Mesh[] = [];
const enmesh = async (...args: readonly string[]): Promise<string> => {
  const { code, out, error } = await runEnmesh(['ca', ...args], { cwd: work });
  if (code !== 0) throw new Error(`enmesh ca ${args[0]} ended with ${code}: ${error}`);
  return out;
};

/** `enmesh ca run` in a process of its own, ready. */
async function startCa(): Promise<void> {
  ca = spawn(process.execPath, [bin, 'ca', 'run', '--json', '--listen', caAddress === '' ? '127.0.0.1:0' : caAddress], {
    cwd: work,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  ca.stderr?.on('data', (chunk: Buffer) => (caErrors += chunk.toString()));
  const [line] = await heard<[Buffer]>(ca.stdout!, 'data');
  caAddress = (JSON.parse(line.toString()) as { address: string }).address;
}
async function stopCa(): Promise<number | null> {
  const ended = once(ca, 'exit');
  ca.kill('SIGTERM');
  const [code] = (await ended) as [number | null];
  return code;
}

async function joinMesh(serviceAccount: string, config: string, tokenFile: string): Promise<Mesh> {
  const rootCert = join(work, 'roots.pem');
  const istio = {
    address: caAddress,
    serverName: 'localhost',
    rootCert,
    tokenFile,
    // The life left at a renewal is what a restart of the authority has: a machine that is very busy takes 2.5 s for one.
    ttlSeconds: 8,
    keyType: 'ecdsa-p256' as const,
  };
  const mesh = await createMesh({
    namespace: 'shop',
    serviceAccount,
    labels: { app: serviceAccount },
    config,
    identity: { istio },
    log: false,
    env: {},
  });
  meshes.push(mesh);
  return mesh;
}
const issuedTo = (uri: string): { serial: string; method: string; notAfter: string }[] =>
  readFileSync(join(work, 'ca/issued.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { serial: string; method: string; notAfter: string; identity: string })
    .filter(({ identity }) => identity === uri);

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'enmesh-ca-mesh-'));
  await enmesh('init');
  const settings = readFileSync(join(work, 'ca/ca.yaml'), 'utf8');
  const mapping = `{subject: product-vm, namespace: shop, serviceAccount: product}`;
  writeFileSync(join(work, 'keys.json'), idp.jwksText);
  writeFileSync(
    join(work, 'ca/ca.yaml'),
    `${settings}jwt: [{issuer: "${idp.issuer}", audiences: [enmesh-ca], jwksFile: ../keys.json, identities: [${mapping}]}]\n`,
  );
  copyFileSync(join(work, 'ca/trust-bundle.pem'), join(work, 'roots.pem'));
  await startCa();
});
afterAll(async () => {
  await Promise.all(meshes.map((mesh) => mesh.close()));
  if (ca.exitCode === null) await stopCa();
  rmSync(work, { recursive: true, force: true });
});

describe('two services with identities of enmesh ca', () => {
  let client: Mesh;
  let failed = 0;
  let good = 0;
  const call = async (): Promise<string> => {
    const response = await client.fetch('http://product.shop.svc.cluster.local/');
    return `${response.status} ${await response.text()}`;
  };

  it('talk mutual TLS: one by a join token, one by a token of its identity provider', async () => {
    await enmesh('token', '-n', 'shop', '-s', 'gateway', '--out', 'gateway.token');
    writeFileSync(join(work, 'product.token'), await idp.sign({ sub: 'product-vm', aud: 'enmesh-ca' }));
    for (const name of ['product', 'gateway']) mkdirSync(join(work, name));
    writeFileSync(join(work, 'product/policies.yaml'), policies);
    const server = await joinMesh('product', join(work, 'product'), join(work, 'product.token'));
    const listening = server.createServer((request, response) => response.end((request as Judged).enmesh.peer?.uri));
    await new Promise<void>((done) => listening.listen(0, '127.0.0.1', done));
    writeFileSync(
      join(work, 'gateway/product.yaml'),
      serviceEntry({
        name: 'product',
        port: (listening.address() as AddressInfo).port,
        subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/product'],
      }),
    );
    client = await joinMesh('gateway', join(work, 'gateway'), join(work, 'gateway.token'));
    await Promise.all([server.ready(), client.ready()]);
    expect(await call()).toBe(`200 ${gatewayUri}`);
    expect(issuedTo(gatewayUri)).toMatchObject([{ method: 'join-token' }]);
    expect(issuedTo('spiffe://cluster.local/ns/shop/sa/product')).toMatchObject([{ method: 'jwt' }]);
  });

  it('renew by themselves, the one with the used join token by its certificate', async () => {
    await expect.poll(() => issuedTo(gatewayUri).length).toBeGreaterThan(1);
    expect(issuedTo(gatewayUri)[1]).toMatchObject({ method: 'certificate' });
    // The used token is shown to nobody again.
    expect(caErrors).not.toContain('certificate-refused');
    expect(await call()).toBe(`200 ${gatewayUri}`);
  });

  it('have no failed request while the root is rotated and the authority is restarted', { timeout: 120_000 }, async () => {
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        const answer = await call().catch((error: unknown) => String(error));
        if (answer === `200 ${gatewayUri}`) good++;
        else failed++;
        await new Promise((done) => setTimeout(done, 10));
      }
    })();
    const step = async (name: string): Promise<void> => {
      // As early as it is safe: when the certificates of before the last step have ended.
      await expect
        .poll(async () => (await runEnmesh(['ca', 'rotate-root', name], { cwd: work })).code, { interval: 300 })
        .toBe(0);
      copyFileSync(join(work, 'ca/trust-bundle.pem'), join(work, 'roots.pem'));
    };
    const before = readFileSync(join(work, 'roots.pem'), 'utf8');
    await step('prepare');
    await step('activate');
    expect(await stopCa()).toBe(0);
    await startCa();
    await step('retire');
    const renewals = issuedTo(gatewayUri).length;
    await expect.poll(() => issuedTo(gatewayUri).length).toBeGreaterThan(renewals + 1);
    isOver = true;
    await load;
    expect(readFileSync(join(work, 'roots.pem'), 'utf8')).not.toContain(before);
    console.log(
      `root rotation and restart of the CA: ${good} requests, ${failed} failed, ${issuedTo(gatewayUri).length} certificates`,
    );
    expect(failed).toBe(0);
    expect(good).toBeGreaterThan(100);
  });

  it('see the authority end with exit code 0 at SIGTERM, having told no secret', async () => {
    expect(await stopCa()).toBe(0);
    const secret = readFileSync(join(work, 'gateway.token'), 'utf8').trim();
    const told = caErrors + readFileSync(join(work, 'ca/issued.jsonl'), 'utf8');
    expect(told).toContain('certificate-issued');
    for (const text of [
      secret,
      secret.slice('enmesh-join.'.length),
      'PRIVATE',
      'BEGIN',
      readFileSync(join(work, 'product.token'), 'utf8'),
    ])
      expect(told).not.toContain(text);
  });

  it('come back after the authority was away for longer than their certificates lived, the one with the used join token by renewExpiredWithin', async () => {
    const ended = Math.max(...issuedTo(gatewayUri).map(({ notAfter }) => Date.parse(notAfter)));
    await until(() => Date.now() > ended, 'the end of the last certificate');
    await expect(call()).rejects.toThrow();
    const settings = join(work, 'ca/ca.yaml');
    writeFileSync(settings, `${readFileSync(settings, 'utf8')}renewExpiredWithin: 1d\n`);
    await startCa();
    await until(async () => (await call().catch(String)) === `200 ${gatewayUri}`, 'both services are back');
    const late = issuedTo(gatewayUri).filter(({ method }) => method === 'expired-certificate');
    expect(late).toHaveLength(1);
  });
});
