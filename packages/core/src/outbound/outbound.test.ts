import { get, request as httpRequest, type Agent, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import axios from 'axios';
import got from 'got';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Headers as UndiciHeaders, type Dispatcher } from 'undici';
import { defaultMeshSettings } from '../config/mesh-config.js';
import { EnmeshError } from '../errors.js';
import type { ClientTlsSettings, Registry, ServiceEntry, WorkloadEntrySpec } from '../config/registry.js';
import { fixedTrustBundleSource } from '../identity/trust-bundle.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import { stepEvents, type StepEvent } from '../telemetry/events.js';
import { createTestAuthority, type TestAuthority } from '../testing/authority.js';
import { acceptSettings } from '../tls/accept-settings.js';
import { connectionOf } from '../tls/peer.js';
import { createTlsServer } from '../tls/server.js';
import { createMeshAgent } from './agent.js';
import { createMeshDispatcher } from './dispatcher.js';
import { createMeshFetch, createMeshRequest } from './fetch.js';
import type { PlanSources } from './plan.js';

const productUrl = 'http://product.shop.svc.cluster.local';
const client = { namespace: 'shop', serviceAccount: 'gateway', labels: {} };

let authority: TestAuthority;
let identity: MeshIdentity;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  identity = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});
afterAll(() => expect(ends).toEqual([]));

async function listen<S extends Server>(server: S): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  ends.push(() => {
    (server as { closeAllConnections?(): void }).closeAllConnections?.();
    return new Promise((done) => server.close(done));
  });
  return (server.address() as AddressInfo).port;
}

/** A STRICT server with its own service account that counts the bytes of HTTP it reads. */
async function startStrict(serviceAccount: string, listener: RequestListener): Promise<{ port: number; heard: () => number }> {
  const server = createTlsServer({
    identity: await authority.identity({ namespace: 'shop', serviceAccount }),
    accept: () => acceptSettings({ mode: 'STRICT', mesh: defaultMeshSettings }),
  });
  let heard = 0;
  server.on('secureConnection', (socket) => socket.on('close', () => (heard += socket.bytesRead)));
  server.on('request', listener);
  return { port: await listen(server), heard: () => heard };
}

const answerPeer: RequestListener = (req, res) => {
  const { peer } = connectionOf(req.socket);
  res.end(JSON.stringify({ peer: peer?.uri, host: req.headers.host, path: req.url, headers: req.headers }));
};

async function startPlain(listener: RequestListener): Promise<number> {
  return listen(createHttpServer(listener));
}

function entry(host: string, endpoints: readonly WorkloadEntrySpec[], spec: Partial<ServiceEntry['spec']> = {}): ServiceEntry {
  return {
    meta: {
      ...{ kind: 'ServiceEntry', namespace: 'shop', name: host, creationTimestamp: 0, labels: {}, annotations: {} },
      source: { file: 'services.yaml', line: 1, column: 1 },
    },
    spec: {
      ...{ hosts: [host], location: 'MESH_INTERNAL', resolution: 'STATIC', endpoints },
      ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
      ...spec,
    },
  };
}

const product = (...ports: number[]): ServiceEntry =>
  entry(
    'product.shop.svc.cluster.local',
    ports.map((port) => ({ address: '127.0.0.1', ports: { http: port }, serviceAccount: 'product' })),
  );

function sources(serviceEntries: readonly ServiceEntry[], mesh: Partial<PlanSources['mesh']> = {}): PlanSources {
  const registry: Registry = { services: [], serviceEntries, workloadEntries: [], destinationRules: [], peerAuthentications: [] };
  return { registry, mesh: { ...defaultMeshSettings, ...mesh }, workload: client };
}

function start(
  first: PlanSources,
  who: MeshIdentity = identity,
): { dispatcher: Dispatcher; agent: Agent; use(next: PlanSources): void } {
  let current = first;
  const options = { identity: who, snapshot: () => current, connectTimeoutMs: 20_000 };
  const dispatcher = createMeshDispatcher(options);
  const agent = createMeshAgent(options);
  ends.push(
    () => dispatcher.destroy(),
    () => agent.destroy(),
  );
  return { dispatcher, agent, use: (next) => void (current = next) };
}

/** A source whose SVID the test replaces. */
function rotating(first: X509Svid): MeshIdentity & { rotate(next: X509Svid): void } {
  let current = first;
  const listeners = new Set<(svid: X509Svid) => void>();
  const watch = (listener: (svid: X509Svid) => void): (() => void) => {
    listeners.add(listener);
    return () => void listeners.delete(listener);
  };
  return {
    svid: { current: () => current, watch },
    bundles: fixedTrustBundleSource(authority.bundles),
    rotate(next) {
      current = next;
      for (const listener of listeners) listener(next);
    },
  };
}

async function causeOf(promise: Promise<unknown>): Promise<{ code?: string; message: string }> {
  const error = (await promise.then(
    () => new Error('it was answered'),
    (reason: unknown) => reason,
  )) as Error;
  return (error.cause ?? error) as { code?: string; message: string };
}

function getByAgent(
  agent: Agent,
  url: string,
  headers: Record<string, string> = {},
): Promise<{ body: string; socket: IncomingMessage['socket'] }> {
  return new Promise((done, fail) => {
    get(url, { agent, headers }, (res) => {
      let body = '';
      const { socket } = res;
      res.setEncoding('utf8').on('data', (text) => (body += text));
      res.on('end', () => done({ body, socket }));
    }).on('error', fail);
  });
}

describe('the dispatcher of the mesh', () => {
  it('calls a declared service by mutual TLS as its logical host, under undici and the global fetch alike', async () => {
    const { port } = await startStrict('product', answerPeer);
    const { dispatcher } = start(sources([product(port)]));
    const expected = {
      peer: 'spiffe://cluster.local/ns/shop/sa/gateway',
      host: 'product.shop.svc.cluster.local',
      path: '/products/1?a=b',
    };
    const url = `${productUrl}/products/1?a=b`;
    expect(await (await createMeshFetch(dispatcher)(url)).json()).toMatchObject(expected);
    expect(await (await createMeshRequest(dispatcher)(url)).body.json()).toMatchObject(expected);
    expect(await (await fetch(url, { dispatcher } as RequestInit)).json()).toMatchObject(expected);
    expect(await (await createMeshFetch(dispatcher)(new Request(url) as never)).json()).toMatchObject(expected);
    expect(await (await createMeshFetch(dispatcher)('http://PRODUCT.shop:80/products/1?a=b')).json()).toMatchObject({
      ...expected,
      host: 'product.shop',
    });
  });

  it('sends bodies of every kind', async () => {
    const { port } = await startStrict('product', (req, res) => void req.pipe(res));
    const meshFetch = createMeshFetch(start(sources([product(port)])).dispatcher);
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('streamed'));
        controller.close();
      },
    });
    expect(await (await meshFetch(productUrl, { method: 'POST', body: stream, duplex: 'half' })).text()).toBe('streamed');
    const form = new FormData();
    form.append('name', 'value');
    expect(await (await meshFetch(productUrl, { method: 'POST', body: form as never })).text()).toContain(
      'name="name"\r\n\r\nvalue',
    );
    const request = new Request(productUrl, { method: 'POST', body: 'requested' });
    expect(await (await meshFetch(request as never)).text()).toBe('requested');
  });

  it('refuses an impostor at the address before a byte of the request, and names both identities', async () => {
    let calls = 0;
    const impostor = await startStrict('test-team', (_req, res) => void (calls++, res.end()));
    const { dispatcher, agent } = start(sources([product(impostor.port)]));
    const cause = await causeOf(createMeshFetch(dispatcher)(productUrl, { headers: { authorization: 'Bearer secret' } }));
    expect(cause.code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect(cause.message).toContain('spiffe://cluster.local/ns/shop/sa/product');
    expect(cause.message).toContain('spiffe://cluster.local/ns/shop/sa/test-team');
    expect((await causeOf(createMeshRequest(dispatcher)(productUrl))).code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect((await causeOf(getByAgent(agent, productUrl))).code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect({ calls, bytes: impostor.heard() }).toEqual({ calls: 0, bytes: 0 });
  });

  it('resolves a redirect anew, so that a mesh service cannot send the caller to an impostor', async () => {
    let calls = 0;
    const impostor = await startStrict('test-team', (_req, res) => void (calls++, res.end()));
    const location = 'http://stock.shop.svc.cluster.local/stocks';
    const real = await startStrict('product', (_req, res) => res.writeHead(307, { location }).end());
    const stock = entry('stock.shop.svc.cluster.local', [
      { address: '127.0.0.1', ports: { http: impostor.port }, serviceAccount: 'stock' },
    ]);
    const { dispatcher } = start(sources([product(real.port), stock]));
    const cause = await causeOf(createMeshFetch(dispatcher)(productUrl));
    expect([cause.code, calls]).toEqual(['ENMESH_TLS_SECURE_NAMING', 0]);
  });

  it('moves on to the next endpoint when one does not listen, and says so when none does', async () => {
    const closed = createTcpServer();
    const silent = await listen(closed);
    await new Promise((done) => closed.close(done));
    const { port } = await startStrict('product', answerPeer);
    const meshFetch = createMeshFetch(start(sources([product(silent, port)])).dispatcher);
    for (let i = 0; i < 6; i++) expect((await meshFetch(productUrl)).status).toBe(200);
    const cause = await causeOf(createMeshFetch(start(sources([product(silent)])).dispatcher)(productUrl));
    expect(cause.code).toBe('ENMESH_OUTBOUND_CONNECT');
    expect(cause.message).toContain(`127.0.0.1:${silent} (ECONNREFUSED)`);
  });

  it('gives its endpoints turns', async () => {
    const seen = [0, 0];
    const servers = await Promise.all(seen.map((_, i) => startStrict('product', (_req, res) => void (seen[i]!++, res.end()))));
    const meshFetch = createMeshFetch(start(sources([product(...servers.map(({ port }) => port))])).dispatcher);
    for (let i = 0; i < 10; i++) await (await meshFetch(productUrl)).text();
    expect(seen).toEqual([5, 5]);
  });

  it('passes an undeclared host without identity headers, or refuses it when only the registry goes', async () => {
    const port = await startPlain(answerPeer);
    const url = `http://127.0.0.1:${port}/x`;
    const open = createMeshFetch(start(sources([])).dispatcher);
    const given = {
      'X-Forwarded-Client-Cert': 'By=a',
      sec_istio_auth_userinfo: 'e30',
      'enmesh-hop-token': 'a.b.c',
      'x-kept': '1',
    };
    const shapes = [given, Object.entries(given), new UndiciHeaders(given)];
    for (const headers of shapes) {
      const seen = ((await (await open(url, { headers: headers as never })).json()) as { headers: Record<string, string> })
        .headers;
      expect(
        Object.keys(seen).filter((name) => name.startsWith('x-') || name.startsWith('sec_') || name.startsWith('enmesh')),
      ).toEqual(['x-kept']);
    }
    const { dispatcher } = start(sources([]));
    for (const headers of [Object.entries(given).flat(), given, new Map(Object.entries(given))]) {
      const answer = await createMeshRequest(dispatcher)(url, { headers: headers as never });
      expect(((await answer.body.json()) as { headers: object }).headers).not.toHaveProperty('enmesh-hop-token');
    }
    const closed = createMeshFetch(start(sources([], { outboundTrafficPolicy: 'REGISTRY_ONLY' })).dispatcher);
    expect((await causeOf(closed(url))).code).toBe('ENMESH_OUTBOUND_UNDECLARED');
  });

  it('opens tunnels and upgrades to declared services only', async () => {
    let tunnels = 0;
    const server = createHttpServer();
    server.on('connect', (_req, socket) => void (tunnels++, socket.end()));
    const { dispatcher } = start(sources([]));
    const origin = `http://127.0.0.1:${await listen(server)}`;
    await expect(dispatcher.connect({ origin, path: 'example.com:443' })).rejects.toMatchObject({
      code: 'ENMESH_OUTBOUND_UNDECLARED',
    });
    const upgrade = getByAgent(start(sources([])).agent, origin, { connection: 'upgrade', upgrade: 'websocket' });
    expect((await causeOf(upgrade)).code).toBe('ENMESH_OUTBOUND_UNDECLARED');
    await expect(dispatcher.upgrade({ origin, path: '/' } as never)).rejects.toMatchObject({
      code: 'ENMESH_OUTBOUND_UNDECLARED',
    });
    expect(tunnels).toBe(0);
  });

  it('goes by the URL alone: a Host header of the caller and a proxy change nothing about whom it calls', async () => {
    const { port } = await startStrict('product', answerPeer);
    const { dispatcher, agent } = start(sources([product(port)]));
    const other = await createMeshRequest(dispatcher)(productUrl, { headers: { host: 'stock.shop' } });
    expect(await other.body.json()).toMatchObject({ peer: 'spiffe://cluster.local/ns/shop/sa/gateway', host: 'stock.shop' });
    const proxy = await startPlain((_req, res) => res.end('proxied'));
    const proxied = axios.get(productUrl, { httpAgent: agent, proxy: { host: '127.0.0.1', port: proxy } });
    await expect(proxied).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_PROXIED' });
    const whole = dispatcher.request({ origin: `http://127.0.0.1:${proxy}`, path: productUrl, method: 'GET' });
    await expect(whole).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_PROXIED' });
  });

  it('shows the new certificate after a rotation, and lets what is in flight finish on the old one', async () => {
    let release = (): void => {};
    const { port } = await startStrict('product', (req, res) => {
      if (req.url !== '/slow') return answerPeer(req, res);
      res.write('begun ');
      release = () => res.end(String(connectionOf(req.socket).peer?.uri));
    });
    const source = rotating(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
    const { dispatcher, agent } = start(sources([product(port)]), source);
    const meshFetch = createMeshFetch(dispatcher);
    const slow = await meshFetch(`${productUrl}/slow`);
    const before = await getByAgent(agent, productUrl);
    source.rotate(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway-2' }));
    expect(await (await meshFetch(productUrl)).json()).toMatchObject({ peer: 'spiffe://cluster.local/ns/shop/sa/gateway-2' });
    const after = await getByAgent(agent, productUrl);
    expect(JSON.parse(after.body)).toMatchObject({ peer: 'spiffe://cluster.local/ns/shop/sa/gateway-2' });
    expect([before.socket.destroyed, before.socket === after.socket]).toEqual([true, false]);
    release();
    expect(await slow.text()).toBe('begun spiffe://cluster.local/ns/shop/sa/gateway');
  });

  it('ends idle connections of the old certificate at once, and keeps none that falls idle later', async () => {
    const unset = (): void => {};
    let release = unset;
    const ended: string[] = [];
    const { port } = await startStrict('product', (req, res) => {
      req.socket.once('close', () => ended.push(String(req.url)));
      if (req.url === '/slow') release = () => res.end();
      else res.end();
    });
    const source = rotating(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
    const { dispatcher, agent } = start(sources([product(port)]), source);
    await (await createMeshFetch(dispatcher)(`${productUrl}/idle`)).text();
    const slow = getByAgent(agent, `${productUrl}/slow`);
    while (release === unset) await new Promise(setImmediate);
    source.rotate(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
    release();
    const { socket } = await slow;
    await new Promise(setImmediate);
    expect(socket.destroyed).toBe(true);
    // Each call is a new connection and several journeys, behind which the ends of the old ones have arrived.
    for (let i = 0; i < 3; i++) await getByAgent(agent, `${productUrl}/next`);
    expect(ended.filter((url) => url !== '/next').sort()).toEqual(['/idle', '/slow']);
  });

  it('follows a reload: other endpoints, other identities, and pools that stay where nothing changed', async () => {
    const connections: StepEvent[] = [];
    ends.push(stepEvents.connect.subscribe((event) => void connections.push(event)));
    const first = await startStrict('product', (_req, res) => res.end('first'));
    const second = await startStrict('product', (_req, res) => res.end('second'));
    const { dispatcher, use } = start(sources([product(first.port)]));
    const call = async (): Promise<string> => (await createMeshFetch(dispatcher)(productUrl)).text();
    expect(await call()).toBe('first');
    // undici frees a connection a moment after the body has ended.
    await new Promise(setImmediate);
    use(sources([product(first.port)]));
    expect(await call()).toBe('first');
    expect(connections).toHaveLength(1);
    use(sources([product(second.port)]));
    expect(await call()).toBe('second');
    use(
      sources([
        entry('product.shop.svc.cluster.local', [
          { address: '127.0.0.1', ports: { http: second.port }, serviceAccount: 'other' },
        ]),
      ]),
    );
    expect((await causeOf(call())).code).toBe('ENMESH_TLS_SECURE_NAMING');
    expect(connections.map(({ outcome }) => outcome)).toEqual(['passed', 'passed', 'refused']);
  });

  it('speaks plainly to an endpoint without mutual TLS, and takes no identity for that', async () => {
    const port = await startPlain(answerPeer);
    const plain = entry('legacy.shop.svc.cluster.local', [{ address: '127.0.0.1', ports: { http: port } }]);
    const none = {
      current: () => {
        throw new EnmeshError('ENMESH_IDENTITY_NONE', 'none yet');
      },
      watch: () => () => {},
    };
    const { dispatcher, agent } = start(sources([plain, product(port)]), { svid: none, bundles: none });
    const host = 'legacy.shop.svc.cluster.local';
    expect(await (await createMeshFetch(dispatcher)(`http://${host}/`)).json()).toMatchObject({ host });
    expect(JSON.parse((await getByAgent(agent, `http://${host}/`)).body)).toMatchObject({ host });
    for (const call of [createMeshFetch(dispatcher)(productUrl), getByAgent(agent, productUrl)])
      expect((await causeOf(call)).code).toBe('ENMESH_IDENTITY_NONE');
  });

  it('originates TLS as a DestinationRule of mode SIMPLE or MUTUAL says, and refuses another certificate', async () => {
    const [svid, mine] = [
      await authority.issue({ namespace: 'shop', serviceAccount: 'api' }),
      await authority.issue({ namespace: 'shop', serviceAccount: 'me' }),
    ];
    const folder = await mkdtemp(join(tmpdir(), 'enmesh-outbound-'));
    ends.push(() => rm(folder, { recursive: true }));
    const pem = {
      ca: authority.rootPem,
      cert: mine.chain,
      key: mine.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    };
    for (const [name, text] of Object.entries(pem)) await writeFile(join(folder, name), text);
    const tls = {
      key: svid.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: svid.chain,
      ca: authority.rootPem,
      requestCert: true,
      rejectUnauthorized: false,
    };
    const answer: RequestListener = (req, res) => res.end(String((req.socket as TLSSocket).authorized));
    const port = await listen(createHttpsServer(tls, answer));
    const call = (settings: ClientTlsSettings): Promise<string> => {
      const api = entry('api.example', [{ address: '127.0.0.1', ports: { http: port } }], { location: 'MESH_EXTERNAL' });
      const meta = { ...api.meta, kind: 'DestinationRule' };
      const from = sources([api]);
      const destinationRules = [{ meta, spec: { host: 'api.example', trafficPolicy: { tls: settings } } }];
      const { dispatcher } = start({ ...from, registry: { ...from.registry, destinationRules } });
      return createMeshFetch(dispatcher)('http://api.example/').then((response) => response.text());
    };
    const simple = { mode: 'SIMPLE' as const, caCertificates: join(folder, 'ca'), subjectAltNames: [svid.id.uri] };
    expect(await call(simple)).toBe('false');
    expect(
      await call({ ...simple, mode: 'MUTUAL', clientCertificate: join(folder, 'cert'), privateKey: join(folder, 'key') }),
    ).toBe('true');
    expect((await causeOf(call({ ...simple, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/other'] }))).code).toBe(
      'ENMESH_TLS_SECURE_NAMING',
    );
    expect((await causeOf(call({ mode: 'SIMPLE', caCertificates: simple.caCertificates }))).code).toBe(
      'ENMESH_TLS_SERVER_UNVERIFIED',
    );
    expect((await causeOf(call({ ...simple, caCertificates: 'system' }))).code).toBe('ENMESH_TLS_SERVER_UNVERIFIED');
    expect((await causeOf(call({ ...simple, caCertificates: join(folder, 'none') }))).code).toBe('ENMESH_OUTBOUND_TLS_SETTINGS');
  });

  it('closes what nobody used between two sweeps', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    ends.push(() => vi.useRealTimers());
    let open = 0;
    const { port } = await startStrict('product', (req, res) => {
      if (req.url === '/first') req.socket.once('close', () => open--);
      res.end();
    });
    const { dispatcher, agent } = start(sources([product(port)]));
    open++;
    await (await createMeshFetch(dispatcher)(`${productUrl}/first`)).text();
    const settle = async (): Promise<number> => {
      for (let i = 0; i < 3; i++) await getByAgent(agent, `${productUrl}/next`);
      return open;
    };
    vi.advanceTimersByTime(60_000);
    expect(await settle()).toBe(1);
    vi.advanceTimersByTime(60_000);
    expect(await settle()).toBe(0);
  });

  it('refuses after close, and closes with calls in flight finished', async () => {
    const { port } = await startStrict('product', (_req, res) => void setImmediate(() => res.end('done')));
    const { dispatcher } = start(sources([product(port)]));
    const answer = createMeshFetch(dispatcher)(productUrl).then((response) => response.text());
    await new Promise(setImmediate);
    await dispatcher.close();
    expect(await answer).toBe('done');
    expect((await causeOf(createMeshFetch(dispatcher)(productUrl))).code).toBe('ENMESH_OUTBOUND_CLOSED');
  });

  it('tells the step of each call once', async () => {
    const events: StepEvent[] = [];
    const { port } = await startStrict('product', answerPeer);
    const { dispatcher } = start(sources([product(port)], { outboundTrafficPolicy: 'REGISTRY_ONLY' }));
    ends.push(stepEvents.outbound.subscribe((event) => void events.push(event)));
    await (await createMeshFetch(dispatcher)(productUrl)).text();
    await causeOf(createMeshFetch(dispatcher)('http://elsewhere.example'));
    expect(events.map(({ outcome, code }) => [outcome, code])).toEqual([
      ['passed', undefined],
      ['refused', 'ENMESH_OUTBOUND_UNDECLARED'],
    ]);
  });
});

describe('the http agent of the mesh', () => {
  it('calls by mutual TLS and keeps the connection for the next call', async () => {
    const { port } = await startStrict('product', answerPeer);
    const { agent } = start(sources([product(port)]));
    const first = await getByAgent(agent, `${productUrl}/one`);
    expect(JSON.parse(first.body)).toMatchObject({
      peer: 'spiffe://cluster.local/ns/shop/sa/gateway',
      host: 'product.shop.svc.cluster.local',
    });
    await new Promise(setImmediate);
    expect((await getByAgent(agent, `${productUrl}/two`)).socket).toBe(first.socket);
  });

  it('keeps identity headers from hosts outside the mesh, however they were set', async () => {
    const port = await startPlain(answerPeer);
    const { agent } = start(sources([]));
    const { body } = await getByAgent(agent, `http://127.0.0.1:${port}/`, { 'Enmesh-Hop-Token': 'a', 'x-kept': '1' });
    expect((JSON.parse(body) as { headers: object }).headers).toEqual({
      'x-kept': '1',
      host: `127.0.0.1:${port}`,
      connection: 'keep-alive',
    });
    const late = httpRequest(`http://127.0.0.1:${port}/`, { agent });
    late.setHeader('x-forwarded-client-cert', 'By=a');
    expect(late.hasHeader('x-forwarded-client-cert')).toBe(false);
    const answered = new Promise((done) => late.on('response', (res) => res.resume().on('end', done)));
    late.end();
    await answered;
    const written = httpRequest(`http://127.0.0.1:${port}/`, { agent, headers: ['host', 'a', 'enmesh-hop-token', 'x'] as never });
    const error = await new Promise<NodeJS.ErrnoException>((done) => written.on('error', done));
    expect(error.code).toBe('ENMESH_OUTBOUND_UNDECLARED');
  });

  it('serves axios and got, whose redirects are resolved anew', async () => {
    const location = 'http://elsewhere.shop.svc.cluster.local/';
    const { port } = await startStrict('product', (req, res) =>
      req.url === '/away' ? res.writeHead(302, { location }).end() : answerPeer(req, res),
    );
    const { agent } = start(sources([product(port)], { outboundTrafficPolicy: 'REGISTRY_ONLY' }));
    const expected = { peer: 'spiffe://cluster.local/ns/shop/sa/gateway' };
    expect((await axios.get(productUrl, { httpAgent: agent, proxy: false })).data).toMatchObject(expected);
    expect(await got(productUrl, { agent: { http: agent as never } }).json()).toMatchObject(expected);
    for (const call of [
      axios.get(`${productUrl}/away`, { httpAgent: agent, proxy: false }),
      got(`${productUrl}/away`, { agent: { http: agent as never }, retry: { limit: 0 } }),
    ])
      await expect(call).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_UNDECLARED' });
  });

  it('refuses what the dispatcher refuses', async () => {
    const { agent } = start(sources([], { outboundTrafficPolicy: 'REGISTRY_ONLY' }));
    expect((await causeOf(getByAgent(agent, 'http://elsewhere.example/'))).code).toBe('ENMESH_OUTBOUND_UNDECLARED');
    expect((await causeOf(getByAgent(agent, 'http://[::1]:9/'))).code).toBe('ENMESH_OUTBOUND_UNDECLARED');
    agent.destroy();
    expect((await causeOf(getByAgent(agent, productUrl))).code).toBe('ENMESH_OUTBOUND_CLOSED');
  });
});
