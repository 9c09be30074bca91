import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { doors, middlewares, type Application, type Seen } from '../support/frameworks.js';
import { createHouse, open, send, sendRaw, type House } from '../support/house.js';

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{}]}
`;

let house: House;
let authorizer: Server;
const asked: string[] = [];
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

beforeAll(async () => {
  house = await createHouse('');
  // Says no to x-deny; what it read of the body is kept as a hash.
  authorizer = createServer((request, response) => {
    const hash = createHash('sha256');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => {
      asked.push(hash.digest('hex'));
      if (request.headers['x-deny'] !== undefined) response.writeHead(401, { 'x-why': 'asked' }).end('no');
      else response.setHeader('x-user', 'jane').setHeader('x-quota', '7').end();
    });
  });
  const port = await open(authorizer);
  mkdirSync(join(house.directory, 'enmesh'));
  const settings = `service: 127.0.0.1, port: ${port}, timeout: 60s, includeRequestHeadersInCheck: [x-deny], headersToUpstreamOnAllow: [x-user]`;
  const rest = 'headersToDownstreamOnAllow: [x-quota], includeRequestBodyInCheck: {maxRequestBytes: 1000000}';
  await house.write('enmesh/mesh.yaml', `extensionProviders: [{name: authz, envoyExtAuthzHttp: {${settings}, ${rest}}}]`);
  await house.write('policies.yaml', policies);
});
beforeEach(() => void asked.splice(0));
afterAll(async () => {
  await house.close();
  authorizer.closeAllConnections();
  authorizer.close();
});

const forms = [
  ...Object.entries(doors).map(([name, start]) => [`at the door of ${name}`, start] as const),
  ...Object.entries(middlewares).map(([name, start]) => [`in the middleware form of ${name}`, start] as const),
];

describe.each(forms)('a request that an authorizer is asked about, %s', (_name, start) => {
  let app: Application;
  beforeAll(async () => {
    app = await start(house.mesh);
  });
  afterAll(() => app.close());

  it.each([0, 1, 65_536, 900_000])('reaches the handler with its body of %i bytes', async (size) => {
    const body = 'abcdefg'.repeat(size).slice(0, size);
    const answer = await send({ port: app.port }, 'POST', '/echo', [['X-User', 'forged']], body);
    const seen = JSON.parse(answer.body) as Seen;
    expect(digest(seen.body)).toBe(digest(body));
    expect(seen.headers['x-user']).toBe('jane');
    expect(seen.headersDistinct['x-user']).toEqual(['jane']);
    expect(JSON.stringify(seen)).not.toContain('forged');
    expect(answer.headers['x-quota']).toBe('7');
    expect(asked).toEqual([digest(body)]);
  });

  it('reaches the handler with a body in chunks', async () => {
    const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`;
    const head = 'POST /echo HTTP/1.1\r\nHost: product.shop\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n';
    const answer = await sendRaw({ port: app.port }, [head, chunk, chunk.repeat(99), '0\r\n\r\n']);
    expect((JSON.parse(answer.body) as Seen).body).toBe('x'.repeat(100_000));
    expect(asked).toEqual([digest('x'.repeat(100_000))]);
  });

  it('is answered by the authorizer when that refuses, and no handler runs', async () => {
    const answer = await send({ port: app.port }, 'POST', '/echo', [['X-Deny', '1']], 'body');
    expect(answer).toMatchObject({ status: 401, body: 'no', headers: { 'x-why': 'asked' } });
  });

  it('goes on being served on one connection, in order', async () => {
    const get = (path: string, last: boolean): string =>
      `GET ${path} HTTP/1.1\r\nHost: product.shop\r\n${last ? 'Connection: close\r\n' : ''}\r\n`;
    const { bytes } = await sendRaw({ port: app.port }, get('/public?1', false) + get('/echo?2', false) + get('/public?3', true));
    expect([...bytes.matchAll(/"url":"([^"]+)"/g)].map(([, url]) => url)).toEqual(['/public?1', '/echo?2', '/public?3']);
  });
});
