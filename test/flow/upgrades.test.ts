import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent, type ServerOptions } from '@enmesh/core';
import { connect, createHouse, open, type House } from '../support/house.js';
import { closed, heard } from '../support/waiting.js';
import { peerAuthentication } from '../support/documents.js';

const permissive = `${peerAuthentication('PERMISSIVE')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
`;
const allow = (rule: string): string => `${permissive}---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec: {rules: [${rule}]}
`;
const gateway = 'from: [{source: {principals: ["cluster.local/ns/shop/sa/gateway"]}}]';
const users = 'from: [{source: {requestPrincipals: ["*"]}}]';

let house: House;
let notices: NoticeEvent[];
let stop: () => void;
const clients: Socket[] = [];
beforeEach(() => {
  notices = [];
  stop = noticeEvents.subscribe((notice) => notices.push(notice));
});
afterEach(async () => {
  stop();
  for (const client of clients.splice(0)) client.destroy();
  await house.close();
});

const ended = (): NoticeEvent[] => notices.filter(({ kind }) => kind === 'stream-ended');

/** A server that answers an upgrade and then sends back what it gets, as `chat`; anything else streams events. */
async function openServer(options: ServerOptions = {}, onSocket: (socket: Duplex) => void = () => {}): Promise<number> {
  const server = house.mesh.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: one\n\n');
  }, options);
  server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n');
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => socket.write(chunk));
    onSocket(socket);
  });
  return open(server);
}

async function call(port: number, headers: Record<string, string>, as?: Awaited<ReturnType<House['svid']>>): Promise<Socket> {
  const socket = connect({ port, as, roots: [house.authority.rootPem] });
  clients.push(socket.on('error', () => {}));
  const lines = Object.entries({ Host: 'product', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET /chat?room=1 HTTP/1.1\r\n${lines.join('')}\r\n`);
  const [chunk] = await heard<[Buffer]>(socket, 'data');
  expect(chunk.toString('latin1')).toMatch(/^HTTP\/1\.1 (101|200) /);
  return socket;
}

const upgrade = { Connection: 'upgrade', Upgrade: 'chat' };

async function echo(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  return String((await heard(socket, 'data'))[0]);
}

describe('an upgraded connection', () => {
  it('ends when a policy comes into force that would refuse its request, with a notice that says which; others go on', async () => {
    house = await createHouse(allow(`{${gateway}}, {${users}}`));
    const port = await openServer();
    const token = await house.issuer.sign({ sub: 'ada' });
    const service = await call(port, upgrade, await house.svid('gateway'));
    const user = await call(port, { ...upgrade, Authorization: `Bearer ${token}` });
    await house.write('policies.yaml', allow(`{${gateway}}`));
    await closed(user);
    expect(await echo(service, 'still here')).toBe('still here');
    expect(ended()).toEqual([
      expect.objectContaining({
        code: 'ENMESH_POLICY_DENIED',
        message:
          'an open upgraded connection of GET /chat was ended, because its request would be refused now: no rule matched of ALLOW policy shop/callers',
        details: expect.objectContaining({
          step: 'authorize',
          path: '/chat',
          decision: expect.objectContaining({ allowed: false, reason: 'no-allow-matched' }) as unknown,
        }) as unknown,
      }),
    ]);
    expect(JSON.stringify(notices)).not.toContain(token);
  });

  it('ends when its token has expired', async () => {
    let now = Date.now();
    house = await createHouse(allow(`{${users}}`), { clock: () => now });
    const port = await openServer();
    const socket = await call(port, {
      ...upgrade,
      Authorization: `Bearer ${await house.issuer.sign({ sub: 'ada' }, { expiresIn: 300 })}`,
    });
    now += 200_000;
    await house.write('more.yaml', '# sweep');
    expect(await echo(socket, 'in time')).toBe('in time');
    now += 200_000;
    await house.write('more.yaml', '# sweep again');
    await closed(socket);
    expect(ended().map(({ code }) => code)).toEqual(['ENMESH_JWT_EXPIRED']);
  });

  it('ends when the keys of its issuer are no longer those of its token', async () => {
    house = await createHouse(allow(`{${users}}`));
    const port = await openServer();
    const socket = await call(port, { ...upgrade, Authorization: `Bearer ${await house.issuer.sign({ sub: 'ada' })}` });
    await house.issuer.rotate();
    await house.write('policies.yaml', allow(`{${users}}`));
    await closed(socket);
    expect(ended().map(({ details }) => details?.['step'])).toEqual(['jwt']);
  });

  it('of a WebSocket library that shows its WebSocket is closed by it with 1008', async () => {
    house = await createHouse(allow(`{${gateway}}`));
    const closes: unknown[] = [];
    const port = await openServer({}, (socket) => {
      const close = (code: number, reason: string): void => {
        closes.push([code, reason]);
        socket.end('goodbye');
      };
      Object.assign(socket, { [Symbol('websocket')]: { close } });
    });
    const socket = await call(port, upgrade, await house.svid('gateway'));
    const last = heard(socket, 'data');
    await house.write('policies.yaml', allow(`{${users}}`));
    expect(String((await last)[0])).toBe('goodbye');
    expect(closes).toEqual([[1008, 'no longer authorized']]);
  });

  it('ends when the port of a plaintext one becomes STRICT', async () => {
    house = await createHouse(permissive);
    const port = await openServer();
    const plain = await call(port, upgrade);
    await house.write('policies.yaml', permissive.replace('PERMISSIVE', 'STRICT'));
    await closed(plain);
    expect(notices.filter(({ kind }) => kind === 'connections-ended').map(({ code }) => code)).toEqual([
      'ENMESH_TLS_PLAINTEXT_REFUSED',
    ]);
  });

  it('stays where judging open exchanges again is switched off', async () => {
    house = await createHouse(allow(`{${gateway}}`));
    const port = await openServer({ rejudgeOpen: false });
    const socket = await call(port, upgrade, await house.svid('gateway'));
    await house.write('policies.yaml', allow(`{${users}}`));
    for (let turn = 0; turn < 5; turn++) await new Promise((done) => setImmediate(done));
    expect(await echo(socket, 'still here')).toBe('still here');
    expect(ended()).toEqual([]);
  });
});

describe('server-sent events', () => {
  it('end unfinished once they have been open for 5 s and their request would be refused', async () => {
    house = await createHouse(allow(`{${gateway}}, {${users}}`));
    const port = await openServer();
    const gone = await call(port, { Authorization: `Bearer ${await house.issuer.sign({ sub: 'ada' })}` });
    const stays = await call(port, {}, await house.svid('gateway'));
    let received = '';
    gone.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    await house.write('more.yaml', '# seen first');
    await new Promise((done) => setTimeout(done, 5_100));
    await house.write('policies.yaml', allow(`{${gateway}}`));
    await closed(gone);
    // The last chunk of a whole response is empty.
    expect(received).not.toContain('\r\n0\r\n');
    expect(stays.destroyed).toBe(false);
    expect(ended().map(({ message }) => message)).toEqual([expect.stringMatching(/^an open response of GET \/chat was ended/)]);
  });
});
