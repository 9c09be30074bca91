import { createServer, IncomingMessage, request as httpRequest, ServerResponse } from 'node:http';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as inbound from '@enmesh/core/inbound';
import { openWitness, refusals, statusesIn, type Witness } from '../../support/attack.js';
import { connect, createHouse, open, send, sendRaw, type House } from '../../support/house.js';

// Expect: 100-continue, CONNECT, and one decision per request on every framework: test/adapters/door.test.ts.
// A middleware that was forgotten, or registered late: test/adapters/middleware.test.ts.
let house: House;
let witness: Witness;
beforeAll(async () => {
  house = await createHouse(refusals);
  witness = await openWitness(house.mesh);
});
afterAll(() => house.close());

describe('rule 10: whatever happens behind the door, nothing undecided is handled', () => {
  it('listeners that are added, put first, or put in the place of the first one stay behind it', async () => {
    const reached: string[] = [];
    const server = house.mesh.createServer((_request, response) => void response.end('first'));
    const note = (name: string) => (request: IncomingMessage) => void reached.push(`${name} ${request.url}`);
    server.on('request', note('on'));
    server.prependListener('request', note('prepended'));
    server.once('request', note('once'));
    const port = await open(server);
    expect((await send({ port }, 'GET', '/private')).status).toBe(403);
    expect(reached).toEqual([]);
    expect((await send({ port }, 'GET', '/public')).status).toBe(200);
    expect(reached).toEqual(['prepended /public', 'on /public', 'once /public']);

    server.removeAllListeners('request');
    for (const event of ['request', 'checkContinue', 'checkExpectation'])
      server.on(event, (request: IncomingMessage, response: ServerResponse) => {
        reached.push(request.url ?? '');
        response.end('replaced');
      });
    for (const expectation of ['100-continue', 'something-else']) {
      const headers = [['Expect', expectation]] as const;
      expect((await send({ port }, 'GET', '/private', headers)).status).toBe(403);
      expect((await send({ port }, 'GET', '/public', headers)).body).toBe('replaced');
    }
    expect(reached.filter((url) => url.includes('private'))).toEqual([]);
  });

  it('taking away the listeners that the door itself has opens nothing', async () => {
    const server = house.mesh.createServer(() => {});
    for (const event of ['connect', 'checkContinue', 'request', 'listening', 'upgrade']) server.removeAllListeners(event);
    const reached: string[] = [];
    server.on('request', (request, response) => {
      reached.push(request.url ?? '');
      response.end('ok');
    });
    const port = await open(server);
    // Node then asks for the body first, and hands nothing over for it.
    expect(statusesIn((await send({ port }, 'GET', '/private', [['Expect', '100-continue']])).bytes).at(-1)).toBe(403);
    expect((await sendRaw({ port }, 'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n')).bytes).not.toContain('200');
    expect((await send({ port }, 'GET', '/public')).status).toBe(200);
    expect(reached).toEqual(['/public']);
  });

  it('a request that application code emits on the server is judged like any other', async () => {
    const { server } = witness;
    const before = witness.reached.length;
    const request = new IncomingMessage(new PassThrough() as never);
    Object.assign(request, { method: 'GET', url: '/private', httpVersion: '1.1' });
    const response = new ServerResponse(request);
    server.emit('request', request, response);
    await new Promise((done) => setImmediate(done));
    expect(response.statusCode).toBe(403);
    expect(witness.reached).toHaveLength(before);
  });

  it('a second copy of the packages in the process knows what the first has decided, and decides nothing for a mesh it does not know', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'enmesh-copy-'));
    const root = resolve(import.meta.dirname, '../../..');
    for (const part of ['dist', 'src']) cpSync(join(root, 'packages/core', part), join(directory, part), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'), 'junction');
    writeFileSync(join(directory, 'package.json'), '{"type": "module"}');
    const copy = (await import(pathToFileURL(join(directory, 'dist/inbound/index.js')).href)) as typeof inbound;
    expect(copy.enforce).not.toBe(inbound.enforce);
    const entrance = { router: copy.bareRouter, workloadPort: undefined, mayRewrite: false };
    const passed: (string | undefined)[] = [];
    const app = (request: IncomingMessage, response: ServerResponse): void => {
      if (copy.enforce(house.mesh, request, response, { entrance, next: () => void passed.push(request.url) }))
        response.end('ok');
    };
    const behind = await open(house.mesh.createServer(app));
    expect((await send({ port: behind }, 'GET', '/public')).status).toBe(200);
    expect((await send({ port: behind }, 'GET', '/private')).status).toBe(403);
    expect(passed).toEqual(['/public']);

    const plain = createServer((request, response) => {
      try {
        app(request, response);
      } catch (error) {
        response.writeHead(500).end((error as Error).name);
      }
    });
    expect(await send({ port: await open(plain) }, 'GET', '/public')).toMatchObject({ status: 500, body: 'TypeError' });
    expect(passed).toEqual(['/public']);
    plain.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('what a handler says about req.enmesh on a prototype decides nothing', async () => {
    const spoofed = Object.create(IncomingMessage.prototype, { enmesh: { value: { decision: { allowed: true } } } }) as object;
    const port = await open(
      house.mesh.createServer((request, response) => {
        Object.setPrototypeOf(request, spoofed);
        response.end('ok');
      }),
    );
    expect((await send({ port }, 'GET', '/public')).status).toBe(200);
    expect((await send({ port }, 'GET', '/private')).status).toBe(403);
  });
});

describe('rule 10: upgrades', () => {
  const upgrade = [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Key', 'x3JJHMbDL1EzLkh9GBhXDw=='],
    ['Sec-WebSocket-Version', '13'],
  ] as const;

  it('reach the application when their GET is allowed, and only then', async () => {
    const upgraded: (string | undefined)[] = [];
    const server = house.mesh.createServer((_request, response) => void response.end('a plain answer'));
    server.on('upgrade', (request: IncomingMessage, socket) => {
      upgraded.push(request.url);
      socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nframes');
    });
    const port = await open(server);
    expect((await send({ port }, 'GET', '/private', upgrade)).status).toBe(403);
    expect((await send({ port }, 'GET', '/x/../private', upgrade)).status).toBe(403);
    expect(upgraded).toEqual([]);
    const allowed = await send({ port }, 'GET', '/public', upgrade);
    expect(allowed.bytes).toContain('101 Switching Protocols');
    expect(allowed.bytes).toContain('frames');
    expect(upgraded).toEqual(['/public']);
  });

  it('that nobody listens for are requests like others', async () => {
    const { port } = witness;
    expect((await send({ port }, 'GET', '/private', [...upgrade, ['Connection', 'close']])).status).toBe(403);
    expect((await send({ port }, 'GET', '/public', [...upgrade, ['Connection', 'close']])).status).toBe(200);
  });

  it('to HTTP/2 in the clear are not taken', async () => {
    const answer = await send({ port: witness.port }, 'GET', '/public', [
      ['Connection', 'Upgrade, HTTP2-Settings, close'],
      ['Upgrade', 'h2c'],
      ['HTTP2-Settings', 'AAMAAABkAARAAAAAAAIAAAAA'],
    ]);
    expect(answer.bytes).not.toContain('101');
  });
});

describe('the process', () => {
  it('lives on when clients break off at every byte of a request', async () => {
    const bytes = 'POST /public HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
    for (let length = 0; length < bytes.length; length++)
      await new Promise<void>((done) => {
        const socket = connect({ port: witness.port });
        socket.on('error', () => {});
        socket.write(bytes.slice(0, length), () => socket.destroy());
        socket.on('close', () => done());
      });
    await new Promise<void>((done, fail) => {
      httpRequest({ port: witness.port, host: '127.0.0.1', path: '/public', agent: false }, (response) => {
        expect(response.statusCode).toBe(200);
        response.resume().on('end', done);
      })
        .on('error', fail)
        .end();
    });
  });
});
