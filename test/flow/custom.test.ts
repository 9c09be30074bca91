import { mkdirSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { createHash } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, noticeEvents, stepEvents, type DeniedEvent, type NoticeEvent } from '@enmesh/core';
import { connect, createHouse, open, send, sendRaw, type House } from '../support/house.js';

/** One check as the authorizer got it. */
interface Check {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** An authorizer of our own: `answer` decides each check when its body is read. */
interface Authorizer {
  readonly port: number;
  readonly checks: Check[];
  readonly server: Server;
  answer: (check: Check, response: ServerResponse) => void;
  /** Resolves when the next check broke off before it was answered. */
  broken: () => Promise<void>;
}

async function createAuthorizer(): Promise<Authorizer> {
  const checks: Check[] = [];
  const listeners: (() => void)[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    response.on('close', () => {
      if (!response.writableFinished) listeners.splice(0).forEach((tell) => tell());
    });
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const check = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks),
      };
      checks.push(check);
      authorizer.answer(check, response);
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const authorizer: Authorizer = {
    port: (server.address() as AddressInfo).port,
    checks,
    server,
    answer: (_check, response) => response.end(),
    broken: () => new Promise((done) => listeners.push(done)),
  };
  return authorizer;
}

const provider = (port: number, fields = ''): string => `
extensionProviders:
- name: authz
  envoyExtAuthzHttp:
    service: 127.0.0.1
    port: ${port}
    timeout: 30s
${fields.replace(/^/gm, '    ')}
`;

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{to: [{operation: {paths: ["/asked*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS', outputPayloadToHeader: x-payload, forwardOriginalToken: true}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: never, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/asked/never"]}}]}, {when: [{key: "request.headers[x-role]", values: [banned]}]}]}
`;

const lines = `
includeRequestHeadersInCheck: [x-token, x-ext-*]
includeAdditionalHeadersInCheck: {x-from: mesh, x-token-kind: fixed}
headersToUpstreamOnAllow: [x-user, authorization, x-role, "x-up-*"]
headersToDownstreamOnAllow: [x-quota, set-cookie]
headersToDownstreamOnDeny: [x-why, set-cookie]
pathPrefix: /check
`;

let house: House;
let authorizer: Authorizer;
let port: number;
const handled: { url: string; headers: Record<string, unknown>; raw: string[] }[] = [];
const denied: DeniedEvent[] = [];
const notices: NoticeEvent[] = [];
const stops: (() => void)[] = [];

/** Puts a provider in force. */
async function use(fields: string, toPort = authorizer.port): Promise<void> {
  await house.write('enmesh/mesh.yaml', provider(toPort, fields));
}

const ask = (target = '/asked', headers: [string, string][] = [], body = '', method = 'GET') =>
  send({ port }, method, target, headers, body);

beforeAll(async () => {
  house = await createHouse('');
  mkdirSync(join(house.directory, 'enmesh'));
  authorizer = await createAuthorizer();
  await use(lines);
  await house.write('policies.yaml', policies);
  const server = house.mesh.createServer((request, response) => {
    handled.push({ url: request.url ?? '', headers: { ...request.headers }, raw: [...request.rawHeaders] });
    const hash = createHash('sha256');
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      hash.update(chunk);
    });
    request.on('end', () => {
      response.writeHead(200, { 'set-cookie': 'app=1', 'x-app': 'yes' });
      response.end(`${size} ${hash.digest('hex')}`);
    });
  });
  server.on('upgrade', (request, socket) => {
    socket.end(`HTTP/1.1 101 Switching\r\n\r\nhello ${request.headers['x-user'] as string}`);
  });
  port = await open(server);
  stops.push(
    deniedEvents.subscribe((event) => denied.push(event)),
    noticeEvents.subscribe((event) => notices.push(event)),
  );
});
beforeEach(() => {
  for (const list of [handled, denied, notices, authorizer.checks]) list.length = 0;
  authorizer.answer = (_check, response) => response.end();
});
afterAll(async () => {
  for (const stop of stops) stop();
  authorizer.server.closeAllConnections();
  authorizer.server.close();
  await house.close();
});

describe('an HTTP authorizer', () => {
  it('is not asked about requests that no CUSTOM rule matches', async () => {
    expect((await ask('/free')).status).toBe(200);
    expect(authorizer.checks).toHaveLength(0);
  });

  it('is told method, prefixed path, host and the listed headers, and nothing else of the request', async () => {
    const headers: [string, string][] = [
      ['Authorization', `Bearer ${await house.issuer.sign({ sub: 'jane' })}`],
      ['X-Token', 't'],
      ['x-ext-a', '1'],
      ['X-Ext-A', '2'],
      ['x-token-kind', 'forged'],
      ['Cookie', 'secret'],
      ['sec-istio-auth-userinfo', 'forged'],
    ];
    expect((await ask('/asked/./a?b=%20c', headers, '', 'PUT')).status).toBe(200);
    const [check] = authorizer.checks;
    expect(check).toMatchObject({ method: 'PUT', url: '/check/asked/a?b=%20c' });
    expect(check?.headers).toMatchObject({
      host: 'product.shop',
      authorization: headers[0]?.[1],
      'x-token': 't',
      'x-ext-a': '1,2',
      'x-from': 'mesh',
      'x-token-kind': 'fixed',
      'content-length': '0',
    });
    expect(Object.keys(check?.headers ?? {})).not.toEqual(expect.arrayContaining(['cookie']));
    expect(check?.headers).not.toHaveProperty('sec-istio-auth-userinfo');
  });

  it('lets a request pass with 200, with its headers in place of the client’s for policies and handler alike', async () => {
    authorizer.answer = (_check, response) => {
      response.setHeader('x-user', 'jane').setHeader('x-up-a', ['1', '2']).setHeader('x-hidden', 'no');
      response.setHeader('x-up-_payload', 'fine').setHeader('x-envoy-auth-headers-to-remove', 'x-gone, host, Content-Length');
      response.setHeader('x-quota', '7').setHeader('set-cookie', ['a=1', 'b=2']).end('ignored');
    };
    const answer = await ask(
      '/asked',
      [
        ['X-User', 'forged'],
        ['x-user', 'twice'],
        ['x-gone', '1'],
        ['x-hidden', 'mine'],
      ],
      'body',
      'POST',
    );
    expect(answer.status).toBe(200);
    expect(handled[0]?.headers).toMatchObject({ 'x-user': 'jane', 'x-up-a': '1, 2', 'x-hidden': 'mine', host: 'product.shop' });
    expect(handled[0]?.headers).not.toHaveProperty('x-gone');
    expect(handled[0]?.raw.join()).not.toContain('forged');
    expect(answer.body).toBe(`4 ${createHash('sha256').update('body').digest('hex')}`);
    expect(answer.bytes).toMatch(/x-quota: 7/);
    expect(answer.bytes.match(/set-cookie: (app=1|a=1|b=2)/g)).toHaveLength(3);
  });

  it('cannot turn the denial of another policy into an allowance, and its headers are what that policy judges', async () => {
    expect((await ask('/asked/never')).status).toBe(403);
    authorizer.answer = (_check, response) => response.setHeader('x-role', 'banned').end();
    expect((await ask('/asked')).status).toBe(403);
    expect(denied.map(({ step, policy, rule }) => `${step} ${policy} ${rule}`)).toEqual([
      'authorize shop/never 0',
      'authorize shop/never 1',
    ]);
    expect(handled).toHaveLength(0);
  });

  it('may give the token that the jwt step reads', async () => {
    const token = await house.issuer.sign({ sub: 'from-authorizer' });
    authorizer.answer = (_check, response) => response.setHeader('authorization', `Bearer ${token}`).end();
    expect((await ask()).status).toBe(200);
    const payload = Buffer.from(String(handled[0]?.headers['x-payload']), 'base64url').toString();
    expect(JSON.parse(payload)).toMatchObject({ sub: 'from-authorizer' });
    authorizer.answer = (_check, response) => response.setHeader('authorization', 'Bearer not.a.token').end();
    expect((await ask()).status).toBe(401);
  });

  it('denies with its own status, body and the listed headers, and a decision id', async () => {
    authorizer.answer = (_check, response) => {
      response.writeHead(402, {
        'x-why': 'unpaid',
        'x-secret': 's',
        location: '/pay',
        'set-cookie': ['a=1', 'b=2'],
        'x-user': 'no',
      });
      response.end('pay first');
    };
    const answer = await ask();
    expect(answer).toMatchObject({ status: 402, body: 'pay first' });
    expect(answer.headers).toMatchObject({ 'x-why': 'unpaid', location: '/pay' });
    expect(answer.bytes.match(/set-cookie: /g)).toHaveLength(2);
    expect(answer.headers).not.toHaveProperty('x-secret');
    expect(denied[0]).toMatchObject({ step: 'custom', code: 'ENMESH_CUSTOM_DENIED', status: 402, policy: 'shop/ask', rule: 0 });
    expect(denied[0]?.id).toBe(answer.headers['x-enmesh-decision']);
    expect(handled).toHaveLength(0);
  });

  it('is not followed to where it redirects: a redirect is an answer for the client', async () => {
    authorizer.answer = (_check, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/login' }).end();
    const answer = await ask();
    expect(answer).toMatchObject({ status: 302, headers: { location: 'http://127.0.0.1:1/login' } });
    expect(authorizer.checks).toHaveLength(1);
  });

  it('denies an upgrade on its bare socket, and lets one pass', async () => {
    const upgrade: [string, string][] = [
      ['Connection', 'Upgrade'],
      ['Upgrade', 'websocket'],
    ];
    authorizer.answer = (_check, response) => response.writeHead(401, { 'x-why': 'no' }).end('not you');
    expect(await ask('/asked', upgrade)).toMatchObject({ status: 401, body: 'not you', headers: { 'x-why': 'no' } });
    authorizer.answer = (_check, response) => response.setHeader('x-user', 'jane').end();
    expect((await ask('/asked', upgrade)).bytes).toBe('HTTP/1.1 101 Switching\r\n\r\nhello jane');
    expect(authorizer.checks.map(({ headers }) => headers.upgrade)).toEqual([undefined, undefined]);
  });
});

describe('headers an authorizer may not set', () => {
  it('are those that carry an identity, those of the hop, and not those the provider names', async () => {
    await use('headersToUpstreamOnAllow: ["x-*", "sec-*", x-payload, "*-type"]');
    authorizer.answer = (_check, response) => {
      response.setHeader('sec-istio-auth-userinfo', 'forged').setHeader('x-enmesh-a', 'forged').setHeader('x-payload', 'named');
      response.setHeader('x-forwarded-client-cert', 'forged').setHeader('x-fine', 'yes').end();
    };
    expect((await ask()).status).toBe(200);
    expect(handled[0]?.headers).toMatchObject({ 'x-fine': 'yes', 'x-payload': 'named' });
    expect(JSON.stringify(handled[0])).not.toContain('forged');
    await use(lines);
  });
});

describe('a check that fails', () => {
  afterEach(() => use(lines));

  const hang = (): void => {};
  const reset = (_check: Check, response: ServerResponse): void => void response.socket?.resetAndDestroy();
  const failures: [string, string, (check: Check, response: ServerResponse) => void][] = [
    ['answers 500', '', (_check, response) => void response.writeHead(500).end('secret')],
    ['answers 599', '', (_check, response) => void response.writeHead(599).end()],
    ['hangs', 'timeout: 100ms', hang],
    ['resets the connection', '', reset],
    [
      'ends in the middle of its answer',
      '',
      (_check, response) => void (response.writeHead(200, { 'content-length': 9 }).write('x'), response.socket?.destroy()),
    ],
    ['answers without end', '', (_check, response) => void (response.writeHead(403), response.write(Buffer.alloc(2_000_000)))],
    ['answers a status that is none', '', (_check, response) => void response.socket?.end('HTTP/1.1 42 What\r\n\r\n')],
  ];
  const providerWith = (fields: string): string =>
    provider(authorizer.port, fields).replace(fields.includes('timeout') ? '    timeout: 30s\n' : '\u0000', '');

  it.each(failures)('denies when the authorizer %s', async (_what, fields, answer) => {
    await house.write('enmesh/mesh.yaml', providerWith(fields));
    authorizer.answer = answer;
    expect(await ask()).toMatchObject({ status: 403, body: '' });
    expect(denied[0]).toMatchObject({ step: 'custom', code: 'ENMESH_CUSTOM_CHECK_FAILED', policy: 'shop/ask' });
    expect(JSON.stringify(denied)).not.toContain('secret');
    expect(handled).toHaveLength(0);
  });

  it.each(failures)('lets the request pass with failOpen when the authorizer %s, and says so', async (_what, fields, answer) => {
    await house.write('enmesh/mesh.yaml', providerWith(`failOpen: true\n${fields}`));
    authorizer.answer = answer;
    expect((await ask()).status).toBe(200);
    expect(notices.filter(({ kind }) => kind === 'check-failed-open')).toHaveLength(1);
  });

  it('denies with statusOnError, of a server that is not there', async () => {
    await use('statusOnError: "503"', 1);
    expect(await ask()).toMatchObject({ status: 503, body: '' });
  });

  it('denies what a rule of an unknown provider matches, and nothing else', async () => {
    await house.write('enmesh/mesh.yaml', '{}');
    expect((await ask()).status).toBe(403);
    expect((await ask('/free')).status).toBe(200);
    expect(denied[0]).toMatchObject({ code: 'ENMESH_CUSTOM_PROVIDER', policy: 'shop/ask' });
    expect(denied[0]?.reason).toContain('istio-ext-authz-authz-ns[shop]-policy[ask]-rule[0]-deny-due-to-bad-CUSTOM-action');
  });

  it('is cancelled when the client goes away, and the application is not called', async () => {
    authorizer.answer = hang;
    const broken = authorizer.broken();
    const socket = connect({ port });
    socket.write('GET /asked HTTP/1.1\r\nHost: a\r\n\r\n');
    await expect.poll(() => authorizer.checks.length).toBe(1);
    socket.destroy();
    await broken;
    await expect.poll(() => denied.map(({ code }) => code)).toEqual(['ENMESH_CUSTOM_CLIENT_GONE']);
    expect(handled).toHaveLength(0);
  });
});

describe('the body of a checked request', () => {
  beforeAll(() => use('includeRequestBodyInCheck: {maxRequestBytes: 100000}'));
  afterAll(() => use(lines));

  const digest = (body: Buffer | string): string =>
    `${Buffer.byteLength(body)} ${createHash('sha256').update(body).digest('hex')}`;
  const chunked = (body: string, size: number): string => {
    let out = '';
    for (let at = 0; at < body.length; at += size)
      out += `${body.slice(at, at + size).length.toString(16)}\r\n${body.slice(at, at + size)}\r\n`;
    return `POST /asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${out}0\r\n\r\n`;
  };

  it.each([1, 4, 70_000, 100_000])('of %i bytes is sent with the check and reaches the handler byte for byte', async (size) => {
    const body = 'äbcdefgh'.repeat(size).slice(0, size).replaceAll('ä', 'a');
    const answer = await ask('/asked', [], body, 'POST');
    expect(answer).toMatchObject({ status: 200, body: digest(body) });
    expect(digest(authorizer.checks[0]?.body ?? '')).toBe(digest(body));
    expect(authorizer.checks[0]?.headers).toMatchObject({ 'x-envoy-auth-partial-body': 'false', 'content-length': String(size) });
  });

  it.each([1, 100, 9999])('in chunks of %i reaches the handler byte for byte', async (size) => {
    const body = 'abcdefghij'.repeat(size === 1 ? 50 : 5000);
    const answer = await sendRaw({ port }, chunked(body, size));
    expect(answer).toMatchObject({ status: 200, body: digest(body) });
    expect(digest(authorizer.checks[0]?.body ?? '')).toBe(digest(body));
  });

  it('arrives slowly, and waits for 100 Continue where the client does', async () => {
    const head = 'POST /asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n';
    expect(await sendRaw({ port }, [`${head}\r\nabc`, 'd', 'ef'])).toMatchObject({ body: digest('abcdef') });
    const socket = connect({ port });
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString();
      if (received === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write('abcdef');
    });
    socket.write(`${head}Expect: 100-continue\r\n\r\n`);
    await new Promise((done) => socket.on('close', done));
    expect(received).toContain(digest('abcdef'));
    expect(received.match(/100 Continue/g)).toHaveLength(1);
  });

  it.each([
    [
      'by its length',
      (body: string) => `POST /asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ],
    ['in chunks', (body: string) => chunked(body, 5000)],
  ])('is refused with 413 when it is too long %s, whatever failOpen says', async (_how, bytes) => {
    await use('failOpen: true\nincludeRequestBodyInCheck: {maxRequestBytes: 100000}');
    const answer = await sendRaw({ port }, bytes('x'.repeat(100_001)));
    expect(answer.status).toBe(413);
    expect(denied[0]).toMatchObject({ code: 'ENMESH_CUSTOM_BODY_TOO_LARGE', status: 413 });
    expect(authorizer.checks).toHaveLength(0);
    expect(handled).toHaveLength(0);
  });

  it.each([9, 10, 11, 200_000])('of %i bytes is sent as far as 10 bytes where a part is enough', async (size) => {
    await use('includeRequestBodyInCheck: {maxRequestBytes: 10, allowPartialMessage: true}');
    const body = 'abcdefghijk'.repeat(size).slice(0, size);
    expect(await ask('/asked', [], body, 'POST')).toMatchObject({ status: 200, body: digest(body) });
    expect(authorizer.checks[0]?.body.toString()).toBe(body.slice(0, 10));
    expect(authorizer.checks[0]?.headers['x-envoy-auth-partial-body']).toBe(String(size > 10));
  });

  it('that breaks off ends the request, and nothing is asked', async () => {
    await use('includeRequestBodyInCheck: {maxRequestBytes: 100000}');
    const isRead = new Promise<void>((done) => stops.push(stepEvents.normalize.subscribe(() => done())));
    const socket = connect({ port });
    socket.write('POST /asked HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc');
    await isRead;
    socket.destroy();
    await expect.poll(() => denied.map(({ code }) => code)).toEqual(['ENMESH_CUSTOM_CLIENT_GONE']);
    expect(authorizer.checks).toHaveLength(0);
    expect(handled).toHaveLength(0);
  });

  it('that there is none of is not waited for', async () => {
    expect((await ask('/asked', [], '', 'POST')).status).toBe(200);
    expect(authorizer.checks[0]?.headers).not.toHaveProperty('x-envoy-auth-partial-body');
  });
});
