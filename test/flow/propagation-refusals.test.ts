import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deniedEvents, errorTable, noticeEvents, type DeniedEvent, type X509Svid } from '@enmesh/core';
import { alterClaims, forgeHop, type Forgery } from '../support/forge-hop.js';
import { connect, createHouse, open, send, type Answer, type House } from '../support/house.js';

const account = (name: string): string => `spiffe://cluster.local/ns/shop/sa/${name}`;
const own = account('product');

const policies = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: ISSUER, jwks: 'JWKS', fromHeaders: [{name: Authorization, prefix: "Bearer "}, {name: x-token}], fromParams: [t], fromCookies: [c]}]}
`;
const inbound = `
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: product, namespace: shop}
spec:
  inbound:
  - {principals: [cluster.local/ns/shop/sa/gateway], issuers: [ISSUER], maxActors: 2}
`;

let house: House;
let port: number;
let gateway: X509Svid;
let skew = 0;
let seen: { user: string | undefined; actors: readonly string[]; header: string } | undefined;
const denied: DeniedEvent[] = [];
let stop: () => void;

beforeAll(async () => {
  house = await createHouse(`${policies}---${inbound}`, { clock: () => Date.now() + skew });
  port = await open(
    house.mesh.createServer((request, response) => {
      const { user, actors = [] } = (request as typeof request & { enmesh: { user?: { principal: string }; actors: string[] } })
        .enmesh;
      const names = request.rawHeaders.filter((name) => /^enmesh[-_]hop[-_]token$/i.test(name));
      seen = { user: user?.principal, actors, header: names.join() };
      response.end('handled');
    }),
  );
  gateway = await house.svid('gateway');
  stop = deniedEvents.subscribe((event) => denied.push(event));
});
beforeEach(() => {
  seen = undefined;
  denied.splice(0);
});
afterAll(async () => {
  stop();
  await house.close();
});

const roots = (): string[] => [house.authority.rootPem];
const hop = (forgery: Forgery = {}, audience = own): string => forgeHop(gateway, audience, house.issuer.issuer, forgery);
const arrive = (
  token: string,
  more: readonly [string, string][] = [],
  as: X509Svid | undefined = gateway,
  target = '/',
): Promise<Answer> => send({ port, as, roots: roots() }, 'GET', target, [['Enmesh-Hop-Token', token], ...more]);

function expectRefused(answer: Answer, code: keyof typeof errorTable): void {
  expect(denied.map((event) => `${event.step} ${event.code}`)).toEqual([`jwt ${code}`]);
  expect(answer).toMatchObject({ status: 401, body: errorTable[code].public });
  expect(answer.headers['www-authenticate']).toMatch(/^Bearer realm=.*error="invalid_token"$/);
  expect(seen).toBeUndefined();
  expect(JSON.stringify(denied)).not.toMatch(/eyJ|jane|admin/);
}

describe('a hop token', () => {
  it('made by the peer of this connection for this workload names the user', async () => {
    expect(await arrive(hop())).toMatchObject({ status: 200, body: 'handled' });
    expect(seen).toEqual({ user: `${house.issuer.issuer}/jane`, actors: [account('gateway')], header: '' });
  });

  it.each<[string, readonly [string, string][], string]>([
    ['in Authorization', [['Authorization', 'Bearer x.y.z']], '/'],
    ['in Authorization of another spelling', [['Authorization', 'bearer\tx']], '/'],
    ['in a header of a rule', [['X-Token', 'x.y.z']], '/'],
    ['in the query', [], '/?t=x.y.z'],
    ['in a cookie', [['Cookie', 'c=x.y.z']], '/'],
  ])('is refused beside a token %s', async (_where, headers, target) => {
    expectRefused(await arrive(hop(), headers, gateway, target), 'ENMESH_PROPAGATION_HOP_BESIDE_TOKEN');
  });

  it('is refused beside a valid token of the same user', async () => {
    const token = await house.issuer.sign({ sub: 'jane' });
    expectRefused(await arrive(hop(), [['Authorization', `Bearer ${token}`]]), 'ENMESH_PROPAGATION_HOP_BESIDE_TOKEN');
  });

  it('is refused on a connection without mutual TLS', async () => {
    expectRefused(await send({ port }, 'GET', '/', [['Enmesh-Hop-Token', hop()]]), 'ENMESH_PROPAGATION_HOP_UNBOUND');
  });

  it.each(['Enmesh-Hop-Token', 'enmesh_hop_token', 'ENMESH-hop_TOKEN'])('is refused with a second one as %s', async (name) => {
    expectRefused(await arrive(hop(), [[name, 'x']]), 'ENMESH_PROPAGATION_HOP_TWICE');
  });

  it('is refused when another service replays it, even one that may speak for users', async () => {
    const stolen = hop();
    expectRefused(await arrive(stolen, [], await house.svid('other')), 'ENMESH_PROPAGATION_HOP_NOT_ALLOWED');
    await house.write('inbound.yaml', inbound.replace('name: product', 'name: more').replace('sa/gateway', 'sa/other'));
    denied.splice(0);
    expectRefused(await arrive(stolen, [], await house.svid('other')), 'ENMESH_PROPAGATION_HOP_SIGNATURE');
  });

  it('is refused on a connection with another certificate of the same service', async () => {
    expectRefused(await arrive(hop(), [], await house.svid('gateway')), 'ENMESH_PROPAGATION_HOP_SIGNATURE');
  });

  it('is refused by a service that it is not for', async () => {
    expectRefused(await arrive(hop({}, account('stock'))), 'ENMESH_PROPAGATION_HOP_AUDIENCE');
  });

  const now = Math.floor(Date.now() / 1000);
  it.each([
    ['after its end', { iat: now - 61, exp: now - 1 }],
    ['made by a clock that is 5 minutes behind', { iat: now - 300, exp: now - 240, user_exp: now + 900 }],
    ['made by a clock that is 5 minutes ahead', { iat: now + 300, exp: now + 360, user_exp: now + 900 }],
  ])('is refused %s', async (_when, claims) => {
    expectRefused(await arrive(hop({ claims })), 'ENMESH_PROPAGATION_HOP_EXPIRED');
  });

  it('that was good a moment ago is refused once it has ended, though its signature is remembered', async () => {
    const token = hop();
    expect((await arrive(token)).status).toBe(200);
    seen = undefined;
    skew = 61_000;
    expectRefused(await arrive(token), 'ENMESH_PROPAGATION_HOP_EXPIRED');
    skew = 0;
  });

  it.each<[string, (claims: Record<string, unknown>) => void]>([
    ['another subject', (claims) => (claims['sub'] = 'root')],
    ['another claim', (claims) => ((claims['user'] as Record<string, unknown>)['groups'] = ['root'])],
    ['a later end', (claims) => (claims['exp'] = Number(claims['exp']) + 1)],
    ['another audience', (claims) => (claims['aud'] = [own, account('stock')])],
  ])('is refused with %s than was signed', async (_what, change) => {
    expectRefused(await arrive(alterClaims(hop(), change)), 'ENMESH_PROPAGATION_HOP_SIGNATURE');
  });

  it('is refused when more services have carried the user than may', async () => {
    const act = (...names: string[]): object => ({
      claims: {
        act: names.reduceRight<object | undefined>(
          (inner, name) => ({ sub: account(name), ...(inner && { act: inner }) }),
          undefined,
        ),
      },
    });
    expect((await arrive(hop(act('gateway', 'edge')))).status).toBe(200);
    seen = undefined;
    expectRefused(await arrive(hop(act('gateway', 'edge', 'far'))), 'ENMESH_PROPAGATION_HOP_CHAIN');
  });

  it('is refused from a principal that is not listed, and of an issuer that is not', async () => {
    const other = await house.svid('nobody');
    expectRefused(await arrive(forgeHop(other, own, house.issuer.issuer), [], other), 'ENMESH_PROPAGATION_HOP_NOT_ALLOWED');
    denied.splice(0);
    expectRefused(await arrive(forgeHop(gateway, own, 'https://evil.test')), 'ENMESH_PROPAGATION_HOP_NOT_ALLOWED');
  });

  const long = { user: { iss: 'i', groups: 'x'.repeat(8000) } };
  it.each<[string, Forgery]>([
    ['another typ', { header: { typ: 'JWT' } }],
    ['a further header member', { header: { crit: ['exp'] } }],
    ['an embedded key', { header: { jwk: {} } }],
    ['a life of 61 s', { claims: { iat: now, exp: now + 61 } }],
    ['a life past that of the user', { claims: { user_exp: now + 30 } }],
    ['exp as text', { claims: { exp: String(now + 60) } }],
    ['no end', { claims: { exp: undefined } }],
    ['no subject', { claims: { sub: undefined } }],
    ['no issuer of the user', { claims: { user: {} } }],
    ['17 audiences', { claims: { aud: Array.from({ length: 17 }, () => own) } }],
    ['no chain', { claims: { act: undefined } }],
    ['a chain that ends in another service', { claims: { act: { sub: account('other') } } }],
    ['more than 8 KiB', { claims: long }],
  ])('is refused with %s', async (_what, forgery) => {
    expectRefused(await arrive(hop(forgery)), 'ENMESH_PROPAGATION_HOP_MALFORMED');
  });

  it.each([
    ['text that is no token', () => 'hello'],
    ['an empty text', () => '.'],
    ['a spelling of base64url that is not canonical', () => `${hop()}=`],
    ['a fourth part', () => `${hop()}.AA`],
    ['a member twice', () => hop({ payload: `{"iss":"${account('gateway')}","iss":"${account('gateway')}"}` })],
  ])('is refused as %s', async (_what, make) => {
    expectRefused(await arrive(make()), 'ENMESH_PROPAGATION_HOP_MALFORMED');
  });

  it.each<[string, () => Promise<Forgery>]>([
    ['alg none', async () => ({ header: { alg: 'none' } })],
    ['an alg that the key does not have', async () => ({ header: { alg: 'RS256' } })],
    ['HS256', async () => ({ header: { alg: 'HS256' } })],
    ['the thumbprint of another certificate', async () => ({ header: { 'x5t#S256': 'A'.repeat(43) } })],
    ['another maker', async () => ({ claims: { iss: account('other') } })],
    ['the signature of another key', async () => ({ signer: await house.svid('gateway') })],
  ])('is refused with %s', async (_what, forge) => {
    expectRefused(await arrive(hop(await forge())), 'ENMESH_PROPAGATION_HOP_SIGNATURE');
  });

  it.each<[string, () => Promise<void>]>([
    ['the peer may no longer speak for the user', () => house.write('policies.yaml', policies)],
    ['the token of the user has ended', async () => void (skew = 301_000)],
  ])('leaves a WebSocket open until %s', async (_what, change) => {
    const server = house.mesh.createServer(() => {});
    server.on('upgrade', (_request, socket) =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    );
    const socket = connect({ port: await open(server), as: gateway, roots: roots() });
    const closed = new Promise((done) => socket.once('close', done));
    const opened = new Promise<string>((done) => socket.once('data', (chunk: Buffer) => done(chunk.toString('latin1'))));
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nEnmesh-Hop-Token: ${hop()}\r\n\r\n`);
    expect(await opened).toContain('101');
    const ended = new Promise<string>((done) => {
      const stopHearing = noticeEvents.subscribe(({ kind, code }) => {
        if (kind !== 'stream-ended') return;
        stopHearing();
        done(String(code));
      });
    });
    await change();
    // Every change of the configuration makes the server look at what is open.
    await house.write('look.yaml', `# ${_what}\n`);
    expect(await ended).toMatch(/^ENMESH_PROPAGATION_HOP_(NOT_ALLOWED|EXPIRED)$/);
    await closed;
    skew = 0;
    await house.write('policies.yaml', `${policies}---${inbound}`);
  });

  it.each(['enmesh-hop-token', 'Enmesh-Hop-Token', 'enmesh_hop_token', 'ENMESH_HOP-TOKEN'])(
    'is removed as %s where no inbound entry reads it',
    async (name) => {
      const plain = await createHouse(policies);
      let headers: string[] = [];
      let user: unknown = 'unset';
      const other = await open(
        plain.mesh.createServer((request, response) => {
          headers = [...Object.keys(request.headers), ...request.rawHeaders];
          user = (request as typeof request & { enmesh: { user?: object } }).enmesh.user;
          response.end();
        }),
      );
      const svid = await plain.svid('gateway');
      const answer = await send({ port: other, as: svid, roots: [plain.authority.rootPem] }, 'GET', '/', [
        [name, forgeHop(svid, own, plain.issuer.issuer)],
      ]);
      expect(answer.status).toBe(200);
      expect(user).toBeUndefined();
      expect(headers.join()).not.toMatch(/enmesh/i);
      await plain.close();
    },
  );
});
