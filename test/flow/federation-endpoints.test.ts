import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMesh, noticeEvents, type NoticeEvent, type RequestEnmesh } from '@enmesh/core';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';
import { issueCertificate, rootOptions } from '@enmesh/core/x509';
import { listenOn, replaceable, strict } from '../support/callers.js';
import { untilHolds } from '../support/waiting.js';

const service = join(import.meta.dirname, '../../examples/identity/service.mjs');
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A trust domain that publishes its bundle: what it answers with can be changed. */
interface Partner {
  readonly url: string;
  readonly trustDomain: string;
  authority: TestAuthority;
  /** Publishes the roots of these. */
  publish(...authorities: TestAuthority[]): void;
  /** Answers so instead. */
  answer(status: number, body: string | Buffer): void;
  readonly server: Server;
  roll(): Promise<TestAuthority>;
}

const keyOf = (pem: string): object => {
  const certificate = new X509Certificate(pem);
  return { ...certificate.publicKey.export({ format: 'jwk' }), use: 'x509-svid', x5c: [certificate.raw.toString('base64')] };
};

async function startPartner(trustDomain: string, credentials: { key: string; cert: string } | undefined): Promise<Partner> {
  const authority = await createTestAuthority({ trustDomain });
  let answer: { status: number; body: string | Buffer };
  let sequence = 0;
  const server = createServer(credentials ?? (await bySvid(authority)), (_request, response) => {
    response.writeHead(answer.status).end(answer.body);
  });
  const port = await listenOn(server);
  ends.push(() => (server.closeAllConnections(), server.close()));
  const partner: Partner = {
    ...{ trustDomain, authority, server, url: `https://localhost:${port}/bundle` },
    publish(...authorities) {
      const keys = authorities.map(({ rootPem }) => keyOf(rootPem));
      answer = { status: 200, body: JSON.stringify({ keys, spiffe_sequence: ++sequence, spiffe_refresh_hint: 10 }) };
    },
    answer: (status, body) => void (answer = { status, body }),
    async roll() {
      const next = await createTestAuthority({ trustDomain });
      partner.publish(authority, next);
      return next;
    },
  };
  partner.publish(authority);
  return partner;
}

async function bySvid(authority: TestAuthority): Promise<{ key: string; cert: string }> {
  const { chain, privateKey } = await authority.issueUri(`spiffe://${authority.trustDomain}/spire/server`);
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: chain };
}

/** A certificate authority of the web and what it signed for localhost. */
async function startWeb(): Promise<{ root: string; credentials: { key: string; cert: string } }> {
  const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const times = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const root = await issueCertificate({ ...rootOptions('web.test', key), ...times });
  const leaf = { key, issuer: root, issuerKey: key, isCa: false, keyUsage: ['digitalSignature'] as const, ...times };
  const cert = await issueCertificate({ ...leaf, dnsSans: ['localhost'] });
  return { root, credentials: { key: key.export({ type: 'pkcs8', format: 'pem' }).toString(), cert } };
}

/** What a peer with a certificate of `by` is answered at `port`; `refused` where the handshake or the door ends it. */
async function ask(port: number, by: TestAuthority, ours: TestAuthority, uri?: string): Promise<string> {
  const { chain, privateKey } = await by.issueUri(uri ?? `spiffe://${by.trustDomain}/ns/shop/sa/gateway`);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  return new Promise((done) => {
    const asked = request(
      { port, host: '127.0.0.1', cert: chain, key, ca: ours.rootPem, checkServerIdentity: () => undefined, agent: false },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => done(text.trim()));
      },
    );
    asked.on('error', () => done('refused'));
    asked.end();
  });
}

const greet: RequestListener = (request, response) => {
  response.end(`hello ${(request as unknown as { enmesh: RequestEnmesh }).enmesh.peer?.uri}`);
};

describe('bundle endpoints named in enmesh.yaml, the environment and mesh.yaml', () => {
  let [ours, web] = [undefined as unknown as TestAuthority, undefined as unknown as Awaited<ReturnType<typeof startWeb>>];
  let folder: string;
  beforeEach(async () => {
    [ours, web] = [await createTestAuthority(), await startWeb()];
    folder = mkdtempSync(join(tmpdir(), 'enmesh-endpoints-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'mesh/enmesh'), { recursive: true });
    writeFileSync(join(folder, 'mesh/strict.yaml'), strict);
    writeFileSync(join(folder, 'web.pem'), web.root);
    const svid = await ours.issue({ namespace: 'shop', serviceAccount: 'product' });
    writeFileSync(join(folder, 'cert-chain.pem'), svid.chain);
    writeFileSync(join(folder, 'key.pem'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(folder, 'root-cert.pem'), ours.rootPem);
  });

  const meshYaml = (value: object): void => {
    writeFileSync(join(folder, 'next'), JSON.stringify(value));
    renameSync(join(folder, 'next'), join(folder, 'mesh/enmesh/mesh.yaml'));
  };

  /** The service of the documentation in a process of its own, which trusts the web of this test. */
  async function startService(yaml: object, env: Record<string, string> = {}) {
    writeFileSync(join(folder, 'enmesh.yaml'), JSON.stringify(yaml));
    const child: ChildProcess = spawn(process.execPath, [service], {
      env: {
        ...{ PATH: process.env['PATH'], PORT: '0', ENMESH_FILE: join(folder, 'enmesh.yaml') },
        ...{ NODE_EXTRA_CA_CERTS: join(folder, 'web.pem'), ...env },
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = once(child, 'close');
    ends.push(() => (child.kill(), ended));
    let errors = '';
    child.stderr!.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    const port = await new Promise<number>((done, fail) => {
      child.stdout!.on('data', (chunk: Buffer) => done(Number(/listens on (\d+)/.exec(chunk.toString())?.[1])));
      child.once('close', () => fail(new Error(`ended: ${errors}`)));
    });
    return { port, errors: () => errors };
  }
  const yaml = { namespace: 'shop', serviceAccount: 'product', config: './mesh', identity: { files: { directory: '.' } } };

  it('bring the bundles of partners at the start and through a roll of their roots, each for its own trust domain', async () => {
    const [byWeb, byId, listed] = [
      await startPartner('web.example', web.credentials),
      await startPartner('svid.example', undefined),
      await startPartner('listed.example', web.credentials),
    ];
    const partners = [byWeb, byId, listed];
    // As a partner hands over its first bundle: in SPIFFE's format.
    writeFileSync(join(folder, 'svid.json'), JSON.stringify({ keys: [keyOf(byId.authority.rootPem)] }));
    meshYaml({
      caCertificates: [
        { trustDomains: ['web.example', 'svid.example'] },
        { trustDomains: ['listed.example'], spiffeBundleUrl: listed.url },
      ],
    });
    const federation = [
      { trustDomain: 'web.example', url: byWeb.url },
      {
        ...{ trustDomain: 'svid.example', url: byId.url, profile: 'https_spiffe', roots: 'svid.json' },
        endpointSpiffeId: 'spiffe://svid.example/spire/server',
      },
    ];
    const { port, errors } = await startService({ ...yaml, federation });
    const answers = (authorities: readonly TestAuthority[]): Promise<string[]> =>
      Promise.all(authorities.map((by) => ask(port, by, ours)));
    const names = partners.map(({ trustDomain }) => `hello spiffe://${trustDomain}/ns/shop/sa/gateway`);
    // Ready means that every endpoint was tried: nobody has to wait.
    expect(await answers(partners.map(({ authority }) => authority))).toEqual(names);
    for (const [by, of] of [
      [byWeb, byId],
      [byId, listed],
      [listed, byWeb],
      [listed, { trustDomain: 'cluster.local' }],
    ] as const)
      expect(await ask(port, by.authority, ours, `spiffe://${of.trustDomain}/ns/shop/sa/gateway`)).toBe('refused');
    const next = await Promise.all(partners.map((partner) => partner.roll()));
    expect(await answers(next)).toEqual(['refused', 'refused', 'refused']);
    await untilHolds(async () => expect(await answers(next)).toEqual(names));
    expect(await answers(partners.map(({ authority }) => authority))).toEqual(names);
    // A bundle without the first root, shown by a server of the second.
    byId.server.setSecureContext(await bySvid(next[1]!));
    partners.forEach((partner, index) => partner.publish(next[index]!));
    await untilHolds(async () =>
      expect(await answers(partners.map(({ authority }) => authority))).toEqual(Array(3).fill('refused')),
    );
    expect(await answers(next)).toEqual(names);
    meshYaml({ caCertificates: [{ trustDomains: ['web.example', 'svid.example', 'listed.example'] }] });
    await untilHolds(async () => expect(await ask(port, next[2]!, ours)).toBe('refused'));
    expect(await answers(next.slice(0, 2))).toEqual(names.slice(0, 2));
    expect(errors()).toContain('Holding 1 root(s) of trust domain web.example from its bundle endpoint');
  });

  it('keep the last good bundle while the endpoint says nothing of use, and say what is wrong', async () => {
    const partner = await startPartner('web.example', web.credentials);
    const never = await startPartner('never.example', web.credentials);
    never.answer(200, '<!doctype html><title>Sign in</title>');
    meshYaml({ caCertificates: [{ trustDomains: ['web.example', 'never.example', 'down.example'] }] });
    const { port, errors } = await startService(
      { ...yaml },
      {
        ENMESH_FEDERATION: `web.example=${partner.url},never.example=${never.url},down.example=https://localhost:1/`,
        ENMESH_ADMIN_PORT: '0',
      },
    );
    expect(await ask(port, partner.authority, ours)).toBe('hello spiffe://web.example/ns/shop/sa/gateway');
    expect(await ask(port, never.authority, ours)).toBe('refused');
    const down = await createTestAuthority({ trustDomain: 'down.example' });
    expect(await ask(port, down, ours)).toBe('refused');
    expect(errors()).toMatch(/No new bundle of trust domain never\.example .*not JSON.*none of its peers is accepted yet/);
    expect(errors()).toMatch(/No new bundle of trust domain down\.example .*ECONNREFUSED.*none of its peers is accepted yet/);
    const told = (words: RegExp) => untilHolds(() => expect(errors()).toMatch(words));
    partner.answer(200, Buffer.alloc(10 << 20, 0x20));
    await told(/web\.example .*larger than 1048576 octets; the last good bundle is kept/);
    partner.answer(503, 'closed for the night');
    await told(/web\.example .*status 503; the last good bundle is kept/);
    expect(await ask(port, partner.authority, ours)).toBe('hello spiffe://web.example/ns/shop/sa/gateway');
    never.publish(never.authority);
    await untilHolds(async () =>
      expect(await ask(port, never.authority, ours)).toBe('hello spiffe://never.example/ns/shop/sa/gateway'),
    );
    expect(errors()).not.toMatch(/BEGIN CERTIFICATE|Sign in|closed for the night/);
  });
});

describe('federation of createMesh', () => {
  /** A mesh of ours in this process, with the notices that it gave. */
  async function open(options: NonNullable<Parameters<typeof createMesh>[0]>, meshYaml: object = {}) {
    const folder = mkdtempSync(join(tmpdir(), 'enmesh-federation-'));
    ends.push(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'enmesh'));
    writeFileSync(join(folder, 'enmesh/mesh.yaml'), JSON.stringify(meshYaml));
    writeFileSync(join(folder, 'strict.yaml'), strict);
    const ours = await createTestAuthority();
    const identity = replaceable(await ours.issue({ namespace: 'shop', serviceAccount: 'product' }), ours.bundles);
    const notices: NoticeEvent[] = [];
    ends.push(noticeEvents.subscribe((notice) => void notices.push(notice)));
    const base = { namespace: 'shop', serviceAccount: 'product', config: folder, identity, log: false, env: {} };
    const mesh = await createMesh({ ...base, ...options });
    ends.push(() => mesh.close({ deadlineMs: 0 }));
    return { mesh, ours, notices, folder };
  }
  const admitted = { caCertificates: [{ trustDomains: ['web.example'] }] };

  it('takes roots for a private web, and tells how endpoints fare in the metrics', async () => {
    const web = await startWeb();
    const partner = await startPartner('web.example', web.credentials);
    const roots = join(mkdtempSync(join(tmpdir(), 'enmesh-web-')), 'web.pem');
    ends.push(() => rmSync(join(roots, '..'), { recursive: true }));
    writeFileSync(roots, web.root);
    const { mesh, ours } = await open(
      { federation: [{ trustDomain: 'web.example', url: `${partner.url}?token=x`, roots }] },
      admitted,
    );
    await mesh.ready();
    const port = await listenOn(mesh.createServer(greet));
    expect(await ask(port, partner.authority, ours)).toBe('hello spiffe://web.example/ns/shop/sa/gateway');
    expect(mesh.metrics()).toContain(`enmesh_bundle_failures_total{trust_domain="web.example",endpoint="${partner.url}"} 0\n`);
    expect(mesh.metrics()).toMatch(/enmesh_bundle_fetched_timestamp_seconds\{[^}]*\} \d{10}\n/);
    expect(mesh.metrics()).not.toContain('token=x');
  });

  it("knows a server of its own mesh by the bundle that it holds, and not a stranger's", async () => {
    const { ours, notices } = await open({ federation: [] }, admitted);
    const credentials = await bySvid(ours);
    const partner = await startPartner('web.example', credentials);
    const federation = [
      {
        ...{ trustDomain: 'web.example', url: partner.url, profile: 'https_spiffe' as const },
        endpointSpiffeId: 'spiffe://cluster.local/spire/server',
      },
    ];
    const identity = await ours.identity({ namespace: 'shop', serviceAccount: 'product' });
    const second = await open({ federation, identity }, admitted);
    await second.mesh.ready();
    const port = await listenOn(second.mesh.createServer(greet));
    expect(await ask(port, partner.authority, ours)).toBe('hello spiffe://web.example/ns/shop/sa/gateway');
    // The same endpoint, for whoever does not hold that mesh's roots.
    const stranger = await open({ federation }, admitted);
    await stranger.mesh.ready();
    expect(notices.findLast(({ kind }) => kind === 'bundle-failed')?.message).toMatch(/web\.example .*cannot be reached/);
  });

  it("is refused for the mesh's own trust domain", async () => {
    await expect(open({ federation: [{ trustDomain: 'cluster.local', url: 'https://localhost:1/' }] })).rejects.toMatchObject({
      code: 'ENMESH_ISSUANCE_BUNDLE',
      message: expect.stringContaining("this mesh's own trust domain") as unknown,
    });
  });

  it('waits for roots that are not there yet, and says where it looks', async () => {
    const web = await startWeb();
    const partner = await startPartner('web.example', web.credentials);
    const roots = join(mkdtempSync(join(tmpdir(), 'enmesh-web-')), 'web.pem');
    ends.push(() => rmSync(join(roots, '..'), { recursive: true }));
    const { mesh, ours, notices } = await open(
      { federation: [{ trustDomain: 'web.example', url: partner.url, roots }] },
      admitted,
    );
    await mesh.ready();
    expect(notices.find(({ kind }) => kind === 'bundle-failed')?.message).toMatch(/web\.pem: .*not there/);
    const port = await listenOn(mesh.createServer((_request, response) => response.end('ok')));
    expect(await ask(port, partner.authority, ours)).toBe('refused');
    writeFileSync(roots, web.root);
    await untilHolds(async () => expect(await ask(port, partner.authority, ours)).toBe('ok'));
  });
});
