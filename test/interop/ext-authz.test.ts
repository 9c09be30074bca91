import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, noticeEvents, type DeniedEvent, type NoticeEvent } from '@enmesh/core';
import { createHouse, open, send, type Answer, type House } from '../support/house.js';

const servers = process.env['ENMESH_SERVERS'] ?? resolve(import.meta.dirname, '../../../shared/servers');
const script = join(servers, 'ext-authz/start.mjs');

/** A server over Envoy's own message types, stopped by its process; undefined, with the reason told, where it cannot be had. */
async function startServer(directory: string): Promise<{ readonly child: ChildProcess; readonly port: number } | undefined> {
  if (!existsSync(script)) {
    console.log('skip: no ext-authz server below ENMESH_SERVERS');
    return undefined;
  }
  const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let problem = '';
  child.stderr?.on('data', (chunk: Buffer) => (problem += chunk.toString()));
  const line = await new Promise<string | undefined>((done) => {
    child.once('exit', () => done(undefined));
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes('\n')) done(out.slice(0, out.indexOf('\n')));
    });
  });
  if (line !== undefined) return { child, port: Number((JSON.parse(line) as { grpc: string }).grpc.split(':')[1]) };
  if (child.exitCode !== 77) throw new Error(`the ext-authz server failed: ${problem}`);
  console.log(`skip: ${problem.trim().split('\n').at(-1)}`);
  return undefined;
}

const directory = mkdtempSync(join(tmpdir(), 'enmesh-ext-authz-'));
const server = await startServer(directory);

const policies = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: authz}, rules: [{to: [{operation: {paths: ["/asked*"]}}]}]}
`;

describe.skipIf(server === undefined)('an authorizer over gRPC, on Envoy’s own message types', () => {
  let house: House;
  let port: number;
  const handled: { url: string; headers: Record<string, unknown>; body: string }[] = [];
  const denied: DeniedEvent[] = [];
  const notices: NoticeEvent[] = [];
  const stops: (() => void)[] = [];

  const use = (fields = '', toPort = server?.port): Promise<void> =>
    house.write(
      'enmesh/mesh.yaml',
      `extensionProviders: [{name: authz, envoyExtAuthzGrpc: {service: 127.0.0.1, port: ${toPort}${fields === '' ? '' : `, ${fields}`}}}]`,
    );
  const ask = (headers: Record<string, string>, target = '/asked', body = '', method = 'GET'): Promise<Answer> =>
    send({ port }, method, target, Object.entries(headers), body);

  beforeAll(async () => {
    house = await createHouse('');
    mkdirSync(join(house.directory, 'enmesh'));
    await use();
    await house.write('policies.yaml', policies);
    const application = house.mesh.createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString('latin1')));
      request.on('end', () => {
        handled.push({ url: request.url ?? '', headers: { ...request.headers }, body });
        response.end('handled');
      });
    });
    port = await open(application);
    stops.push(
      deniedEvents.subscribe((event) => denied.push(event)),
      noticeEvents.subscribe((event) => notices.push(event)),
    );
  });
  beforeEach(() => {
    for (const list of [handled, denied, notices]) list.length = 0;
  });
  afterAll(async () => {
    for (const stop of stops) stop();
    await house.close();
    const ended = new Promise((done) => server?.child.once('exit', done));
    server?.child.kill('SIGTERM');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  });

  it('is told the request in Envoy’s terms, which pass Envoy’s own validation', async () => {
    expect((await ask({ 'x-want': 'allow', 'X-Twice': 'ü' }, '/asked/./a?b=1', 'body', 'POST')).status).toBe(200);
    const seen = JSON.parse(Buffer.from(String(handled[0]?.headers['x-seen']), 'latin1').toString()) as {
      source: { address: { socketAddress: { address: string; portValue: number } } };
      destination: unknown;
      request: { time: string; http: Record<string, unknown> & { headers: Record<string, string> } };
    };
    expect(seen.source.address.socketAddress).toMatchObject({ address: '127.0.0.1', portValue: expect.any(Number) as number });
    expect(seen.destination).toMatchObject({ address: { socketAddress: { portValue: port } } });
    expect(Math.abs(Date.parse(seen.request.time) - Date.now())).toBeLessThan(60_000);
    expect(seen.request.http).toMatchObject({
      method: 'POST',
      path: '/asked/a?b=1',
      host: 'product.shop',
      scheme: 'http',
      protocol: 'HTTP/1.1',
      size: '4',
      id: expect.stringMatching(/./) as string,
    });
    expect(seen.request.http.headers).toMatchObject({ ':method': 'POST', ':path': '/asked/a?b=1', 'x-want': 'allow' });
    expect(seen.request.http.headers).not.toHaveProperty('connection');
    expect(seen.request.http).not.toHaveProperty('body');
    expect(handled[0]?.body).toBe('body');
  });

  it('is told who calls over mutual TLS', async () => {
    const as = await house.svid('gateway');
    const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
    const call = (principal: string): Promise<Answer> =>
      send(
        { port, as, roots: [house.authority.rootPem] },
        'GET',
        '/asked',
        Object.entries({ 'x-want': 'allow', 'x-want-principal': principal }),
      );
    expect((await call(uri)).status).toBe(200);
    expect((await call(`${uri}x`)).status).toBe(403);
    const seen = String(handled[0]?.headers['x-seen']);
    expect(JSON.parse(seen)).toMatchObject({
      source: { principal: uri },
      destination: { principal: 'spiffe://cluster.local/ns/shop/sa/product' },
      request: { http: { scheme: 'https' } },
    });
  });

  it('changes headers and query of an allowed request, but never host and pseudo-headers', async () => {
    const answer = await ask(
      {
        'x-want': 'allow',
        'x-want-headers': '1',
        'x-append': 'mine',
        'x-absent': 'mine',
        'x-overwrite-or-add': 'mine',
        'x-remove': 'mine',
      },
      '/asked?secret=1&keep=2&q=old',
    );
    expect(answer.headers).toMatchObject({ 'x-response': 'added' });
    expect(handled[0]).toMatchObject({
      url: '/asked?keep=2&q=set',
      headers: { host: 'product.shop', 'x-append': 'added', 'x-absent': 'added', 'x-overwrite-or-add': 'added' },
    });
    expect(handled[0]?.headers).not.toHaveProperty('x-remove');
    await ask({ 'x-want': 'allow', 'x-want-headers': '1', 'x-overwrite': 'mine' });
    expect(handled[1]).toMatchObject({
      url: '/asked?q=set',
      headers: { 'x-append': 'added', 'x-absent': 'added', 'x-overwrite': 'added' },
    });
  });

  it.each([
    [{}, 403],
    [{ 'x-want-status': '401' }, 401],
    [{ 'x-want-status': '302' }, 302],
    [{ 'x-want-status': '999' }, 599],
    [{ 'x-want-status': '7' }, 200],
    [{ 'x-want-status': '0' }, 403],
  ])('denies with status, headers and body of the authorizer: %j as %i', async (headers, status) => {
    const answer = await ask(headers as Record<string, string>);
    expect(answer).toMatchObject({ status, body: 'denied by policy', headers: { 'x-reason': 'policy' } });
    expect(denied[0]).toMatchObject({ step: 'custom', code: 'ENMESH_CUSTOM_DENIED', policy: 'shop/ask', rule: 0, status });
    expect(handled).toHaveLength(0);
  });

  it('denies with 403 where the authorizer only gives a status code', async () => {
    expect(await ask({ 'x-want': 'status-only' })).toMatchObject({ status: 403, body: '' });
    expect(denied[0]?.code).toBe('ENMESH_CUSTOM_DENIED');
  });

  it.each([
    ['an error', { 'x-want': 'error' }, ''],
    ['a response that says nothing', { 'x-want': 'empty' }, ''],
    ['no answer in time', { 'x-want': 'allow', 'x-want-delay-ms': '5000' }, 'timeout: 100ms'],
  ])('takes %s for a failed check', async (_what, headers, fields) => {
    await use(`statusOnError: "503"${fields === '' ? '' : `, ${fields}`}`);
    expect(await ask(headers as Record<string, string>)).toMatchObject({ status: 503, body: '' });
    expect(denied[0]).toMatchObject({ code: 'ENMESH_CUSTOM_CHECK_FAILED' });
    await use(`failOpen: true${fields === '' ? '' : `, ${fields}`}`);
    expect((await ask(headers as Record<string, string>)).status).toBe(200);
    expect(notices.filter(({ kind }) => kind === 'check-failed-open')).toHaveLength(1);
    await use();
  });

  it('denies when nobody listens, and asks again when somebody does', async () => {
    await use('', 1);
    expect(await ask({ 'x-want': 'allow' })).toMatchObject({ status: 403, body: '' });
    await use();
    expect((await ask({ 'x-want': 'allow' })).status).toBe(200);
  });

  it.each([
    ['as text', 'packAsBytes: false', 'body', 'body'],
    ['as bytes', 'packAsBytes: true', 'rawBody', Buffer.from('body').toString('base64')],
  ])('is sent the body %s, which the handler still reads', async (_how, fields, member, value) => {
    await use(`includeRequestBodyInCheck: {maxRequestBytes: 100, ${fields}}`);
    expect((await ask({ 'x-want': 'allow' }, '/asked', 'body', 'POST')).status).toBe(200);
    const { request } = JSON.parse(String(handled[0]?.headers['x-seen'])) as { request: { http: Record<string, unknown> } };
    expect(request.http[member]).toBe(value);
    expect(request.http['headers']).toMatchObject({ 'x-envoy-auth-partial-body': 'false' });
    expect(handled[0]?.body).toBe('body');
    await use();
  });
});
