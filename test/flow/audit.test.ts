import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { auditEvents, stepEvents, type AuditEvent, type StepEvent } from '@enmesh/core';
import { createChain, type Chain, type ChainService } from '../support/hop-chain.js';
import { connect, createHouse, open, send, sendRaw, type Answer } from '../support/house.js';
import { untilHolds } from '../support/waiting.js';

const principal = (name: string): string => `cluster.local/ns/shop/sa/${name}`;
const uri = (name: string): string => `spiffe://${principal(name)}`;

const propagation = (name: string, spec: object): string =>
  `apiVersion: enmesh.dev/v1\nkind: TokenPropagation\nmetadata: {name: ${name}, namespace: shop}\nspec: ${JSON.stringify({ selector: { matchLabels: { app: name } }, ...spec })}\n`;
const carry = (host: string, claims: string[]): object => ({ outbound: [{ hosts: [host], mode: 'HOP', claims }] });
const grant = (...names: string[]): object => ({ inbound: [{ principals: names.map(principal), issuers: ['ISSUER'] }] });

const world = [
  `apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [{issuer: ISSUER, jwks: 'JWKS'}]}
`,
  `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`,
  `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {selector: {matchLabels: {app: stock}}, mtls: {mode: STRICT}}
`,
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/never"]}}]}, {to: [{operation: {paths: ["/secret/*"]}}]}]}
`,
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: watched, namespace: shop}
spec: {action: AUDIT, rules: [{to: [{operation: {paths: ["/watched"]}}]}]}
`,
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: draft, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/drafted"]}}]}]}
`,
  propagation('gateway', carry('product', ['groups'])),
  propagation('product', { ...carry('stock', ['groups']), ...grant('gateway') }),
  propagation('stock', grant('product')),
].join('---\n');

let chain: Chain;
let gateway: ChainService;
let product: ChainService;
let stock: ChainService;
let directory: string;
const events: AuditEvent[] = [];
let stop = (): void => {};

const fileOf = (name: string): string => join(directory, `${name}.log`);
type Line = Readonly<Record<string, unknown>>;

/** The lines of a service's log, once so many are there. */
async function linesOf(name: string, count: number): Promise<readonly Line[]> {
  return untilHolds(() => {
    const lines = readFileSync(fileOf(name), 'utf8').split('\n').slice(0, -1);
    expect(lines.length, `${name} has written`).toBeGreaterThanOrEqual(count);
    return lines.map((line) => JSON.parse(line) as Line);
  });
}

/** What was told of, once so many events are there. */
async function told(count: number): Promise<readonly AuditEvent[]> {
  await untilHolds(() => expect(events.length).toBeGreaterThanOrEqual(count));
  return events;
}

async function enter(path = '/', headers: [string, string][] = [], claims: object = {}): Promise<Answer> {
  const token = await chain.issuer.sign({ sub: 'jane', groups: ['admin'], email: 'jane@x', ...claims }, { expiresIn: 300 });
  return send({ port: gateway.port }, 'GET', path, [['Authorization', `Bearer ${token}`], ...headers]);
}

const callOn =
  (from: ChainService, next: ChainService, path: string): ChainService['handle'] =>
  async (_request, response) => {
    const { statusCode, body } = await from.mesh.request(`${next.url}${path}?page=2`);
    response.statusCode = statusCode;
    response.end(await body.text());
  };

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-audit-'));
  chain = await createChain({
    services: ['gateway', 'product', 'stock'],
    yaml: world,
    mesh: { auditClaims: ['groups'] },
    meshOf: (name) => ({ accessLog: { file: fileOf(name) } }),
  });
  [gateway, product, stock] = [chain.of('gateway'), chain.of('product'), chain.of('stock')];
});
beforeEach(() => {
  stop = auditEvents.subscribe((event) => events.push(event));
  gateway.handle = callOn(gateway, product, '/products/1');
  product.handle = callOn(product, stock, '/stocks');
  stock.handle = (_request, response) => void response.end('seven');
});
afterEach(() => {
  stop();
  events.splice(0);
});
afterAll(async () => {
  await chain.close();
  rmSync(directory, { recursive: true, force: true });
});

describe('the audit of a walk of three services', () => {
  it('says in one line at each service who asked, for whom, and who carried them there', async () => {
    const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const sent: [string, string][] = [
      ['traceparent', parent],
      ['x-request-id', 'walk-1'],
    ];
    expect(await enter('/shelf?token=1', sent)).toMatchObject({ status: 200, body: 'seven' });
    const user = { 'enmesh.user.issuer': chain.issuer.issuer, 'user.id': 'jane', 'enmesh.user.claims': { groups: ['admin'] } };
    const answered = { 'enmesh.verdict': 'allowed', 'http.response.status_code': 200, 'http.response.body.size': 5 };

    const [callByGateway, atGateway] = await linesOf('gateway', 2);
    expect(atGateway).toMatchObject({
      'event.name': 'enmesh.request',
      ...user,
      ...answered,
      'http.request.method': 'GET',
      'url.path': '/shelf',
      'server.address': 'product.shop',
      'server.port': gateway.port,
      'client.address': '127.0.0.1',
      'enmesh.workload': uri('gateway'),
      trace_id: '0af7651916cd43dd8448eb211c80319c',
      'http.request.header.x-request-id': 'walk-1',
    });
    expect(atGateway).not.toHaveProperty(['enmesh.actors']);
    expect(callByGateway).toMatchObject({
      'event.name': 'enmesh.call',
      ...user,
      'enmesh.propagation': 'HOP',
      'enmesh.policy': 'shop/gateway',
      'enmesh.token': 'minted',
      'enmesh.audience': [uri('product')],
      'enmesh.service': 'product.shop.svc.cluster.local:80',
      'url.path': '/products/1',
      'enmesh.cause': atGateway?.['enmesh.decision'],
      trace_id: '0af7651916cd43dd8448eb211c80319c',
    });

    const [callByProduct, atProduct] = await linesOf('product', 2);
    expect(atProduct).toMatchObject({ ...user, ...answered, 'enmesh.peer': uri('gateway'), 'enmesh.actors': [uri('gateway')] });
    expect(callByProduct).toMatchObject({ ...user, 'enmesh.actors': [uri('gateway')], 'enmesh.audience': [uri('stock')] });
    const [atStock] = await linesOf('stock', 1);
    expect(atStock).toMatchObject({
      ...user,
      ...answered,
      'enmesh.peer': uri('product'),
      'enmesh.actors': [uri('product'), uri('gateway')],
      'url.path': '/stocks',
    });
  });

  it('tells whether a hop token was made or used again', async () => {
    const sources = (): unknown[] => events.flatMap((event) => (event.kind === 'call' ? [event.token] : []));
    const token = await chain.issuer.sign({ sub: 'again', groups: [] }, { expiresIn: 300 });
    for (let at = 0; at < 2; at++) await send({ port: gateway.port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
    await told(10);
    expect(sources()).toEqual(['minted', 'minted', 'reused', 'reused']);
  });

  it('has the chain of actors in the event of the authorize step as well', async () => {
    const seen: StepEvent[] = [];
    const end = stepEvents.authorize.subscribe((event) => seen.push(event));
    await enter();
    end();
    const actors = seen.map(({ details }) => details?.['actors']);
    expect(actors).toEqual([[], [uri('gateway')], [uri('product'), uri('gateway')]]);
  });
});

describe('the audit of what is refused', () => {
  const requestOf = async (count = 1): Promise<AuditEvent> => (await told(count))[count - 1] as AuditEvent;

  it('names policy, rule, code, decision id and status', async () => {
    const answer = await enter('/secret/plans');
    expect(answer.status).toBe(403);
    expect(await requestOf()).toMatchObject({
      kind: 'request',
      verdict: 'refused',
      id: answer.headers['x-enmesh-decision'],
      step: 'authorize',
      code: 'ENMESH_POLICY_DENIED',
      policy: 'shop/no-secrets',
      rule: 1,
      status: 403,
      responseBytes: Buffer.byteLength(answer.body),
      user: { subject: 'jane' },
    });
  });

  it('has tokens that are refused before any handler, without a word of them', async () => {
    const answer = await send({ port: gateway.port }, 'GET', '/', [
      ['Authorization', 'Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.'],
    ]);
    const event = await requestOf();
    expect(event).toMatchObject({ step: 'jwt', status: 401, user: undefined, answer: answer.body });
    expect(JSON.stringify(event)).not.toContain('eyJ');
  });

  it('has connections that never carried a request, and plaintext at a STRICT port', async () => {
    const answer = await send({ port: stock.port }, 'GET', '/');
    expect(answer.status).toBe(0);
    expect(await requestOf()).toMatchObject({
      kind: 'connection',
      verdict: 'refused',
      code: 'ENMESH_TLS_PLAINTEXT_REFUSED',
      workload: { serviceAccount: 'stock' },
    });
  });

  it('has calls that are not made, with why', async () => {
    gateway.handle = async (_request, response) => {
      const code = await gateway.mesh.request(product.url).catch((error: { code?: string }) => error.code);
      response.end(String(code));
    };
    expect((await enter('/', [], { sub: undefined })).body).toBe('ENMESH_PROPAGATION_NO_SUBJECT');
    expect(events.find(({ kind }) => kind === 'call')).toMatchObject({
      verdict: 'refused',
      code: 'ENMESH_PROPAGATION_NO_SUBJECT',
      user: { issuer: chain.issuer.issuer, claims: { groups: ['admin'] } },
    });
  });

  it('has a copy of the token that the egress guard kept back, and a forged header that was taken off', async () => {
    gateway.handle = async (request, response) => {
      const { body } = await gateway.mesh.request(product.url, { headers: { 'Enmesh-Hop-Token': 'forged', accept: '*/*' } });
      await body.dump();
      const { user } = request.enmesh as unknown as { user: { payload: string } };
      const code = await gateway.mesh
        .request(`${product.url}/?copy=${user.payload}`)
        .catch((error: { code?: string }) => error.code);
      response.end(String(code));
    };
    product.handle = (_request, response) => void response.end();
    expect((await enter()).body).toBe('ENMESH_PROPAGATION_EGRESS');
    const calls = events.filter(({ kind }) => kind === 'call');
    expect(calls).toMatchObject([{ stripped: ['enmesh-hop-token'] }, { code: 'ENMESH_PROPAGATION_EGRESS', verdict: 'refused' }]);
  });

  it('shows what AUDIT and dry-run policies say beside', async () => {
    gateway.handle = (_request, response) => void response.end();
    await enter('/watched');
    expect(await requestOf()).toMatchObject({
      verdict: 'allowed',
      audit: true,
      auditedBy: { policy: 'shop/watched', rule: 0 },
      dryRun: { deny: { result: 'allowed' } },
    });
    await enter('/drafted');
    expect(await requestOf(2)).toMatchObject({
      verdict: 'allowed',
      audit: false,
      dryRun: { deny: { result: 'denied', policy: 'shop/draft', rule: 0 } },
    });
  });
});

describe('the end of an exchange', () => {
  it('counts the bytes of both bodies, pieces and all', async () => {
    gateway.handle = async (request, response) => {
      for await (const _chunk of request);
      response.write('äö');
      response.end(Buffer.alloc(3));
    };
    const body = 'x'.repeat(70_000);
    const token = await chain.issuer.sign({ sub: 'jane' }, { expiresIn: 300 });
    await send({ port: gateway.port }, 'POST', '/', [['Authorization', `Bearer ${token}`]], body);
    expect((await told(1))[0]).toMatchObject({ requestBytes: 70_000, responseBytes: 7, status: 200, isComplete: true });
  });

  it('says of a client that goes away that its answer is not whole', async () => {
    let isIn = (): void => {};
    const inside = new Promise<void>((done) => (isIn = done));
    gateway.handle = () => isIn();
    const socket = connect({ port: gateway.port });
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await inside;
    socket.destroy();
    expect((await told(1))[0]).toMatchObject({ verdict: 'allowed', status: undefined, isComplete: false });
  });

  it('is told of an upgrade when its connection ends, with the status that the application answered', async () => {
    const house = await createHouse('');
    const server = house.mesh.createServer((_request, response) => void response.end());
    server.on('upgrade', (_request, socket: Duplex) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n');
      socket.end('bye');
    });
    const upgrade = 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n';
    expect((await sendRaw({ port: await open(server) }, upgrade)).status).toBe(101);
    expect((await told(1))[0]).toMatchObject({ path: '/chat', status: 101, responseBytes: undefined, verdict: 'allowed' });
    await house.close();
  });

  it('is told of calls by node:http as well', async () => {
    gateway.handle = (_request, response) => {
      httpGet(`${product.url}/a?b=c`, { agent: gateway.mesh.agent }, (answer) => answer.resume().on('end', () => response.end()));
    };
    product.handle = (_request, response) => void response.end();
    await enter();
    expect(events.find(({ kind }) => kind === 'call')).toMatchObject({ method: 'GET', path: '/a', mode: 'HOP', token: 'minted' });
  });
});

describe('secrets', () => {
  /** Where each canary goes, by turns; every one is another. */
  const places = (at: number): { readonly canary: string; readonly headers: [string, string][]; readonly query: string } => {
    const canary = `CANARY${at}x`;
    const jwt = `eyJhbGciOiJSUzI1NiJ9.eyJ4Ijoi${canary}IiJ9.sig${canary}`;
    const headers: [string, string][] = [
      ['Cookie', `session=${canary}; jwt=${jwt}`],
      ['X-Api-Key', canary],
      ['Proxy-Authorization', `Basic ${canary}`],
      ['X-Forwarded-Client-Cert', `By=${canary}`],
      ['Sec-Istio-Auth-Userinfo', canary],
      ['Enmesh-Hop-Token', canary],
      ['X_Enmesh_Anything', canary],
      [`X-${canary}`, 'name'],
      ['Referer', `http://a/?t=${canary}`],
      ['User-Agent', at % 2 === 0 ? `agent ${jwt}` : `agent Bearer ${canary}`],
      ['X-Request-Id', at % 2 === 0 ? `!${canary}` : jwt],
      ['X-Forwarded-For', at % 2 === 0 ? `1.2.3.4, ${jwt}` : `Basic ${canary}`],
      ['Traceparent', canary],
      ['Tracestate', canary],
    ];
    return {
      canary,
      headers: headers.filter((_, i) => (at >> (i % 7)) % 2 === 0 || i > 8),
      query: `?${canary}=${canary}&${at % 4 === 1 ? 'access_token' : 'q'}=${jwt}`,
    };
  };

  it('stand in no event and no line, wherever 1 000 requests bring them', async () => {
    gateway.handle = (_request, response) => void response.end();
    const before = readFileSync(fileOf('gateway'), 'utf8').length;
    let allowed = 0;
    for (let at = 0; at < 1000; at += 10)
      await Promise.all(
        Array.from({ length: 10 }, async (_, i) => {
          const { canary, headers, query } = places(at + i);
          const path = `/${i % 5 === 0 ? `eyJhbGciOiJub25lIn0.${canary}.` : 'p'}`;
          const claims = { [canary]: canary, email: canary, nested: { groups: canary }, jti: canary };
          const kind = i % 4;
          // None, one that is no token, one in the query as well, and a good one.
          const bearer: [string, string][] = kind === 1 ? [['Authorization', `Bearer ${canary}`]] : [];
          const answer =
            kind > 1
              ? await enter(path + query, headers, claims)
              : await send({ port: gateway.port }, 'GET', path + query, [...bearer, ...headers]);
          if (answer.status === 200) allowed++;
        }),
      );
    await told(1000);
    expect(allowed).toBeGreaterThan(400);
    const everything = JSON.stringify(events) + readFileSync(fileOf('gateway'), 'utf8').slice(before);
    expect(everything.match(/.{60}CANARY.{20}/g)).toBeNull();
    expect(everything).not.toContain('eyJ');
  });

  it('cannot be put into a line by what breaks lines', async () => {
    gateway.handle = (_request, response) => void response.end();
    const before = readFileSync(fileOf('gateway'), 'utf8').split('\n').length;
    const evil = ['"} {"event.name":"forged', '\u001b[2J', 'a\tb', '\u0085', 'é'];
    for (const text of evil)
      await sendRaw(
        { port: gateway.port },
        `GET /x%0d%0a%22%00 HTTP/1.1\r\nHost: a\r\nUser-Agent: ${text}\r\nX-Forwarded-For: ${text}\r\nConnection: close\r\n\r\n`,
      );
    const text = readFileSync(fileOf('gateway'), 'utf8');
    const lines = text.split('\n').slice(before - 1, -1);
    for (const line of lines) expect((JSON.parse(line) as Line)['event.name']).toBe('enmesh.request');
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
  });
});
