import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createMesh, noticeEvents, type Mesh, type NoticeEvent, type RequestEnmesh, type X509Svid } from '@enmesh/core';
import { createTestAuthority } from '@enmesh/core/testing';
import { until } from '../support/waiting.js';
import { peerAuthentication, serviceEntry } from '../support/documents.js';

type Authority = Awaited<ReturnType<typeof createTestAuthority>>;
type Judged = IncomingMessage & { readonly enmesh: RequestEnmesh };
type MeshOptions = NonNullable<Parameters<typeof createMesh>[0]>;

const strict = peerAuthentication('STRICT');
/** Where the other service listens, and who it is: the registry of these tests. */
const entryOf = (port: number, subjectAltNames: readonly string[]): string =>
  serviceEntry({ name: 'product', port, subjectAltNames });

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** The directory of one workload: its configuration, and its certificates as Kubernetes mounts them, swapped as a whole. */
function createPlace(): {
  config: string;
  certs: string;
  configure(files: Readonly<Record<string, string>>): void;
  mount(svid: X509Svid, roots: string): void;
} {
  const root = mkdtempSync(join(tmpdir(), 'enmesh-identity-'));
  closing.push(() => rmSync(root, { recursive: true, force: true }));
  const [config, certs] = [join(root, 'mesh'), join(root, 'certs')];
  mkdirSync(join(config, 'enmesh'), { recursive: true });
  mkdirSync(certs);
  let mounts = 0;
  const mount = (svid: X509Svid, roots: string): void => {
    const name = `..${++mounts}`;
    mkdirSync(join(certs, name));
    writeFileSync(join(certs, name, 'tls.crt'), svid.chain);
    writeFileSync(join(certs, name, 'tls.key'), svid.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeFileSync(join(certs, name, 'ca.crt'), roots);
    symlinkSync(name, join(certs, '..data_tmp'));
    renameSync(join(certs, '..data_tmp'), join(certs, '..data'));
    if (mounts === 1) for (const file of ['tls.crt', 'tls.key', 'ca.crt']) symlinkSync(join('..data', file), join(certs, file));
  };
  const configure = (files: Readonly<Record<string, string>>): void => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(config, name), text);
  };
  return { config, certs, mount, configure };
}

const open = async (options: MeshOptions): Promise<Mesh> => {
  const mesh = await createMesh({ namespace: 'shop', log: false, env: {}, ...options });
  closing.push(() => mesh.close());
  return mesh;
};
const listen = async (mesh: Mesh, options = {}): Promise<number> => {
  const server = mesh.createServer((request, response) => response.end((request as Judged).enmesh.peer?.uri), options);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
};
const svidOf = (authority: Authority, serviceAccount: string): Promise<X509Svid> =>
  authority.issue({ namespace: 'shop', serviceAccount });
const changed = (mesh: Mesh, isSo: (text: string) => boolean): Promise<void> => until(() => isSo(mesh.metrics()));
const callProduct = async (mesh: Mesh): Promise<string> => (await mesh.fetch('http://product.shop.svc.cluster.local/')).text();

describe('an identity of files', () => {
  it('serves and calls from the moment the files are there, and goes on with what is renewed underneath', async () => {
    const authority = await createTestAuthority();
    const [product, gateway] = [createPlace(), createPlace()];
    product.configure({ 'policies.yaml': strict });
    const server = await open({
      serviceAccount: 'product',
      config: product.config,
      identity: { files: { directory: product.certs } },
    });
    const port = await listen(server);
    gateway.configure({ 'product.yaml': entryOf(port, ['spiffe://cluster.local/ns/shop/sa/product']) });
    gateway.mount(await svidOf(authority, 'gateway'), authority.rootPem);
    const client = await open({
      serviceAccount: 'gateway',
      config: gateway.config,
      env: { ENMESH_IDENTITY: 'files', ENMESH_IDENTITY_DIRECTORY: gateway.certs },
    });
    await client.ready();
    await expect(callProduct(client)).rejects.toThrow();
    product.mount(await svidOf(authority, 'product'), authority.rootPem);
    await server.ready();
    expect(await callProduct(client)).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(server.metrics()).toContain('enmesh_svid_rotations_total 0\n');
    product.mount(await svidOf(authority, 'product'), authority.rootPem);
    await changed(server, (text) => text.includes('enmesh_svid_rotations_total 1\n'));
    expect(await callProduct(client)).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(server.metrics()).toContain('enmesh_requests_total{verdict="allowed"} ');
  });

  it('of another trust domain than that of the mesh is not used', async () => {
    const other = await createTestAuthority({ trustDomain: 'other.example' });
    const place = createPlace();
    place.configure({ 'policies.yaml': strict });
    place.mount(await svidOf(other, 'product'), other.rootPem);
    const waitingFor = new Promise<NoticeEvent>((done) => {
      closing.push(noticeEvents.subscribe((notice) => void (notice.kind === 'identity-waiting' && done(notice))));
    });
    const mesh = await open({ serviceAccount: 'product', config: place.config, identity: { files: { directory: place.certs } } });
    const { code, message } = await waitingFor;
    expect(code).toBe('ENMESH_ISSUANCE_TRUST_DOMAIN');
    expect(message).toContain('spiffe://other.example/ns/shop/sa/product, and the trust domain of the mesh is cluster.local');
    const waiting = expect(mesh.ready()).rejects.toMatchObject({ code: 'ENMESH_IDENTITY_NONE' });
    await mesh.close();
    await waiting;
  });

  it('near its end makes the probe answer 503', async () => {
    const authority = await createTestAuthority();
    const place = createPlace();
    place.configure({ 'policies.yaml': strict });
    place.mount(await svidOf(authority, 'product'), authority.rootPem);
    let late = 0;
    const clock = (): number => Date.now() + late;
    const mesh = await open({
      serviceAccount: 'product',
      config: place.config,
      identity: { files: { directory: place.certs } },
      clock,
    });
    await mesh.ready();
    const server = mesh.createServer(() => {}, { probePort: 0 });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    await new Promise<void>((done) => (server.probe!.listening ? done() : server.probe!.once('listening', done)));
    const probe = (): Promise<number> =>
      new Promise((done, fail) => {
        const { port } = server.probe!.address() as AddressInfo;
        get({ host: '127.0.0.1', port, path: '/readyz', agent: false }, (response) => {
          response.resume();
          done(response.statusCode ?? 0);
        }).on('error', fail);
      });
    expect(await probe()).toBe(200);
    late = 56 * 60_000;
    expect(await probe()).toBe(503);
    expect(mesh.metrics()).toContain('enmesh_ready 0\n');
  });
});

describe('trust domains', () => {
  const meshYaml = (own: string, alias: string): string => `trustDomain: ${own}\ntrustDomainAliases: [${alias}]\n`;
  const sans = ['old.example', 'new.example'].map((domain) => `spiffe://${domain}/ns/shop/sa/product`);

  it('are migrated without downtime: aliases first, then the name of the mesh, then the certificates, one workload at a time', async () => {
    const [before, after] = [
      await createTestAuthority({ trustDomain: 'old.example' }),
      await createTestAuthority({ trustDomain: 'new.example' }),
    ];
    const roots = before.rootPem + after.rootPem;
    const workload = async (serviceAccount: string, mesh: string, authority: Authority, port = 0): Promise<Mesh> => {
      const place = createPlace();
      place.configure({
        'policies.yaml': strict,
        'enmesh/mesh.yaml': mesh,
        ...(port === 0 ? {} : { 'product.yaml': entryOf(port, sans) }),
      });
      place.mount(await svidOf(authority, serviceAccount), roots);
      const opened = await open({ serviceAccount, config: place.config, identity: { files: { directory: place.certs } } });
      await opened.ready();
      return opened;
    };
    const [oldFirst, newFirst] = [meshYaml('old.example', 'new.example'), meshYaml('new.example', 'old.example')];
    // Every step that a workload goes through, against every step that another may be at.
    const stages = [
      [oldFirst, before],
      [newFirst, before],
      [newFirst, after],
    ] as const;
    for (const [serverMesh, serverAuthority] of stages) {
      const port = await listen(await workload('product', serverMesh, serverAuthority));
      for (const [clientMesh, clientAuthority] of stages) {
        const client = await workload('gateway', clientMesh, clientAuthority, port);
        expect(await callProduct(client)).toBe(`spiffe://${clientAuthority.trustDomain}/ns/shop/sa/gateway`);
      }
    }
  });

  it('of a partner are verified against the roots listed for it alone', async () => {
    const [own, partner] = [await createTestAuthority(), await createTestAuthority({ trustDomain: 'partner.example' })];
    const place = createPlace();
    const listed = JSON.stringify({ caCertificates: [{ pem: partner.rootPem, trustDomains: ['partner.example'] }] });
    place.configure({ 'policies.yaml': strict, 'enmesh/mesh.yaml': listed });
    place.mount(await svidOf(own, 'product'), own.rootPem);
    const server = await open({
      serviceAccount: 'product',
      config: place.config,
      identity: { files: { directory: place.certs } },
    });
    await server.ready();
    const port = await listen(server);
    const call = async (svid: X509Svid): Promise<string> => {
      const caller = createPlace();
      const trusts = JSON.stringify({
        trustDomain: svid.id.trustDomain,
        caCertificates: [{ pem: own.rootPem, trustDomains: ['cluster.local'] }],
      });
      caller.configure({
        'product.yaml': entryOf(port, ['spiffe://cluster.local/ns/shop/sa/product']),
        'enmesh/mesh.yaml': trusts,
      });
      const identity = {
        svid: { current: () => svid, watch: () => () => {} },
        bundles: { current: () => partner.bundles, watch: () => () => {} },
      };
      return callProduct(await open({ serviceAccount: 'gateway', config: caller.config, identity }));
    };
    expect(await call(await svidOf(partner, 'gateway'))).toBe('spiffe://partner.example/ns/shop/sa/gateway');
    // The partner's authority names a workload of ours; our authority one of the partner's.
    const forge = async (authority: Authority, uri: string, id: X509Svid): Promise<X509Svid> => ({
      ...id,
      ...(await authority.issueUri(uri)),
    });
    const ours = await forge(partner, 'spiffe://cluster.local/ns/shop/sa/gateway', await svidOf(partner, 'gateway'));
    await expect(call(ours)).rejects.toThrow();
    const theirs = await forge(own, 'spiffe://partner.example/ns/shop/sa/gateway', await svidOf(partner, 'gateway'));
    await expect(call(theirs)).rejects.toThrow();
  });
});
