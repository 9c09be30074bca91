import type { X509Certificate } from 'node:crypto';
import { X509Certificate as Certificate } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { RequestEnmesh, TrustBundleSet } from '@enmesh/core';
import { createBundleEndpoint, joinBundles } from '@enmesh/core/issuance';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';
import axios from 'axios';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCallers, listenOn, serviceAt, type Caller, type Callers } from '../support/callers.js';
import { untilHolds } from '../support/waiting.js';

let callers: Callers;
beforeEach(async () => {
  callers = await createCallers();
});
afterEach(() => callers.close());

const tellPeer: RequestListener = (request, response) => {
  response.end(String((request as unknown as { enmesh: RequestEnmesh }).enmesh.peer?.uri));
};
const stockUrl = 'http://stock.shop.svc.cluster.local/';
const both = (...authorities: TestAuthority[]): TrustBundleSet => new Map(authorities.flatMap(({ bundles }) => [...bundles]));
const svidOf = (by: TestAuthority, serviceAccount: string) => by.issue({ namespace: 'shop', serviceAccount });
const codeOf = async (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => 'answered',
    (error: { code?: unknown }) => error.code,
  );
const partnerAdmitted = { 'enmesh/mesh.yaml': 'caCertificates: [{trustDomains: [partner.example]}]\n' };
/** Stock, as the partner runs it. */
const partnerStock = (port: number): string =>
  serviceAt('stock', [port], 'HTTP', 'subjectAltNames: [spiffe://partner.example/ns/shop/sa/stock]');

describe('a peer of a federated trust domain', () => {
  let partner: TestAuthority;
  beforeEach(async () => {
    partner = await createTestAuthority({ trustDomain: 'partner.example' });
  });

  /** A workload whose SVID is by one authority while its bundles are those of both. */
  async function open(serviceAccount: string, by: TestAuthority, files: Record<string, string> = {}): Promise<Caller> {
    const caller = await callers.open(serviceAccount, { ...partnerAdmitted, ...files });
    caller.identity.trust(both(callers.authority, partner));
    caller.identity.rotate(await svidOf(by, serviceAccount));
    return caller;
  }

  it('is admitted and reached where it is named, both ways, each checked against its own roots', async () => {
    const theirs = await open('stock', partner, {
      'enmesh/mesh.yaml': 'trustDomain: partner.example\ncaCertificates: [{trustDomains: [cluster.local]}]\n',
    });
    const gateway = await open('gateway', callers.authority, {
      'stock.yaml': partnerStock(await callers.serve(theirs, tellPeer)),
    });
    expect(await (await gateway.mesh.request(stockUrl)).body.text()).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    const ours = await open('stock', callers.authority);
    const caller = await open('gateway', partner, {
      'enmesh/mesh.yaml': 'trustDomain: partner.example\ncaCertificates: [{trustDomains: [cluster.local]}]\n',
      'stock.yaml': serviceAt(
        'stock',
        [await callers.serve(ours, tellPeer)],
        'HTTP',
        'subjectAltNames: [spiffe://cluster.local/ns/shop/sa/stock]',
      ),
    });
    expect(await (await caller.mesh.request(stockUrl)).body.text()).toBe('spiffe://partner.example/ns/shop/sa/gateway');
  });

  it('cannot have its authority vouch for us, nor ours for it: neither as server nor as client', async () => {
    for (const [forger, uri] of [
      [partner, 'spiffe://cluster.local/ns/shop/sa/stock'],
      [callers.authority, 'spiffe://partner.example/ns/shop/sa/stock'],
    ] as const) {
      const forged = await forger.issueUri(uri);
      const forgery = { ...(await svidOf(callers.authority, 'stock')), ...forged };
      const liar = await open('stock', callers.authority);
      liar.identity.rotate(forgery);
      const port = await callers.serve(liar, tellPeer);
      const declared = uri.includes('partner') ? partnerStock(port) : serviceAt('stock', [port]);
      const gateway = await open('gateway', callers.authority, { 'stock.yaml': declared });
      expect(await codeOf(gateway.mesh.request(stockUrl))).toBe('ENMESH_X509_UNTRUSTED');
      let served = 0;
      const honest = await open('stock', callers.authority);
      const door = await callers.serve(honest, (_request, response) => void (served++, response.end()));
      await liar.configure({ 'stock.yaml': serviceAt('stock', [door]) });
      expect(await codeOf(liar.mesh.request(stockUrl))).not.toBe('answered');
      expect(served).toBe(0);
    }
  });

  it('is refused where its trust domain is not admitted, though its roots are there', async () => {
    const ours = await open('stock', callers.authority, { 'enmesh/mesh.yaml': 'trustDomain: cluster.local\n' });
    const port = await callers.serve(ours, tellPeer);
    const caller = await open('gateway', partner, { 'stock.yaml': serviceAt('stock', [port]) });
    expect(await codeOf(caller.mesh.request(stockUrl))).not.toBe('answered');
    const gateway = await open('gateway', callers.authority, { 'stock.yaml': serviceAt('stock', [port]) });
    expect(await codeOf(gateway.mesh.request(stockUrl))).toBe('answered');
  });
});

describe('a bundle endpoint', () => {
  const keyOf = (certificate: X509Certificate): object => ({
    ...certificate.publicKey.export({ format: 'jwk' }),
    use: 'x509-svid',
    x5c: [certificate.raw.toString('base64')],
  });

  it("brings the partner's new root to client and server, and takes the old one from them", async () => {
    const [old, next] = [
      await createTestAuthority({ trustDomain: 'partner.example' }),
      await createTestAuthority({ trustDomain: 'partner.example' }),
    ];
    let published = [old];
    const own = await old.issueUri('spiffe://partner.example/bundle');
    const credentials = { key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: own.chain };
    let sequence = 0;
    const server = createServer(credentials, (_request, response) => {
      const keys = published.map(({ rootPem }) => keyOf(new Certificate(rootPem)));
      response.end(JSON.stringify({ keys, spiffe_sequence: ++sequence, spiffe_refresh_hint: 10 }));
    });
    const url = `https://127.0.0.1:${await listenOn(server)}/`;
    callers.ends.push(() => (server.closeAllConnections(), server.close()));
    let refresh = (): void => {};
    const endpoint = createBundleEndpoint({
      ...{ trustDomain: 'partner.example', url, profile: 'https_spiffe', endpointSpiffeId: 'spiffe://partner.example/bundle' },
      roots: old.rootPem,
      timer: (run) => {
        refresh = run;
        return () => {};
      },
    });
    callers.ends.push(() => endpoint.close());
    await endpoint.ready();
    const home = { current: () => callers.authority.bundles, watch: () => () => {} };
    const bundles = joinBundles([home, endpoint]);
    /** One workload of ours, whose bundles are those above. */
    const open = async (serviceAccount: string, files: Record<string, string> = {}): Promise<Caller> => {
      const svid = await svidOf(callers.authority, serviceAccount);
      const identity = { svid: { current: () => svid, watch: () => () => {} }, bundles };
      return callers.open(serviceAccount, { ...partnerAdmitted, ...files }, { identity });
    };
    const openPartner = async (
      by: TestAuthority,
      serviceAccount: string,
      files: Record<string, string> = {},
    ): Promise<Caller> => {
      const mesh = 'trustDomain: partner.example\ncaCertificates: [{trustDomains: [cluster.local]}]\n';
      const caller = await callers.open(serviceAccount, { 'enmesh/mesh.yaml': mesh, ...files });
      caller.identity.trust(both(callers.authority, by));
      caller.identity.rotate(await svidOf(by, serviceAccount));
      return caller;
    };
    const door = await callers.serve(await open('stock'), tellPeer);
    const ours = 'subjectAltNames: [spiffe://cluster.local/ns/shop/sa/stock]';
    const talk = async (by: TestAuthority): Promise<unknown[]> => {
      const stock = await openPartner(by, 'stock');
      const gateway = await open('gateway', { 'stock.yaml': partnerStock(await callers.serve(stock, tellPeer)) });
      const caller = await openPartner(by, 'gateway', { 'stock.yaml': serviceAt('stock', [door], 'HTTP', ours) });
      return Promise.all([gateway, caller].map(async ({ mesh }) => (await codeOf(mesh.request(stockUrl))) === 'answered'));
    };
    expect([await talk(old), await talk(next)]).toEqual([
      [true, true],
      [false, false],
    ]);
    published = [old, next];
    refresh();
    await untilHolds(() => expect(bundles.current().get('partner.example')?.roots).toHaveLength(2));
    expect([await talk(old), await talk(next)]).toEqual([
      [true, true],
      [true, true],
    ]);
    published = [next];
    refresh();
    await untilHolds(() => expect(bundles.current().get('partner.example')?.roots).toHaveLength(1));
    expect([await talk(old), await talk(next)]).toEqual([
      [false, false],
      [true, true],
    ]);
  });
});

describe('a trust domain that is renamed under load', () => {
  const meshYaml = (trustDomain: string, aliases: readonly string[]): string =>
    `trustDomain: ${trustDomain}\ntrustDomainAliases: ${JSON.stringify(aliases)}\n`;
  const allowed = (trustDomain: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: [${trustDomain}/ns/shop/sa/gateway]}}]}]}
`;

  it('costs no request, and afterwards a peer of the old name is refused', async () => {
    const [old, fresh] = [callers.authority, await createTestAuthority({ trustDomain: 'new.example' })];
    const before = { 'enmesh/mesh.yaml': meshYaml('cluster.local', []), 'callers.yaml': allowed('cluster.local') };
    const stock = await callers.open('stock', before);
    const door = stock.mesh.createServer(tellPeer);
    const port = await listenOn(door);
    const gateway = await callers.open('gateway', { ...before, 'stock.yaml': serviceAt('stock', [port]) });
    const everybody = [stock, gateway];
    const answers = new Map<string, number>();
    const failures: unknown[] = [];
    let isOver = false;
    const calls: (() => Promise<string>)[] = [
      async () => (await gateway.mesh.request(stockUrl)).body.text(),
      async () => (await gateway.mesh.fetch(stockUrl, { method: 'POST', body: 'x' })).text(),
      async () => (await axios.get<string>(stockUrl, { httpAgent: gateway.mesh.agent, proxy: false })).data,
      async () => (await gateway.mesh.request(stockUrl, { reset: true })).body.text(),
    ];
    const load = calls.map(async (call) => {
      while (!isOver) {
        try {
          const uri = await call();
          answers.set(uri, (answers.get(uri) ?? 0) + 1);
        } catch (error) {
          failures.push(error);
        }
      }
    });
    callers.ends.push(() => {
      isOver = true;
      return Promise.all(load);
    });
    /** Lets some requests of each kind pass under what holds now. */
    const some = async (): Promise<void> => {
      for (let i = 0; i < 5; i++) await Promise.all(calls.map((call) => call()));
    };
    await some();
    for (const { identity } of everybody) identity.trust(both(old, fresh));
    await some();
    for (const each of everybody) await each.configure({ 'enmesh/mesh.yaml': meshYaml('cluster.local', ['new.example']) });
    await some();
    for (const each of everybody) {
      each.identity.rotate(await svidOf(fresh, each === stock ? 'stock' : 'gateway'));
      await some();
    }
    for (const each of everybody) {
      await each.configure({ 'enmesh/mesh.yaml': meshYaml('new.example', ['cluster.local']) });
      await some();
    }
    await stock.configure({ 'callers.yaml': allowed('new.example') });
    await some();
    for (const each of everybody) {
      await each.configure({ 'enmesh/mesh.yaml': meshYaml('new.example', []) });
      each.identity.trust(fresh.bundles);
      await some();
    }
    isOver = true;
    await Promise.all(load);
    expect(failures).toEqual([]);
    expect([...answers.keys()].sort()).toEqual([
      'spiffe://cluster.local/ns/shop/sa/gateway',
      'spiffe://new.example/ns/shop/sa/gateway',
    ]);
    const late = await callers.open('gateway', {
      'stock.yaml': serviceAt('stock', [port], 'HTTP', 'subjectAltNames: [spiffe://new.example/ns/shop/sa/stock]'),
    });
    late.identity.trust(both(old, fresh));
    expect(await codeOf(late.mesh.request(stockUrl))).not.toBe('answered');
    const oldStock = await callers.open('stock', before);
    oldStock.identity.trust(both(old, fresh));
    await gateway.configure({ 'stock.yaml': serviceAt('stock', [await callers.serve(oldStock, tellPeer)]) });
    expect(await codeOf(gateway.mesh.request(stockUrl))).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
  });
});
