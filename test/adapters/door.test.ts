import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stepEvents, type X509Svid } from '@enmesh/core';
import { createHouse, send, sendRaw, type Answer, type House } from '../support/house.js';
import { doors, type Application, type Seen } from '../support/frameworks.js';
import { peerAuthentication } from '../support/documents.js';

const policies = `${peerAuthentication('STRICT')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ISSUER
    audiences: [shop]
    jwks: 'JWKS'
    fromHeaders: [{name: Authorization, prefix: "Bearer "}]
    fromParams: [access_token]
    outputPayloadToHeader: x-jwt-payload
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-private, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/private]}}]
  - when: [{key: "request.headers[x-role]", values: [guest]}]
`;

let house: House;
let gateway: X509Svid;
let stranger: X509Svid;
let token: string;

beforeAll(async () => {
  house = await createHouse(policies);
  gateway = await house.svid('gateway');
  stranger = await house.svid('stranger');
  token = await house.issuer.sign({ sub: 'jane', aud: 'shop' });
});
afterAll(() => house.close());

const seen = (answer: Answer): Seen => {
  expect(answer.status, answer.bytes || answer.ended).toBe(200);
  return JSON.parse(answer.body) as Seen;
};

describe.each(Object.entries(doors))('at the door of %s', (name, start) => {
  let app: Application;
  let call: (method: string, target: string, headers?: [string, string][], as?: X509Svid) => Promise<Answer>;
  beforeAll(async () => {
    app = await start(house.mesh);
    call = (method, target, headers = [], as = gateway) =>
      send({ port: app.port, as, roots: [house.authority.rootPem] }, method, target, headers);
  });
  afterAll(() => app.close());

  it('lets the gateway pass and tells the handler who called', async () => {
    const { peer, user } = seen(await call('GET', '/public'));
    expect(peer).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(user).toBeUndefined();
  });

  it('resets plaintext at a STRICT port without a byte', async () => {
    const answer = await send({ port: app.port }, 'GET', '/public');
    expect(answer).toMatchObject({ bytes: '', ended: 'ECONNRESET' });
  });

  it("refuses another identity with Istio's status and body, and names the decision", async () => {
    const answer = await call('GET', '/public', [], stranger);
    expect(answer).toMatchObject({ status: 403, body: 'RBAC: access denied' });
    expect(answer.headers['content-type']).toBe('text/plain');
    expect(answer.headers['x-enmesh-decision']).toMatch(/^[0-9a-f]{16}$/);
  });

  it('takes the raw token away from every reader and hands over the verified payload', async () => {
    const answer = await call('GET', '/public', [['Authorization', `Bearer ${token}`]]);
    const { headers, user } = seen(answer);
    expect(answer.bytes).not.toContain(token);
    expect(answer.bytes.toLowerCase()).not.toContain('authorization');
    expect(headers['x-jwt-payload']).toBe(token.split('.')[1]);
    expect(user).toBe(`${house.issuer.issuer}/jane`);
  });

  it('takes a token out of the query and keeps the rest', async () => {
    const answer = await call('GET', `/public?b=2&access_token=${token}&a=1`);
    expect(seen(answer).url).toBe('/public?a=1&b=2');
    expect(answer.bytes).not.toContain(token);
  });

  it("refuses a forged token with Istio's 401, body and challenge", async () => {
    const [head, , signature] = token.split('.');
    const payload = Buffer.from(
      JSON.stringify({ iss: house.issuer.issuer, sub: 'admin', aud: 'shop', exp: 4102444800 }),
    ).toString('base64url');
    const answer = await call('GET', '/public', [['Authorization', `Bearer ${head}.${payload}.${signature}`]]);
    expect(answer).toMatchObject({ status: 401, body: 'Jwt verification fails' });
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="https://product.shop/public", error="invalid_token"');
  });

  it.each([['x-jwt-payload'], ['X_Jwt_Payload'], ['X-Enmesh-User'], ['x-forwarded-client-cert'], ['sec-istio-auth-userinfo']])(
    'takes a forged %s away from every reader',
    async (header) => {
      const answer = await call('GET', '/public', [[header, 'forged-by-the-client']]);
      seen(answer);
      expect(answer.bytes).not.toContain('forged-by-the-client');
    },
  );

  it('takes away headers that Connection nominates, so that handler and policy see the same', async () => {
    const answer = await call('GET', '/public', [
      ['Connection', 'close, x-role'],
      ['x-role', 'guest'],
    ]);
    expect(seen(answer).headers['x-role']).toBeUndefined();
    expect(answer.body).not.toContain('guest');
  });

  it.each([
    [
      'two Host lines',
      [
        ['Host', 'a'],
        ['Host', 'b'],
      ],
    ],
    [
      'two Authorization lines',
      [
        ['Authorization', 'Bearer a'],
        ['authorization', 'Bearer b'],
      ],
    ],
    ['a protected name in Connection', [['Connection', 'close, x-jwt-payload']]],
  ] as [string, [string, string][]][])('refuses %s with 400', async (_what, headers) => {
    expect(await call('GET', '/public', headers)).toMatchObject({ status: 400 });
  });

  it('refuses a request with more headers than it reads, instead of cutting them', async () => {
    const many = Array.from({ length: 150 }, (_none, i): [string, string] => [`x-filler-${i}`, '1']);
    expect(await call('GET', '/public', [...many, ['x-role', 'guest']])).toMatchObject({ status: 431 });
  });

  it('judges and routes the same normalized path', async () => {
    expect(await call('GET', '/public/../private')).toMatchObject({ status: 403 });
    expect(seen(await call('GET', '/private/../public')).url).toBe('/public');
    expect(seen(await call('GET', '/x/../public?q=%2e#frag')).url).toBe('/public?q=%2e');
  });

  it.each([
    '/private',
    '/private/',
    '/PRIVATE',
    '/Private/',
    '/%70rivate',
    '/private?x',
    '/private#x',
    '//private',
    '/./private',
    'http://product.shop/private',
  ])('never serves the denied route spelt %s', async (target) => {
    const answer = await call('GET', target);
    expect([400, 403, 404]).toContain(answer.status);
    expect(answer.body).not.toContain('"route":"/private"');
  });

  it('takes the host of an absolute-form target for the Host of every reader', async () => {
    const { headers, url } = seen(await call('GET', 'http://other.shop/public', [['Host', 'product.shop']]));
    expect({ host: headers['host'], url }).toEqual({ host: 'other.shop', url: '/public' });
  });

  it.each(['/a\x01b', '/%00', '/x/%2e%2e;/private', '/\xe9'])('refuses the ambiguous target %j with 400', async (target) => {
    expect(await call('GET', target)).toMatchObject({ status: 400 });
  });

  it('decides Expect: 100-continue before the body is asked for', async () => {
    const refused = await call('POST', '/private', [
      ['Expect', '100-continue'],
      ['Content-Length', '4'],
    ]);
    expect(refused.status).toBe(403);
    expect(refused.bytes).not.toContain('100 Continue');
  });

  it('refuses CONNECT, and judges an upgrade as its GET', async () => {
    const options = { port: app.port, as: gateway, roots: [house.authority.rootPem] };
    expect(await sendRaw(options, 'CONNECT internal:80 HTTP/1.1\r\nHost: internal:80\r\n\r\n')).toMatchObject({ status: 405 });
    const upgrade = [
      ['Connection', 'Upgrade'],
      ['Upgrade', 'websocket'],
      ['Connection', 'close'],
    ] as [string, string][];
    expect(await call('GET', '/private', upgrade)).toMatchObject({ status: 403 });
  });

  it('hands a request body over untouched', async () => {
    const answer = await send(
      { port: app.port, as: gateway, roots: [house.authority.rootPem] },
      'POST',
      '/echo',
      [['Content-Type', 'text/x-test']],
      'hello body',
    );
    expect(seen(answer).body).toBe('hello body');
  });

  it('decides each request exactly once', async () => {
    const decided: object[] = [];
    const stop = stepEvents.authorize.subscribe(({ subject }) => decided.push(subject));
    await call('GET', '/public');
    await call('GET', '/public', [], stranger);
    stop();
    expect(decided).toHaveLength(2);
    expect(new Set(decided).size).toBe(2);
  });

  it(`answers 404 of ${name} itself where no policy minds`, async () => {
    expect(await call('GET', '/nowhere')).toMatchObject({ status: 404 });
  });
});
