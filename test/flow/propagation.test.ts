import { get as httpGet, type IncomingHttpHeaders } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, noticeEvents, stepEvents, type DeniedEvent, type NoticeEvent } from '@enmesh/core';
import type { TLSSocket } from 'node:tls';
import { createChain, type Chain, type ChainService } from '../support/hop-chain.js';
import { open, send, type Answer } from '../support/house.js';
import { serviceEntry } from '../support/documents.js';

const users = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [{issuer: ISSUER, jwks: 'JWKS', outputPayloadToHeader: sec-istio-auth-userinfo}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: inner, namespace: shop}
spec: {selector: {matchLabels: {app: stock}}, jwtRules: [{issuer: ISSUER, jwks: 'JWKS', outputPayloadToHeader: sec-istio-auth-userinfo, fromHeaders: [{name: x-user-token}]}]}
`;

const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: modes, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
`;

const propagation = (name: string, spec: object): string =>
  `apiVersion: enmesh.dev/v1\nkind: TokenPropagation\nmetadata: {name: ${name}, namespace: shop}\nspec: ${JSON.stringify({ selector: { matchLabels: { app: name } }, ...spec })}\n`;

const principal = (name: string): string => `cluster.local/ns/shop/sa/${name}`;
const uri = (name: string): string => `spiffe://${principal(name)}`;
const from = (names: readonly string[], more: object = {}): object => ({
  inbound: [{ principals: names.map(principal), issuers: ['ISSUER'], ...more }],
});
const to = (host: string, entry: object): object => ({ outbound: [{ hosts: [host], ...entry }] });

const hops = [
  users,
  strict,
  propagation('gateway', to('product', { mode: 'HOP', claims: ['scope', 'groups'] })),
  propagation('product', { ...to('stock', { mode: 'HOP', claims: ['groups'] }), ...from(['gateway']) }),
  propagation('stock', from(['gateway', 'product'])),
].join('---\n');

/** What a service saw of a request. */
interface Seen {
  readonly headers: IncomingHttpHeaders;
  readonly user: string | undefined;
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  readonly actors: readonly string[];
}

let chain: Chain;
let gateway: ChainService;
let product: ChainService;
let stock: ChainService;
const seen = new Map<string, Seen>();
const denied: DeniedEvent[] = [];
const notices: NoticeEvent[] = [];
const stops: (() => void)[] = [];

const note =
  (name: string): ChainService['handle'] =>
  (request, response) => {
    const { user, actors = [] } = request.enmesh ?? {};
    seen.set(name, { headers: { ...request.headers }, user: user?.principal, claims: user?.claims, actors });
    response.end(name);
  };

/** A handler that notes and calls on, and answers with what came back. */
const callOn =
  (from: ChainService, next: ChainService): ChainService['handle'] =>
  async (request, response) => {
    const { user, actors = [] } = request.enmesh ?? {};
    seen.set(from.name, { headers: { ...request.headers }, user: user?.principal, claims: user?.claims, actors });
    const { statusCode, body } = await from.mesh.request(`${next.url}/`);
    response.statusCode = statusCode;
    response.end(await body.text());
  };

async function enter(claims: object = {}, expiresIn = 300, headers: [string, string][] = []): Promise<Answer> {
  const token = await chain.issuer.sign(
    { sub: 'jane', scope: 'read write', groups: ['admin'], email: 'j@x', ...claims },
    { expiresIn },
  );
  return send({ port: gateway.port }, 'GET', '/', [['Authorization', `Bearer ${token}`], ...headers]);
}

beforeAll(async () => {
  chain = await createChain({ services: ['gateway', 'product', 'stock'], yaml: hops });
  [gateway, product, stock] = [chain.of('gateway'), chain.of('product'), chain.of('stock')];
  stops.push(
    deniedEvents.subscribe((event) => denied.push(event)),
    noticeEvents.subscribe((event) => notices.push(event)),
  );
});
beforeEach(async () => {
  seen.clear();
  denied.splice(0);
  notices.splice(0);
  gateway.handle = callOn(gateway, product);
  product.handle = callOn(product, stock);
  stock.handle = note('stock');
});
afterAll(async () => {
  for (const stop of stops) stop();
  await chain.close();
});

describe('a user who is carried by hop tokens', () => {
  it('is the same user at every service, beside the service that calls and with the claims that are listed', async () => {
    expect(await enter()).toMatchObject({ status: 200, body: 'stock' });
    const issuer = chain.issuer.issuer;
    const jane = `${issuer}/jane`;
    expect(seen.get('gateway')).toMatchObject({ user: jane, actors: [] });
    expect(seen.get('product')).toMatchObject({ user: jane, actors: [uri('gateway')] });
    expect(seen.get('product')?.claims).toEqual({ iss: issuer, sub: 'jane', scope: ['read', 'write'], groups: ['admin'] });
    expect(seen.get('stock')).toMatchObject({ user: jane, actors: [uri('product'), uri('gateway')] });
    expect(seen.get('stock')?.claims).toEqual({ iss: issuer, sub: 'jane', groups: ['admin'] });
  });

  it('leaves no token in the request that the handler gets, and gives it the payload where a rule says so', async () => {
    await enter();
    for (const name of ['product', 'stock']) {
      expect(seen.get(name)?.headers).not.toHaveProperty('authorization');
      expect(seen.get(name)?.headers).not.toHaveProperty('enmesh-hop-token');
    }
    const payload = String(seen.get('stock')?.headers['sec-istio-auth-userinfo']);
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({ sub: 'jane', groups: ['admin'] });
  });

  it.each(['fetch', 'agent'] as const)('is carried by mesh.%s as well', async (client) => {
    product.handle = note('product');
    gateway.handle = async (_request, response) => {
      const body =
        client === 'fetch'
          ? await (await gateway.mesh.fetch(product.url, { headers: { 'Enmesh-Hop-Token': 'forged' } })).text()
          : await new Promise<string>((done, fail) => {
              httpGet(product.url, { agent: gateway.mesh.agent, headers: { enmesh_hop_token: 'forged' } }, (answer) => {
                answer.setEncoding('utf8').on('data', done);
              }).on('error', fail);
            });
      response.end(body);
    };
    expect(await enter()).toMatchObject({ status: 200, body: 'product' });
    expect(seen.get('product')).toMatchObject({ user: `${chain.issuer.issuer}/jane`, actors: [uri('gateway')] });
  });

  it('is carried on after the SVIDs of caller and receiver were renewed in between', async () => {
    expect((await enter()).body).toBe('stock');
    await Promise.all([gateway.renew(), product.renew(), stock.renew()]);
    expect((await enter()).body).toBe('stock');
    expect(seen.get('stock')?.actors).toEqual([uri('product'), uri('gateway')]);
  });

  it('is carried by a new token where a call is tried again and the SVID was renewed meanwhile', async () => {
    const tokens: string[] = [];
    const certificates = new Set<string>();
    product.handle = async (request, response) => {
      const { user } = request.enmesh ?? {};
      certificates.add(String((request.socket as TLSSocket).getPeerX509Certificate()?.fingerprint256));
      tokens.push(String(user?.principal));
      if (tokens.length > 1) return void response.end('product');
      await gateway.renew();
      request.socket.destroy();
    };
    gateway.handle = async (_request, response) => {
      const { body } = await gateway.mesh.request(`${product.url}/`, { retry: { attempts: 3 } });
      response.end(await body.text());
    };
    expect(await enter()).toMatchObject({ status: 200, body: 'product' });
    const jane = `${chain.issuer.issuer}/jane`;
    expect(tokens).toEqual([jane, jane]);
    // A hop token counts on connections of one certificate only, so each attempt had its own.
    expect(certificates.size).toBe(2);
  });

  it('is not carried to a destination of more than 16 identities, and the call is refused', async () => {
    const wide = await createChain({ services: ['gateway', 'product'], yaml: hops });
    const names = (count: number): string =>
      JSON.stringify(Array.from({ length: count }, (_, i) => (i === 0 ? uri('product') : uri(`product-${i}`))));
    const rule = (count: number): string =>
      `apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: product, namespace: shop}\nspec: {host: product.shop.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ${names(count)}}}}\n`;
    const [first, second] = [wide.of('gateway'), wide.of('product')];
    second.handle = note('product');
    first.handle = async (_request, response) => {
      response.end(await (await first.mesh.request(second.url)).body.text());
    };
    const ask = async (): Promise<Answer> =>
      send({ port: first.port }, 'GET', '/', [['Authorization', `Bearer ${await wide.issuer.sign({ sub: 'jane' })}`]]);
    await wide.write([hops, rule(16)].join('---\n'));
    expect(await ask()).toMatchObject({ status: 200, body: 'product' });
    seen.clear();
    await wide.write([hops, rule(17)].join('---\n'));
    expect(await ask()).toMatchObject({ status: 599, body: 'ENMESH_PROPAGATION_AUDIENCE' });
    expect(seen.has('product')).toBe(false);
    await wide.close();
  });

  it('fits a receiver that takes 4 KiB of headers with the claims that are listed, and is answered 431 where they are too large', async () => {
    const handle = product.handle;
    const small = await open(
      product.mesh.createServer((_request, response) => void response.end('small'), { http: { maxHeaderSize: 4096 } }),
    );
    const entry = (claims: string): string =>
      [
        hops.replaceAll('name: gateway,', 'name: to-product,').replace('"product"', '"elsewhere"'),
        serviceEntry({ name: 'small', port: small, serviceAccount: 'product' }),
        propagation('gateway', to('small', { mode: 'HOP', claims: [claims] })),
      ].join('---\n');
    gateway.handle = async (_request, response) => {
      const { statusCode, body } = await gateway.mesh.request('http://small.shop.svc.cluster.local/');
      response.end(`${statusCode} ${await body.text()}`);
    };
    const large = { email: 'x'.repeat(3500) };
    await chain.write(entry('groups'));
    expect((await enter(large)).body).toBe('200 small');
    await chain.write(entry('email'));
    expect((await enter(large)).body).toMatch(/^431 /);
    await chain.write(hops);
    product.handle = handle;
  });

  it('is told in the events of the call and of the arrival, with who carried them', async () => {
    const calls: object[] = [];
    const stopCalls = stepEvents.outbound.subscribe(({ details }) => calls.push(details ?? {}));
    const stopArrivals = stepEvents.jwt.subscribe(({ details }) => details && calls.push(details));
    await enter();
    stopCalls();
    stopArrivals();
    const user = `${chain.issuer.issuer}/jane`;
    expect(calls).toContainEqual(expect.objectContaining({ propagation: 'HOP', user, actors: [uri('gateway')] }));
    expect(calls).toContainEqual({ user, actors: [uri('product'), uri('gateway')] });
    expect(JSON.stringify(calls)).not.toMatch(/eyJ|admin|j@x/);
  });

  it('is nobody where nobody called: the services speak for themselves', async () => {
    const answer = await send({ port: gateway.port }, 'GET', '/');
    expect(answer.body).toBe('stock');
    expect(seen.get('stock')).toMatchObject({ user: undefined, actors: [] });
    expect(notices.filter(({ kind }) => kind === 'call-without-context')).toEqual([]);
  });

  it('ends with the token of the user: a later call is refused and nothing is sent', async () => {
    let now = Date.now();
    const late = await createChain({ services: ['gateway', 'product'], yaml: hops, mesh: { clock: () => now } });
    const [first, second] = [late.of('gateway'), late.of('product')];
    second.handle = note('product');
    first.handle = async (_request, response) => {
      now += 11_000;
      const { body } = await first.mesh.request(second.url);
      response.end(await body.text());
    };
    const token = await late.issuer.sign({ sub: 'jane' }, { expiresIn: 10, now });
    const answer = await send({ port: first.port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
    expect(answer).toMatchObject({ status: 599, body: 'ENMESH_PROPAGATION_USER_EXPIRED' });
    expect(seen.has('product')).toBe(false);
    await late.close();
  });

  it('is not carried by mesh.agent when the headers were written too early, and the call is refused', async () => {
    gateway.handle = (_request, response) =>
      new Promise<void>((done) => {
        const call = httpGet(product.url, { agent: gateway.mesh.agent, headers: ['Host', 'product'] as never });
        call.on('error', (error: NodeJS.ErrnoException) => {
          response.end(error.code);
          done();
        });
      });
    expect((await enter()).body).toBe('ENMESH_PROPAGATION_HEADERS_SENT');
    expect(seen.has('product')).toBe(false);
  });
});

describe('a context', () => {
  it('is absent in background work: the call goes as the service alone and one event says so', async () => {
    product.handle = note('product');
    const { body } = await gateway.mesh.request(product.url);
    expect(await body.text()).toBe('product');
    await (await gateway.mesh.request(product.url)).body.dump();
    expect(seen.get('product')).toMatchObject({ user: undefined, actors: [] });
    expect(notices.filter(({ kind }) => kind === 'call-without-context')).toHaveLength(1);
  });

  it('can be carried to a queue by mesh.runAs', async () => {
    product.handle = note('product');
    let job: (() => Promise<unknown>) | undefined;
    gateway.handle = (_request, response) => {
      const context = gateway.mesh.context();
      job = () => gateway.mesh.runAs(context!, async () => (await gateway.mesh.request(product.url)).body.text());
      response.end();
    };
    await enter();
    await job?.();
    expect(seen.get('product')).toMatchObject({ user: `${chain.issuer.issuer}/jane`, actors: [uri('gateway')] });
  });

  it('cannot be made up: one that was written down and read again is refused', async () => {
    let context: object | undefined;
    gateway.handle = (_request, response) => {
      context = JSON.parse(JSON.stringify(gateway.mesh.context())) as object;
      response.end();
    };
    await enter();
    expect(() => gateway.mesh.runAs(context as never, () => 1)).toThrow(TypeError);
    expect(() => gateway.mesh.runAs({ peer: undefined, user: undefined, actors: [] }, () => 1)).toThrow(TypeError);
  });

  it('shows no raw token in anything that can be printed', async () => {
    const { inspect } = await import('node:util');
    let printed = '';
    gateway.handle = (_request, response) => {
      printed = inspect(gateway.mesh.context(), { depth: 10, showHidden: true }) + JSON.stringify(gateway.mesh.context());
      response.end();
    };
    await enter();
    const [, payload = '', signature = ''] = (await chain.issuer.sign({ sub: 'x' })).split('.');
    expect(printed).toContain('jane');
    expect(payload.length + signature.length).toBeGreaterThan(0);
    // The payload segment is part of the identity; header and signature, which make it a credential, are not.
    expect(printed).not.toMatch(/eyJ[\w-]+\.[\w-]+\.[\w-]+/);
  });
});
