import { createServer, type IncomingMessage } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import express5 from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enmesh, listen } from '@enmesh/express';
import { enmesh as fastifyPlugin, serverFactory } from '@enmesh/fastify';
import { refusals } from '../../support/attack.js';
import { createHouse, open, send, type House } from '../../support/house.js';
import { heard } from '../../support/waiting.js';

let house: House;
beforeAll(async () => {
  house = await createHouse(refusals);
});
afterAll(() => house.close());

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
    const [headers] = await heard<[{ ':status': number }]>(stream, 'response');
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
