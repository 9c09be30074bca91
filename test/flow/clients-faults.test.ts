import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import axios from 'axios';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCallers, listenOn, serviceAt, type Caller, type Callers } from '../support/callers.js';
import { until } from '../support/waiting.js';

const stock = 'http://stock.shop.svc.cluster.local';

let callers: Callers;
let gateway: Caller;
let seen: string[];
const relays = new Map<number, Socket>();
let answers: Record<string, (socket: TLSSocket) => void>;
beforeEach(async () => {
  callers = await createCallers();
  seen = [];
  answers = {};
  gateway = await callers.open('gateway', { 'stock.yaml': serviceAt('stock', [await startStock()]) });
});
afterEach(() => callers.close());

const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** A peer that speaks TLS as stock and does to each request line what the test says; otherwise it answers. */
async function startStock(): Promise<number> {
  const svid = await callers.authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
  const key = svid.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const tls = { key, cert: svid.chain, ca: callers.authority.rootPem, requestCert: true, ALPNProtocols: ['http/1.1'] };
  const sockets = new Set<TLSSocket>();
  const server = createServer(tls, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const [, method = '', path = '', length = '0'] =
        /^(\w+) (\S+)(?:[^]*?content-length: (\d+))?[^]*?\r\n\r\n/i.exec(text) ?? [];
      const end = text.indexOf('\r\n\r\n') + 4;
      if (end < 4 || text.length < end + Number(length)) return;
      text = '';
      seen.push(`${method} ${path}`);
      const answer = answers[path];
      if (answer === undefined) socket.write(whole);
      else answer(socket);
    });
  });
  const port = await listenOn(server);
  const relay = createTcpServer((client) => {
    const upstream = connect(port, '127.0.0.1', () => relays.set(Number(upstream.localPort), client));
    for (const each of [client, upstream]) each.on('error', () => {});
    client.pipe(upstream).pipe(client);
    client.once('close', () => upstream.destroy());
  });
  callers.ends.push(() => {
    for (const socket of sockets) socket.destroy();
    for (const client of relays.values()) client.destroy();
    return Promise.all([server, relay].map((each) => new Promise((done) => each.close(done))));
  });
  return listenOn(relay);
}

/** Cuts the TCP connection under a TLS one, by a reset. */
const reset = (socket: TLSSocket): void => void relays.get(Number(socket.remotePort))?.resetAndDestroy();

/** How a peer may go, once it has the whole request. */
const ends: Record<string, (socket: TLSSocket) => void> = {
  'that closes': (socket) => void socket.end(),
  'that resets': (socket) => void reset(socket),
  'that dies within its answer': (socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy()),
  'that dies within its header': (socket) => void socket.write('HTTP/1.1 200 O', () => socket.destroy()),
};

type Send = (mesh: Caller['mesh'], method: string, path: string, attempts?: number) => Promise<number>;
const post = (method: string): { body?: string } => (method === 'POST' ? { body: 'order=1' } : {});
const retry = (attempts: number | undefined): object => (attempts === undefined ? {} : { retry: { attempts } });
const clients: Record<string, Send> = {
  'mesh.fetch': async (mesh, method, path, attempts) => {
    const answer = await mesh.fetch(stock + path, { method, ...post(method), ...retry(attempts) });
    await answer.text();
    return answer.status;
  },
  'mesh.request': async (mesh, method, path, attempts) => {
    const answer = await mesh.request(stock + path, { method: method as 'GET', ...post(method), ...retry(attempts) });
    await answer.body.text();
    return answer.statusCode;
  },
  'axios with mesh.agent': async (mesh, method, path) => {
    return (
      await axios.request({ url: stock + path, method, data: post(method).body ?? null, httpAgent: mesh.agent, proxy: false })
    ).status;
  },
};

describe.each(Object.entries(clients))('%s', (_name, send) => {
  it.each(Object.entries(ends))('tells of a peer %s, and has sent the request once', async (_how, end) => {
    answers['/go'] = end;
    // On a new connection, and on one that has served before.
    for (const method of ['POST', 'GET']) {
      await expect(send(gateway.mesh, method, '/go')).rejects.toThrow();
      expect(await send(gateway.mesh, 'GET', '/well')).toBe(200);
      await expect(send(gateway.mesh, method, '/go')).rejects.toThrow();
    }
    expect(seen.filter((line) => line === 'POST /go')).toHaveLength(2);
    expect(seen.filter((line) => line === 'GET /go')).toHaveLength(2);
  });
});

describe.each(Object.entries(clients).slice(0, 2))('%s with retry', (_name, send) => {
  it('sends an idempotent request again when the connection broke before the answer, as often as asked', async () => {
    let left = 2;
    answers['/go'] = (socket) => void (left-- > 0 ? reset(socket) : socket.write(whole));
    expect(await send(gateway.mesh, 'GET', '/go', 3)).toBe(200);
    left = 9;
    await expect(send(gateway.mesh, 'DELETE', '/go', 3)).rejects.toThrow();
    expect(seen).toEqual([...Array<string>(3).fill('GET /go'), ...Array<string>(3).fill('DELETE /go')]);
  });

  it('never sends a POST twice, nor anything whose answer had begun', async () => {
    answers['/go'] = (socket) => void reset(socket);
    answers['/half'] = ends['that dies within its answer'] as (socket: TLSSocket) => void;
    await expect(send(gateway.mesh, 'POST', '/go', 5)).rejects.toThrow();
    await expect(send(gateway.mesh, 'GET', '/half', 5)).rejects.toThrow();
    expect(seen).toEqual(['POST /go', 'GET /half']);
  });

  it('takes no number that is none', async () => {
    for (const attempts of [0, 6, 1.5, NaN]) await expect(send(gateway.mesh, 'GET', '/', attempts)).rejects.toThrow(TypeError);
    expect(seen).toEqual([]);
  });
});

describe('a peer that goes silent', () => {
  it('is given up when the caller says, and the request is not sent again', async () => {
    answers['/go'] = () => {};
    const call = gateway.mesh.request(`${stock}/go`, { headersTimeout: 300, retry: { attempts: 5 } });
    await expect(call).rejects.toMatchObject({ code: 'UND_ERR_HEADERS_TIMEOUT' });
    // Sent it was; a busy peer may read it later than the caller has patience.
    await until(() => seen.length > 0);
    expect(seen).toEqual(['GET /go']);
  });
});

describe('a retry', () => {
  it('is not made of a body that can be read once, nor of a call its caller has given up, nor of a refusal', async () => {
    const { mesh, configure } = gateway;
    const attempts = { retry: { attempts: 5 } };
    answers['/go'] = (socket) => void reset(socket);
    const once = async function* () {
      yield 'streamed';
    };
    const headers = { 'content-length': '8' };
    await expect(mesh.request(`${stock}/go`, { method: 'PUT', headers, body: once() as never, ...attempts })).rejects.toThrow();
    const controller = new AbortController();
    answers['/gone'] = (socket) => {
      controller.abort();
      reset(socket);
    };
    await expect(mesh.request(`${stock}/gone`, { signal: controller.signal, ...attempts })).rejects.toThrow();
    await configure({ 'stock.yaml': serviceAt('stock', [1]).replace('serviceAccount: stock', 'serviceAccount: other') });
    await expect(mesh.request(`${stock}/go`, attempts)).rejects.toMatchObject({ code: 'ENMESH_OUTBOUND_CONNECT' });
    expect(seen).toEqual(['PUT /go', 'GET /gone']);
  });
});
