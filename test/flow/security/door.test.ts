import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { createServer, IncomingMessage, request as httpRequest, ServerResponse } from 'node:http';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as inbound from '@enmesh/core/inbound';
import { enmesh, listen } from '@enmesh/express';
import { enmesh as fastifyPlugin, serverFactory } from '@enmesh/fastify';
import { openWitness, statusesIn, type Witness } from '../../support/attack.js';
import { connect, createHouse, open, send, sendRaw, type House } from '../../support/house.js';

// Expect: 100-continue, CONNECT, and one decision per request on every framework: test/adapters/door.test.ts.
// A middleware that was forgotten, or registered late: test/adapters/middleware.test.ts.
const policies = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: refusals, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/private", "/private/*"]}}]
  - to: [{operation: {methods: ["DELETE"]}}]
  - to: [{operation: {hosts: ["admin.shop"]}}]
`;

let house: House;
let witness: Witness;
beforeAll(async () => {
  house = await createHouse(policies);
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

describe('rule 12: one request is one request', () => {
  const inner = 'GET /private HTTP/1.1\r\nHost: a\r\n\r\n';
  const head = (lines: string): string => `POST /outer HTTP/1.1\r\nHost: a\r\n${lines}\r\n\r\n`;
  const chunked = `0\r\n\r\n${inner}`;
  it.each([
    ['Content-Length and Transfer-Encoding', head(`Content-Length: ${chunked.length}\r\nTransfer-Encoding: chunked`) + chunked],
    ['Transfer-Encoding and Content-Length', head(`Transfer-Encoding: chunked\r\nContent-Length: 5`) + chunked],
    ['two Content-Lengths', head(`Content-Length: 0\r\nContent-Length: ${inner.length}`) + inner],
    ['a list of Content-Lengths', head(`Content-Length: 0, ${inner.length}`) + inner],
    ['a signed Content-Length', head(`Content-Length: +0`) + inner],
    ['a hexadecimal Content-Length', head(`Content-Length: 0x10`) + inner],
    ['a blank inside a Content-Length', head(`Content-Length: 0 0`) + inner],
    ['a Content-Length name with a blank', head(`Content-Length : 0`) + inner],
    ['Transfer-Encoding: xchunked', head(`Transfer-Encoding: xchunked\r\nContent-Length: 0`) + chunked],
    ['Transfer-Encoding: chunked, identity', head(`Transfer-Encoding: chunked, identity`) + chunked],
    [
      'Transfer-Encoding with a vertical tab',
      head(`Transfer-Encoding:\x0bchunked\r\nContent-Length: ${chunked.length}`) + chunked,
    ],
    ['a Transfer-Encoding name with a blank', head(`Transfer-Encoding : chunked\r\nContent-Length: ${chunked.length}`) + chunked],
    ['a folded Transfer-Encoding', head(`X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0`) + inner],
    ['two Transfer-Encodings', head(`Transfer-Encoding: chunked\r\nTransfer-Encoding: identity`) + chunked],
    ['a bare line feed between headers', `POST /outer HTTP/1.1\nHost: a\nContent-Length: 0\n\n${inner}`],
    ['a bare line feed that hides a header', head(`X: y\nContent-Length: ${inner.length}`) + inner],
    ['a bare carriage return that hides a header', head(`X: y\rContent-Length: ${inner.length}`) + inner],
    ['NUL in a header', head(`X: y\0z`) + inner],
    ['a chunk size too large', head(`Transfer-Encoding: chunked`) + `fffffffffffffffff\r\n\r\n${inner}`],
    ['a signed chunk size', head(`Transfer-Encoding: chunked`) + `-1\r\n\r\n${inner}`],
    ['a chunk that ends in a line feed', head(`Transfer-Encoding: chunked`) + `1\nX\n0\n\n${inner}`],
    ['a chunk extension with a line feed', head(`Transfer-Encoding: chunked`) + `0;a=b\n\n${inner}`],
    ['HTTP/1.0 with Transfer-Encoding', `POST /outer HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`],
    ['an HTTP/2 preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${inner}`],
    ['a request line without a version', `GET /outer\r\n\r\n${inner}`],
  ])('%s: the hidden request is never handled unjudged', async (_what, bytes) => {
    const before = witness.reached.length;
    const socket = connect({ port: witness.port });
    const received = await new Promise<string>((done) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
      socket.on('error', () => {});
      socket.on('close', () => done(text));
      socket.end(bytes, 'latin1');
    });
    const reached = witness.reached.slice(before).map(({ url }) => url);
    expect(reached.filter((url) => url !== '/outer')).toEqual([]);
    expect(reached.length).toBeLessThanOrEqual(1);
    // Either an error for the whole, or the hidden bytes were a request of their own, which policy then refused.
    expect(statusesIn(received).filter((status) => status === 200).length).toBeLessThanOrEqual(1);
  });

  it('pipelined requests are each judged: an allowed one opens nothing for the next', async () => {
    const before = witness.reached.length;
    const one = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
    const answer = await sendRaw(
      { port: witness.port },
      one('/public/1') + one('/private') + one('/public/2') + one('/private/x') + one('/public/3', 'Connection: close\r\n'),
    );
    expect(statusesIn(answer.bytes)).toEqual([200, 403, 200, 403, 200]);
    expect(
      witness.reached
        .slice(before)
        .map(({ url }) => url)
        .sort(),
    ).toEqual(['/public/1', '/public/2', '/public/3']);
  });

  it('the body of a refused request is no next request', async () => {
    const body = inner.replace('/private', '/public/smuggled');
    const before = witness.reached.length;
    for (const framing of [
      `Content-Length: ${body.length}\r\n\r\n${body}`,
      `Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]) {
      const answer = await sendRaw({ port: witness.port }, `POST /private HTTP/1.1\r\nHost: a\r\n${framing}`);
      expect(statusesIn(answer.bytes)).toEqual([403]);
    }
    expect(witness.reached).toHaveLength(before);
  });
});

describe('methods and hosts', () => {
  it('a HEAD, a preflight and a method override are judged by what they are', async () => {
    const { port } = witness;
    expect(await send({ port }, 'HEAD', '/private')).toMatchObject({ status: 403, body: '' });
    const preflight = [
      ['Origin', 'https://elsewhere.example'],
      ['Access-Control-Request-Method', 'GET'],
    ] as const;
    expect((await send({ port }, 'OPTIONS', '/private', preflight)).status).toBe(403);
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override']) {
      expect((await send({ port }, 'DELETE', '/public', [[name, 'GET']])).status).toBe(403);
      expect((await send({ port }, 'POST', '/private', [[name, 'GET']])).status).toBe(403);
    }
  });

  it.each(['GET', 'POST', 'DELETE', 'TRACE'])('%s * is refused: the target belongs to OPTIONS', async (method) => {
    expect((await send({ port: witness.port }, method, '*')).status).toBe(400);
  });

  it.each([
    ['/', 'admin.shop'],
    ['/', 'ADMIN.Shop'],
    ['/', 'admin.shop:80'],
    ['/', 'admin.shop:8080'],
    ['/', 'admin.shop:'],
    ['/', 'admin.shop.'],
    ['/', 'Admin.Shop.:443'],
    ['/', 'someone@admin.shop'],
    ['/', 'public.shop@admin.shop:80'],
    ['http://admin.shop/', 'public.shop'],
    ['http://admin.shop:80/', 'public.shop'],
    ['HTTP://ADMIN.SHOP./', 'public.shop'],
    ['https://admin.shop', 'public.shop'],
  ])('DENY on a host holds for target %s with Host %s', async (target, host) => {
    expect((await send({ port: witness.port }, 'GET', target, [['Host', host]])).status).toBe(403);
  });

  it.each([
    ['http://public.shop@admin.shop/', 'public.shop'],
    ['http://admin.shop:80:80/', 'public.shop'],
    ['http:///public', 'public.shop'],
    ['ftp://public.shop/', 'public.shop'],
    ['admin.shop:80', 'public.shop'],
    ['/', 'admin.shop:x'],
    ['/', 'admin.shop:80:80'],
    ['/', 'public.shop, admin.shop'],
    ['/', 'public.shop/admin.shop'],
  ])('target %s with Host %s is read by nobody', async (target, host) => {
    expect((await send({ port: witness.port }, 'GET', target, [['Host', host]])).status).toBe(400);
  });

  it('the host that is judged is the host that is handed over', async () => {
    const answer = await send({ port: witness.port }, 'GET', 'http://public.shop/x', [['Host', 'admin.shop']]);
    expect(answer.status).toBe(200);
    expect(answer.body).not.toContain('admin.shop');
  });
});

describe('rule 3: frameworks that rewrite', () => {
  it('Fastify with rewriteUrl is refused at the door, and judged by the path it routes in the plugin', async () => {
    const rewriteUrl = (request: IncomingMessage): string => (request.url ?? '').replace('/alias', '/private');
    expect(() => Fastify({ rewriteUrl, serverFactory: serverFactory(house.mesh) as never })).toThrow(/rewriteUrl/);
    const app = Fastify({ rewriteUrl });
    await app.register(fastifyPlugin, { mesh: house.mesh });
    app.get('/private', () => 'reached');
    app.get('/public', () => 'reached');
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as { port: number };
    expect((await send({ port }, 'GET', '/alias')).status).toBe(403);
    expect((await send({ port }, 'GET', '/public')).status).toBe(200);
    await app.close();
  });

  it('the plugin decides nothing over HTTP/2, which has other headers, and refuses it', async () => {
    const app = Fastify({ http2: true });
    await app.register(fastifyPlugin as never, { mesh: house.mesh } as never);
    app.get('/public', () => 'reached');
    await app.listen({ port: 0, host: '127.0.0.1' });
    const session = connectHttp2(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`);
    const stream = session.request({ ':path': '/public', ':authority': 'admin.shop' });
    const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
    expect(headers[':status']).toBe(500);
    session.destroy();
    await app.close();
  });

  it('Fastify routes by the host that was judged', async () => {
    const app = Fastify({ serverFactory: serverFactory(house.mesh) as never });
    app.get('/', { constraints: { host: 'admin.shop' } }, () => 'the admin');
    app.get('/', { constraints: { host: /^admin\.shop/i } }, () => 'the admin');
    app.get('/', () => 'anyone');
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as { port: number };
    for (const [target, host] of [
      ['/', 'admin.shop'],
      ['/', 'Admin.shop:80'],
      ['http://admin.shop/', 'public.shop'],
    ] as const) {
      const { status, body } = await send({ port }, 'GET', target, [['Host', host]]);
      expect({ status, body }).toEqual({ status: 403, body: 'RBAC: access denied' });
    }
    expect((await send({ port }, 'GET', 'http://public.shop/', [['Host', 'admin.shop']])).body).toBe('anyone');
    await app.close();
  });

  it.each([
    ['Express 5', express5],
    ['Express 4', express4 as unknown as typeof express5],
  ])('%s: the middleware judges the path that the routers behind it get', async (_name, framework) => {
    const app = framework();
    app.use((request, _response, next) => {
      request.url = request.url.replace('/alias', '/private');
      next();
    });
    app.use(enmesh(house.mesh));
    app.get('/private', (_request, response) => void response.end('reached'));
    app.get('/public', (_request, response) => void response.end('reached'));
    const server = createServer(app);
    const port = await open(server);
    expect((await send({ port }, 'GET', '/alias')).status).toBe(403);
    expect((await send({ port }, 'GET', '/private')).status).toBe(403);
    expect((await send({ port }, 'GET', '/public?x=1')).status).toBe(200);
    server.close();
  });

  it.each([
    ['Express 5', express5],
    ['Express 4', express4 as unknown as typeof express5],
  ])('%s: a middleware at a mount point judges the whole path', async (_name, framework) => {
    const app = framework();
    const inner = framework.Router();
    inner.get('/', (_request, response) => void response.end('reached'));
    inner.get('/public', (_request, response) => void response.end('reached'));
    for (const mount of ['/private', '/open']) app.use(mount, enmesh(house.mesh), inner);
    const server = createServer(app);
    const port = await open(server);
    for (const target of ['/private', '/private/', '/private?x', '/private/public', '/PRIVATE/public'])
      expect([target, (await send({ port }, 'GET', target)).status]).toEqual([target, 403]);
    for (const target of ['/open', '/open/', '/open?x=1', '/open/public'])
      expect([target, (await send({ port }, 'GET', target)).status]).toEqual([target, 200]);
    server.close();
  });

  it('an application under another one keeps the settings of the loosest router', async () => {
    const app = express5();
    app.enable('case sensitive routing');
    const inner = express5();
    inner.get('/private', (_request, response) => void response.end('reached'));
    app.use(inner);
    const server = await listen(house.mesh, app, 0, { host: '127.0.0.1' });
    const { port } = server.address() as { port: number };
    for (const target of ['/private', '/PRIVATE', '/Private/'])
      expect([target, (await send({ port }, 'GET', target)).status]).toEqual([target, 403]);
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
