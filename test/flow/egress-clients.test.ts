import { createServer, get, request as httpRequest } from 'node:http';
import { get as httpsGet } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import axios from 'axios';
import { fetch as undiciFetch, request as undiciRequest } from 'undici';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { auditEvents, deniedEvents, type AuditEvent, type DeniedEvent, type Mesh } from '@enmesh/core';
import { createHouse, open, send, type House } from '../support/house.js';

const policies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
`;

const bodies: string[] = [];
const targets: string[] = [];
const server = createServer((request, response) => {
  targets.push(`${request.url} ${JSON.stringify(request.headers)}`);
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    bodies.push(body);
    response.end('ok');
  });
});
let origin: string;
beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
const houses: House[] = [];
afterEach(async () => {
  for (const house of houses.splice(0)) await house.close();
  bodies.length = 0;
  targets.length = 0;
});

type Act = (token: string, mesh: Mesh) => Promise<unknown>;

async function createGuarded(options: Parameters<typeof createHouse>[1]): Promise<House> {
  const house = await createHouse(policies, options);
  houses.push(house);
  return house;
}

/** What `act` comes to in a request of a user: `done`, or the code of its error. */
async function during(house: House, act: Act, token?: string): Promise<string> {
  const copy = token ?? (await house.issuer.sign({ sub: 'alice' }));
  const port = await open(
    house.mesh.createServer((_request, response) => {
      void act(copy, house.mesh)
        .then(
          () => 'done',
          (error: { code?: string; cause?: { code?: string } }) => error.cause?.code ?? error.code ?? String(error),
        )
        .then((text) => response.end(text));
    }),
  );
  return (await send({ port }, 'GET', '/', [['Authorization', `Bearer ${copy}`]])).body;
}

const finished = (request: ReturnType<typeof get>): Promise<void> =>
  new Promise((done, fail) => void request.on('error', fail).on('response', (answer) => void answer.resume().on('end', done)));

const others: [string, Act][] = [
  ['the global fetch', (token) => fetch(origin, { headers: { 'x-copy': token } })],
  ['fetch of undici', (token) => undiciFetch(`${origin}/?t=${token}`)],
  ['request of undici', async (token) => (await undiciRequest(origin, { headers: ['x-copy', token] })).body.dump()],
  ['http.get', (token) => finished(get(origin, { headers: { 'x-copy': token } }))],
  ['http.get without keep-alive', (token) => finished(get(origin, { headers: { cookie: `a=${token}` }, agent: false }))],
  [
    'http.request with a header that is set later',
    async (token) => {
      const request = httpRequest(origin);
      const end = finished(request);
      end.catch(() => {});
      try {
        request.setHeader('x-copy', token);
      } catch (error) {
        request.destroy();
        throw error;
      }
      request.end();
      return end;
    },
  ],
  ['http.get with a list of headers', (token) => finished(get(origin, { headers: ['x-copy', token] as never }))],
  ['https.get', (token) => finished(httpsGet(`${origin.replace('http', 'https')}/${token}`))],
  ['axios', (token) => axios.get(origin, { headers: { 'x-copy': token } })],
];

describe('guardProcess', () => {
  it.each(others)('refuses %s with the token of the request, and only while the mesh lives', async (_, act) => {
    const house = await createGuarded({ guardProcess: true });
    const told: AuditEvent[] = [];
    const stop = auditEvents.subscribe((event) => event.kind === 'call' && told.push(event));
    expect(await during(house, act)).toBe('ENMESH_PROPAGATION_EGRESS');
    stop();
    expect(told).toMatchObject([{ verdict: 'refused', code: 'ENMESH_PROPAGATION_EGRESS', user: { subject: 'alice' } }]);
    expect(JSON.stringify(told)).not.toContain('eyJ');
    expect(targets).toEqual([]);
    expect(await during(house, () => act('nothing-of-it', house.mesh))).not.toBe('ENMESH_PROPAGATION_EGRESS');
    const token = await house.issuer.sign({ sub: 'alice' });
    // In no request, nothing came in.
    await act(token, house.mesh).catch((error: { code?: string }) => expect(error.code).not.toBe('ENMESH_PROPAGATION_EGRESS'));
    await house.close();
    houses.pop();
    const unguarded = await createGuarded({ requestContext: true });
    expect(await during(unguarded, act)).not.toBe('ENMESH_PROPAGATION_EGRESS');
  });

  it('leaves the other clients alone where it is not asked for', async () => {
    const house = await createGuarded({ egressGuard: 'refuse' });
    expect(await during(house, (token) => fetch(origin, { headers: { 'x-copy': token } }))).toBe('done');
  });
});

const clients: [string, (body: string, mesh: Mesh) => Promise<unknown>][] = [
  ['fetch with a text', (body, mesh) => mesh.fetch(origin, { method: 'POST', body })],
  ['fetch with a form', (body, mesh) => mesh.fetch(origin, { method: 'POST', body: new URLSearchParams({ body }) })],
  ['fetch with octets', (body, mesh) => mesh.fetch(origin, { method: 'POST', body: Buffer.from(body) })],
  ['request with a text', async (body, mesh) => (await mesh.request(origin, { method: 'POST', body })).body.dump()],
  [
    'request with a stream in pieces',
    async (body, mesh) => {
      const pieces = body.match(/[^]{1,50}/g) ?? [];
      return (await mesh.request(origin, { method: 'POST', body: Readable.from(pieces, { objectMode: false }) })).body.dump();
    },
  ],
  [
    'agent with a text',
    (body, mesh) => {
      const request = httpRequest(origin, { method: 'POST', agent: mesh.agent });
      const end = finished(request);
      request.end(body);
      return end;
    },
  ],
  [
    'agent in pieces',
    (body, mesh) => {
      const request = httpRequest(origin, { method: 'POST', agent: mesh.agent });
      const end = finished(request);
      for (const piece of body.match(/[^]{1,50}/g) ?? []) request.write(piece);
      request.end();
      return end;
    },
  ],
];

describe('guardBodies', () => {
  it.each(clients)('refuses a body that holds the token: %s', async (_, call) => {
    const house = await createGuarded({ guardBodies: true });
    const outcome = await during(house, (token, mesh) => call(JSON.stringify({ user: 1, token }), mesh));
    expect(outcome).toBe('ENMESH_PROPAGATION_EGRESS');
    expect(bodies).toEqual([]);
    const innocent = JSON.stringify({ text: 'x'.repeat(100_000) });
    expect(await during(house, (_token, mesh) => call(innocent, mesh))).toBe('done');
    expect(decodeURIComponent(bodies[0] ?? '').replace(/^body=/, '')).toBe(innocent);
  });

  it('is not done unless it is asked for', async () => {
    const house = await createGuarded({ egressGuard: 'refuse' });
    expect(await during(house, (token, mesh) => mesh.fetch(origin, { method: 'POST', body: token }))).toBe('done');
  });
});

describe('a refused call', () => {
  it('is told as denied, with its remedy and without the token', async () => {
    const heard: DeniedEvent[] = [];
    const stop = deniedEvents.subscribe((event) => void heard.push(event));
    const house = await createGuarded({ egressGuard: 'refuse' });
    const token = await house.issuer.sign({ sub: 'alice' });
    await during(house, (copy, mesh) => mesh.fetch(origin, { headers: { 'x-copy': copy } }), token);
    stop();
    expect(heard).toMatchObject([
      { step: 'outbound', code: 'ENMESH_PROPAGATION_EGRESS', reason: expect.stringContaining('header x-copy') },
    ]);
    expect(JSON.stringify(heard)).not.toContain(token.split('.')[2]);
  });
});
