import { createServer } from 'node:http';
import express from 'express';
import express4 from 'express4';
import Fastify from 'fastify';
import supertest from 'supertest';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noticeEvents, type NoticeEvent } from '@enmesh/core';
import { enmesh, listen } from '@enmesh/express';
import { enmesh as plugin, serverFactory } from '@enmesh/fastify';
import { createHouse, open, send, type House } from '../support/house.js';
import { middlewares, type Application } from '../support/frameworks.js';
import { peerAuthentication } from '../support/documents.js';

const policies = `${peerAuthentication('MODE')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ISSUER
    jwks: 'JWKS'
    outputPayloadToHeader: x-jwt-payload
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users-only, namespace: shop}
spec:
  rules:
  - from: [{source: {requestPrincipals: ["*"]}}]
  - to: [{operation: {paths: [/public]}}]
`;

let open_: House;
let strict: House;
let token: string;

beforeAll(async () => {
  open_ = await createHouse(policies.replace('MODE', 'PERMISSIVE'));
  strict = await createHouse(policies.replace('MODE', 'STRICT'));
  token = await open_.issuer.sign({ sub: 'jane' });
});
afterAll(() => Promise.all([open_.close(), strict.close()]));

describe.each(Object.entries(middlewares))('the middleware form on %s', (_name, start) => {
  let app: Application;
  beforeAll(async () => {
    app = await start(open_.mesh);
  });
  afterAll(() => app.close());
  const get = (target: string, headers: [string, string][] = []) => send({ port: app.port }, 'GET', target, headers);

  it('enforces policies and hands over the verified user', async () => {
    expect(await get('/private')).toMatchObject({ status: 403, body: 'RBAC: access denied' });
    const answer = await get('/private', [['Authorization', `Bearer ${token}`]]);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({
      user: `${open_.issuer.issuer}/jane`,
      headers: { 'x-jwt-payload': token.split('.')[1] },
    });
    expect(answer.bytes).not.toContain(token);
  });

  it('takes forged headers away from headers, rawHeaders and headersDistinct', async () => {
    const answer = await get('/public', [['X_Jwt_Payload', 'forged-by-the-client']]);
    expect(answer.status).toBe(200);
    expect(answer.bytes).not.toContain('forged-by-the-client');
  });

  it('refuses a target that normalization changes, because the router has seen it already', async () => {
    for (const target of ['/private/../public', '/./public', 'http://a/public'])
      expect((await get(target)).status, target).toBe(400);
  });
});

describe('the middleware form of Express', () => {
  it('works with supertest', async () => {
    const app = express();
    app.use(enmesh(open_.mesh));
    app.get('/public', (request, response) => void response.json({ reason: request.enmesh.decision.reason }));
    await supertest(app).get('/public').expect(200, { reason: 'allow-matched' });
    await supertest(app).get('/other').expect(403, 'RBAC: access denied');
  });

  it('resets plaintext at a STRICT port, and tells the remedy', async () => {
    const app = express();
    app.use(enmesh(strict.mesh));
    app.get('/public', (_request, response) => void response.end('reached'));
    const server = createServer(app);
    const port = await open(server);
    expect(await send({ port }, 'GET', '/public')).toMatchObject({ bytes: '', ended: 'ECONNRESET' });
    server.close();
  });

  it('judges the whole path below a mount point, not the rest of it', async () => {
    const app = express();
    const inner = express.Router();
    inner.get('/public', (_request, response) => void response.end('reached'));
    app.use(enmesh(open_.mesh));
    app.use('/hidden', inner);
    await supertest(app).get('/hidden/public').expect(403);
  });

  it.each([
    ['Express 5', express],
    ['Express 4', express4 as unknown as typeof express],
  ])('registered after a route is found by listen and at the first request on %s', async (_name, framework) => {
    const app = framework();
    app.get('/public', (_request, response) => void response.end('reached undecided'));
    app.use(enmesh(open_.mesh));
    app.get('/late', (_request, response) => void response.end('late'));
    await expect(listen(open_.mesh, app, 0)).rejects.toMatchObject({ code: 'ENMESH_EXPRESS_MIDDLEWARE_LATE' });
    await supertest(app).get('/late').expect(500);
  });

  it('that was forgotten is noticed at the first undecided request, with the line to add', async () => {
    const own = await createHouse(policies.replace('MODE', 'PERMISSIVE'));
    const notices: NoticeEvent[] = [];
    const stop = noticeEvents.subscribe((notice) => notices.push(notice));
    const app = express();
    app.get('/public', (_request, response) => void response.end('undecided'));
    const server = createServer(app);
    await send({ port: await open(server) }, 'GET', '/public');
    await new Promise((done) => setImmediate(done));
    stop();
    server.close();
    await own.close();
    expect(notices.filter(({ kind }) => kind === 'undecided-request').map(({ message }) => message)[0]).toContain(
      'app.use(enmesh(mesh))',
    );
  });
});

describe('the plugin of Fastify', () => {
  it('works with inject', async () => {
    const app = Fastify();
    await app.register(plugin, { mesh: open_.mesh });
    app.get('/public', (request) => ({ reason: request.enmesh.decision.reason }));
    app.get('/other', () => 'reached');
    expect((await app.inject('/public')).json()).toEqual({ reason: 'allow-matched' });
    expect((await app.inject('/other')).statusCode).toBe(403);
    await app.close();
  });

  it('guards the routes of encapsulated plugins too', async () => {
    const app = Fastify();
    await app.register(plugin, { mesh: open_.mesh });
    await app.register(async (inner) => void inner.get('/inner', () => 'reached'));
    expect((await app.inject('/inner')).statusCode).toBe(403);
    await app.close();
  });

  it('registered after a route is refused at boot', async () => {
    const app = Fastify();
    await app.register(async (inner) => void inner.get('/inner', () => 'reached'));
    await expect(async () => app.register(plugin, { mesh: open_.mesh })).rejects.toMatchObject({
      code: 'ENMESH_FASTIFY_PLUGIN_LATE',
    });
  });

  it('behind the door only passes on what was decided there', async () => {
    const app = Fastify({ serverFactory: serverFactory(open_.mesh) as never });
    await app.register(plugin, { mesh: open_.mesh });
    app.get('/public', (request) => ({ reason: request.enmesh.decision.reason }));
    const address = await app.listen({ port: 0, host: '127.0.0.1' });
    expect(await (await fetch(`${address}/public`)).json()).toEqual({ reason: 'allow-matched' });
    await app.close();
  });
});

describe('what cannot be guarded', () => {
  it('is refused in words: a server of its own, or no listener at all', async () => {
    const raw = (await import('node:net')).createServer();
    const h2 = (await import('node:http2')).createServer();
    await expect(listen(open_.mesh, raw as never, 0)).rejects.toThrow(/raw TCP and HTTP\/2 \(gRPC\) servers are not supported/);
    await expect(listen(open_.mesh, h2 as never, 0)).rejects.toThrow(/not supported/);
    await expect(listen(open_.mesh, undefined as never, 0)).rejects.toThrow(TypeError);
  });

  it('is a port in use: the error names port and remedy', async () => {
    const blocker = createServer();
    const port = await open(blocker);
    await expect(listen(open_.mesh, express(), port, { host: '127.0.0.1' })).rejects.toMatchObject({
      code: 'ENMESH_MESH_PORT',
      message: expect.stringContaining(String(port)),
    });
    blocker.close();
  });
});
