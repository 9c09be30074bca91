import { spawn } from 'node:child_process';
import { createServer as createHttpServer, get, type RequestListener } from 'node:http';
import type { Server } from 'node:https';
import { join } from 'node:path';
import type { RequestEnmesh } from '@enmesh/core';
import axios from 'axios';
import got from 'got';
import httpProxy from 'http-proxy';
import { fetch as undiciFetch, request as undiciRequest } from 'undici';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { createCallers, listenOn, serviceAt, type Caller, type Callers } from '../support/callers.js';

const stockUrl = 'http://stock.shop.svc.cluster.local';
const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';

let callers: Callers;
let gateway: Caller;
let stock: Caller;
beforeEach(async () => {
  callers = await createCallers();
  [gateway, stock] = [await callers.open('gateway'), await callers.open('stock')];
});
afterEach(() => callers.close());

const tellPeer: RequestListener = (request, response) => {
  const { peer } = (request as unknown as { enmesh: RequestEnmesh }).enmesh;
  response.end(JSON.stringify({ peer: peer?.uri, url: request.url, host: request.headers.host }));
};

async function declareStock(ports: readonly number[], name = 'stock'): Promise<void> {
  await gateway.configure({
    'stock.yaml': serviceAt('stock', ports).replaceAll('serviceAccount: stock', `serviceAccount: ${name}`),
  });
}

/** Only the gateway may call; anybody else is refused at the door. */
const gatewayOnly = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]}]}
`;

describe('HTTP clients by their own doors', () => {
  const calls: Record<string, (caller: Caller, url: string) => Promise<unknown>> = {
    'mesh.fetch': async ({ mesh }, url) => (await mesh.fetch(url)).json(),
    'mesh.request': async ({ mesh }, url) => (await mesh.request(url)).body.json(),
    'undici.fetch': async ({ mesh: { dispatcher } }, url) => (await undiciFetch(url, { dispatcher })).json(),
    'undici.request': async ({ mesh: { dispatcher } }, url) => (await undiciRequest(url, { dispatcher })).body.json(),
    'the global fetch': async ({ mesh: { dispatcher } }, url) => (await fetch(url, { dispatcher } as RequestInit)).json(),
    axios: async ({ mesh: { agent } }, url) => (await axios.get<unknown>(url, { httpAgent: agent, proxy: false })).data,
    got: ({ mesh: { agent } }, url) => got(url, { agent: { http: agent }, retry: { limit: 0 } }).json(),
    'http.get': ({ mesh: { agent } }, url) =>
      new Promise((done, fail) => {
        get(url, { agent }, async (response) => done(JSON.parse(Buffer.concat(await response.toArray()).toString()))).on(
          'error',
          fail,
        );
      }),
  };

  it.each(Object.entries(calls))('%s calls as the workload, and refuses whoever else is at the address', async (_name, call) => {
    await declareStock([await callers.serve(stock, tellPeer)]);
    expect(await call(gateway, `${stockUrl}/a?b=c`)).toEqual({ peer: uri, url: '/a?b=c', host: 'stock.shop.svc.cluster.local' });
    let heard = 0;
    const impostor = await callers.serve(
      await callers.open('test-team'),
      (_request, response) => void (heard++, response.end('{}')),
    );
    await declareStock([impostor]);
    await expect(call(gateway, stockUrl)).rejects.toSatisfy((error: Error) =>
      [error, error.cause].some((each) => (each as { code?: string } | undefined)?.code === 'ENMESH_TLS_SECURE_NAMING'),
    );
    expect(heard).toBe(0);
  });

  it('http-proxy forwards to a service of the mesh, upgrades included', async () => {
    const server = stock.mesh.createServer(tellPeer);
    echoOn(server);
    await declareStock([await listenOn(server)]);
    const proxy = httpProxy.createProxyServer({ target: stockUrl, agent: gateway.mesh.agent, changeOrigin: true, ws: true });
    const front = createHttpServer((request, response) => proxy.web(request, response));
    front.on('upgrade', (request, socket, head: Buffer) => proxy.ws(request, socket, head));
    const port = await listenOn(front);
    callers.ends.push(() => (front.closeAllConnections(), front.close(), proxy.close()));
    const answer = await fetch(`http://127.0.0.1:${port}/through`);
    expect(await answer.json()).toEqual({ peer: uri, url: '/through', host: 'stock.shop.svc.cluster.local' });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`);
    expect(await ask(socket, 'hello')).toBe(`${uri}: hello`);
    socket.terminate();
  });
});

/** A WebSocket server at a door, which answers with the name of its peer. */
function echoOn(server: Server): WebSocketServer {
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket, request) => {
    const { peer } = (request as unknown as { enmesh: RequestEnmesh }).enmesh;
    socket.on('message', (message) => socket.send(`${peer?.uri}: ${String(message as Buffer)}`));
    socket.on('error', () => {});
  });
  callers.ends.push(() => {
    for (const socket of sockets.clients) socket.terminate();
    sockets.close();
  });
  return sockets;
}

async function ask(socket: WebSocket, text: string): Promise<string> {
  if (socket.readyState === WebSocket.CONNECTING)
    await new Promise((done, fail) => void socket.once('open', done).once('error', fail));
  const answer = new Promise<string>((done) => socket.once('message', (message) => done(String(message as Buffer))));
  socket.send(text);
  return answer;
}

describe('a WebSocket of ws', () => {
  it('is opened by mutual TLS, its upgrade decided at the door, and ends when a policy no longer allows it', async () => {
    await stock.configure({ 'callers.yaml': gatewayOnly });
    const server = stock.mesh.createServer(tellPeer);
    const sockets = echoOn(server);
    await declareStock([await listenOn(server)]);
    const socket = new WebSocket('ws://stock.shop.svc.cluster.local/chat', { agent: gateway.mesh.agent });
    expect(await ask(socket, 'one')).toBe(`${uri}: one`);
    const other = await callers.open('test-team', {
      'stock.yaml': serviceAt('stock', [(server.address() as { port: number }).port]),
    });
    const refused = new WebSocket('ws://stock.shop.svc.cluster.local/chat', { agent: other.mesh.agent });
    await expect(ask(refused, 'x')).rejects.toThrow('403');
    expect(sockets.clients.size).toBe(1);
    const closed = new Promise((done) => socket.once('close', done));
    await stock.configure({ 'callers.yaml': gatewayOnly.replace('sa/gateway', 'sa/nobody') });
    await closed;
  });

  it('is refused to an impostor and to a host that nobody declares', async () => {
    const impostor = await callers.open('test-team');
    const server = impostor.mesh.createServer(tellPeer);
    const sockets = echoOn(server);
    await declareStock([await listenOn(server)]);
    const open = (url: string): Promise<string> => ask(new WebSocket(url, { agent: gateway.mesh.agent }), 'x');
    await expect(open('ws://stock.shop.svc.cluster.local/')).rejects.toMatchObject({ code: 'ENMESH_TLS_SECURE_NAMING' });
    await expect(open('ws://127.0.0.1:9/')).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_UNDECLARED' });
    expect(sockets.clients.size).toBe(0);
  });
});

describe('server-sent events', () => {
  it('arrive one by one, and go on through a rotation of the reader', async () => {
    const send: ((text: string) => void)[] = [];
    const port = await callers.serve(stock, (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      send.push((text) => void response.write(`data: ${text}\n\n`));
    });
    await declareStock([port]);
    const reader = (await gateway.mesh.fetch(`${stockUrl}/events`)).body!.getReader();
    const next = async (): Promise<string> => Buffer.from((await reader.read()).value as Uint8Array).toString();
    send[0]?.('one');
    expect(await next()).toBe('data: one\n\n');
    gateway.identity.rotate(await callers.authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
    send[0]?.('two');
    expect(await next()).toBe('data: two\n\n');
    await reader.cancel();
  });
});

describe('whom we expect', () => {
  it('stands by the URL alone: neither a Host header, nor another port, nor an address, nor another spelling changes it', async () => {
    const [good, bad] = [await callers.serve(stock, tellPeer), await callers.serve(await callers.open('test-team'), tellPeer)];
    await gateway.configure({
      'stock.yaml': serviceAt('stock', [good]),
      'team.yaml': serviceAt('team', [bad]),
      'enmesh/mesh.yaml': 'outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n',
    });
    const { mesh } = gateway;
    const host = { headers: { host: 'stock.shop.svc.cluster.local' } };
    await expect(mesh.request('http://team.shop.svc.cluster.local/', host)).rejects.toMatchObject({
      code: 'ENMESH_TLS_SECURE_NAMING',
    });
    for (const url of [
      'http://STOCK.shop.svc.cluster.local.:80/',
      'http://stock/',
      'http://stock.shop/',
      'http://stock.shop.svc/',
      'http://stock%E3%80%82shop/',
    ])
      expect(await (await mesh.request(url, { headers: { host: 'team.shop' } })).body.json()).toMatchObject({
        peer: uri,
        host: 'team.shop',
      });
    for (const url of [
      `http://127.0.0.1:${good}/`,
      'http://stock.shop.svc.cluster.local:81/',
      'http://stock.other/',
      'http://[::ffff:127.0.0.1]/',
    ])
      await expect(mesh.request(url, host)).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_UNDECLARED' });
  });

  it('is the same where an endpoint moves or its DNS name leads to another: the address proves nothing', async () => {
    const bad = await callers.serve(await callers.open('test-team'), tellPeer);
    const byName = serviceAt('stock', [bad]).replace('STATIC', 'DNS').replace('127.0.0.1', 'localhost');
    await gateway.configure({ 'stock.yaml': byName });
    await expect(gateway.mesh.request(stockUrl)).rejects.toMatchObject({ code: 'ENMESH_TLS_SECURE_NAMING' });
    const good = await callers.serve(stock, tellPeer);
    await gateway.configure({ 'stock.yaml': byName.replace(String(bad), String(good)) });
    expect(await (await gateway.mesh.request(stockUrl)).body.json()).toMatchObject({ peer: uri });
  });
});

describe('endpoints of one service', () => {
  it('that is dead is found so once for all clients of a mesh', async () => {
    const tried: number[] = [];
    const deaf = createHttpServer();
    deaf.on('connection', (socket) => {
      tried.push(1);
      socket.resetAndDestroy();
    });
    const dead = await listenOn(deaf);
    callers.ends.push(() => deaf.close());
    await declareStock([dead, await callers.serve(stock, tellPeer)]);
    const { fetch: meshFetch, request, agent } = gateway.mesh;
    for (let i = 0; i < 4; i++) {
      expect((await meshFetch(stockUrl)).status).toBe(200);
      expect((await request(stockUrl)).statusCode).toBe(200);
      expect((await axios.get(stockUrl, { httpAgent: agent, proxy: false })).status).toBe(200);
    }
    expect(tried).toHaveLength(1);
  });
});

describe('proxies of the environment', () => {
  const script = `
    import { createMesh } from '@enmesh/core';
    import { createPrivateKey } from 'node:crypto';
    import { get } from 'node:http';
    const { config, chain, key, root } = JSON.parse(process.env.TOLD);
    const hold = (value) => ({ current: () => value, watch: () => () => {} });
    const id = { uri: '${uri}', trustDomain: 'cluster.local', path: '/ns/shop/sa/gateway' };
    const svid = { id, chain, privateKey: createPrivateKey(key), notBefore: 0, notAfter: Date.now() + 600000, serial: '1' };
    const bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots: [root] }]]);
    const mesh = await createMesh({ namespace: 'shop', serviceAccount: 'gateway', config, identity: { svid: hold(svid), bundles: hold(bundles) }, log: false });
    const url = '${stockUrl}/';
    const seen = [await (await mesh.fetch(url)).text(), await (await mesh.request(url)).body.text(), await (await fetch(url, { dispatcher: mesh.dispatcher })).text()];
    seen.push(await new Promise((done, fail) => get(url, { agent: mesh.agent }, async (answer) => done(Buffer.concat(await answer.toArray()).toString())).on('error', fail)));
    console.log(JSON.stringify(seen.map((text) => JSON.parse(text).peer)));
    await mesh.close();
  `;

  it('are not asked, whatever variables name them', async () => {
    let asked = 0;
    const proxy = createHttpServer((_request, response) => void (asked++, response.end('{}'))).on(
      'connect',
      (_request, socket) => void (asked++, socket.end()),
    );
    const address = `http://127.0.0.1:${await listenOn(proxy)}`;
    callers.ends.push(() => (proxy.closeAllConnections(), proxy.close()));
    const port = await callers.serve(stock, tellPeer);
    const caller = await callers.open('gateway', { 'stock.yaml': serviceAt('stock', [port]) });
    const { chain, privateKey } = caller.identity.svid.current();
    const told = {
      config: caller.config,
      chain,
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      root: callers.authority.rootPem,
    };
    const names = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy', 'grpc_proxy'];
    const env = {
      PATH: process.env['PATH'],
      TOLD: JSON.stringify(told),
      NODE_USE_ENV_PROXY: '1',
      ...Object.fromEntries(names.map((name) => [name, address])),
    };
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: join(import.meta.dirname, '../..'),
      env,
    });
    let [out, problem] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (problem += chunk.toString()));
    await new Promise((done) => child.once('close', done));
    expect([out.trim(), problem.includes('Error')]).toEqual([JSON.stringify([uri, uri, uri, uri]), false]);
    expect(asked).toBe(0);
  });
});
