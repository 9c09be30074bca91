import { request as httpsRequest, Agent, type RequestOptions } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { clientCertificate, readToEnd, startLab, type Lab } from '../../../../test/support/tls-lab.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority } from '../testing/authority.js';
import { connectionsOf } from './connections.js';
import { drainServer } from './drain.js';
import { heard, until } from '../../../../test/support/waiting.js';

let stock: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  stock = await (await createTestAuthority()).identity({ namespace: 'shop', serviceAccount: 'stock' });
});

afterEach(() => lab.close());

/** Holds every request until the test answers it. */
function holdRequests(): ServerResponse[] {
  const held: ServerResponse[] = [];
  lab.server.removeAllListeners('request');
  lab.server.on('request', (_request: IncomingMessage, response: ServerResponse) => held.push(response));
  return held;
}

function options(agent?: Agent): RequestOptions {
  return {
    port: lab.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...clientCertificate(stock),
    ...(agent === undefined ? {} : { agent }),
  };
}

function call(agent?: Agent): Promise<{ status: number; connection: string | undefined; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(options(agent), (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, connection: response.headers.connection, text }));
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function connected(): Promise<TLSSocket> {
  const socket = connect({ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ...clientCertificate(stock) });
  socket.on('error', () => {});
  await heard(socket, 'secureConnect');
  return socket;
}

describe('drainServer', () => {
  it('ends idle, unused and silent connections at once and takes no new one', async () => {
    lab = await startLab(stock);
    const agent = new Agent({ keepAlive: true });
    await call(agent);
    const unused = await connected();
    const silent = connectTcp(lab.port, '127.0.0.1');
    await heard(silent, 'connect');
    await until(() => connectionsOf(lab.server).size === 2);
    const ends = [readToEnd(unused), readToEnd(silent)];
    await drainServer(lab.server, { deadlineMs: 60_000 });
    await Promise.all(ends);
    await expect(call()).rejects.toThrow('ECONNREFUSED');
    agent.destroy();
  });

  it('lets a request in flight finish, says Connection: close, and then ends its connection', async () => {
    lab = await startLab(stock);
    const held = holdRequests();
    const agent = new Agent({ keepAlive: true });
    const answer = call(agent);
    await until(() => held.length === 1);
    const drained = drainServer(lab.server, { deadlineMs: 60_000 });
    held[0]?.end('done');
    expect(await answer).toEqual({ status: 200, connection: 'close', text: 'done' });
    await drained;
    agent.destroy();
  });

  it('lets a response that has begun finish, and ends its connection after it', async () => {
    lab = await startLab(stock);
    const held = holdRequests();
    const agent = new Agent({ keepAlive: true });
    const answer = call(agent);
    await until(() => held.length === 1);
    held[0]?.write('first, ');
    const drained = drainServer(lab.server, { deadlineMs: 60_000 });
    held[0]?.end('second');
    expect((await answer).text).toBe('first, second');
    await drained;
    agent.destroy();
  });

  it('serves a request whose head had begun to arrive', async () => {
    lab = await startLab(stock);
    const socket = await connected();
    const outcome = readToEnd(socket);
    socket.write('GET / HTTP/1.1\r\n');
    await until(() => [...connectionsOf(lab.server)].some((one) => (one as TLSSocket).bytesRead > 0));
    const drained = drainServer(lab.server, { deadlineMs: 60_000 });
    socket.write('Host: stock\r\n\r\n');
    expect((await outcome).text).toMatch(/^HTTP\/1.1 200 .*Connection: close.*served/s);
    await drained;
  });

  it('cuts what is left at the deadline, upgraded sockets among it', async () => {
    lab = await startLab(stock);
    const held = holdRequests();
    lab.server.on('upgrade', (_request, socket) =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n'),
    );
    const upgraded = await connected();
    upgraded.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    await heard(upgraded, 'data');
    const ended = readToEnd(upgraded);
    const stuck = call();
    await until(() => held.length === 1);
    const drained = drainServer(lab.server, { deadlineMs: 60 });
    await expect(stuck).rejects.toThrow();
    await ended;
    await drained;
    expect(connectionsOf(lab.server).size).toBe(0);
  });

  it('closes a WebSocket whose library shows it with 1001, long before the deadline', async () => {
    lab = await startLab(stock);
    const closes: unknown[] = [];
    lab.server.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n');
      const close = (...args: unknown[]): void => {
        closes.push(args);
        socket.end();
      };
      Object.assign(socket, { [Symbol('websocket')]: { close } });
    });
    const upgraded = await connected();
    upgraded.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n');
    await heard(upgraded, 'data');
    const ended = readToEnd(upgraded);
    await drainServer(lab.server, { deadlineMs: 60_000 });
    await ended;
    expect(closes).toEqual([[1001, 'going away']]);
  });

  it('is one drain however often it is called', async () => {
    lab = await startLab(stock);
    const first = drainServer(lab.server);
    expect(drainServer(lab.server)).toBe(first);
    await first;
    await drainServer(lab.server);
  });

  it('waits for the connections of a server that was closed already', async () => {
    lab = await startLab(stock);
    const held = holdRequests();
    const answer = call();
    await until(() => held.length === 1);
    lab.server.close();
    const drained = drainServer(lab.server, { deadlineMs: 60_000 });
    let isDrained = false;
    void drained.then(() => (isDrained = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDrained).toBe(false);
    held[0]?.end('done');
    expect((await answer).text).toBe('done');
    await drained;
  });
});
