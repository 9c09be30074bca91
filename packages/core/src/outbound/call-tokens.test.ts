import { beforeAll, describe, expect, it } from 'vitest';
import type { RequestIdentity } from '../identity/caller.js';
import type { X509Svid } from '../identity/svid.js';
import { requestIdentity } from '../jwt/outputs.js';
import { compileJwtRules } from '../jwt/rules.js';
import { parseToken } from '../jwt/token.js';
import { runInContext } from '../propagation/context.js';
import type { PropagationMode } from '../propagation/resource.js';
import { createTestAuthority } from '../testing/authority.js';
import { createCallTokens } from './call-tokens.js';
import type { Carriage } from './carriage.js';

const issuer = 'https://idp.test';
/** As at a door: one list for all who came with a token of their own, so that hop tokens are made once per user. */
const nobody: readonly string[] = [];
const meta = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt', creationTimestamp: 0, labels: {}, annotations: {} };
const { rules } = compileJwtRules(
  [
    {
      meta: { ...meta, source: { file: 'j', line: 1, column: 1 } },
      spec: { jwtRules: [{ issuer, jwksUri: `${issuer}/jwks` }] },
    },
  ],
  { namespace: 'shop', labels: {} },
  'istio-system',
);

const segment = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const userNamed = (sub: string): RequestIdentity => {
  const payload = segment({ iss: issuer, sub, exp: 4_000_000_000 });
  const token = parseToken(`${segment({ alg: 'ES256', kid: 'k' })}.${payload}.${Buffer.alloc(64, 7).toString('base64url')}`);
  if (!token.ok) throw new Error('no token');
  return requestIdentity(token, rules[0]!);
};

const exchange = { tokenEndpoint: 'https://idp.test/token', clientAuth: { method: 'tls_client_auth' } } as const;
const carriage = (mode: PropagationMode): Carriage => ({
  entry: { mode, policy: 'shop/gateway', spec: { hosts: ['stock'], mode, ...(mode === 'EXCHANGE' && { exchange }) } },
  audience: Object.freeze(['spiffe://cluster.local/ns/shop/sa/stock']),
  objection: undefined,
});

const subjectOf = (token = ''): unknown =>
  (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { sub?: unknown }).sub;

/** Ways in which a handler comes back later, in an order of the event loop's own. */
const pauses: readonly (() => Promise<unknown>)[] = [
  () => Promise.resolve(),
  () => new Promise((done) => process.nextTick(done)),
  () => new Promise((done) => setImmediate(done)),
  () => new Promise((done) => setTimeout(done, Math.random() * 3)),
  () => new Promise<void>((done) => queueMicrotask(done)),
];
const pause = (): Promise<unknown> => pauses[Math.floor(Math.random() * pauses.length)]!();

describe('what calls carry', () => {
  let svid: X509Svid;
  beforeAll(async () => {
    svid = await (await createTestAuthority()).issue({ namespace: 'shop', serviceAccount: 'gateway' });
  });

  it('is never of the user of another request, with 100 000 of them interleaved in all modes', async () => {
    const tokens = createCallTokens({
      clock: Date.now,
      openExchange: async () => ({
        tokenFor: async (raw) => (await pause(), `for.${raw.text.split('.')[1]}.it`),
        close() {},
      }),
    });
    const carriages = (['HOP', 'EXCHANGE', 'FORWARD'] as const).map(carriage);
    const users = Array.from({ length: 200 }, (_, i) => userNamed(`user-${i}`));
    let calls = 0;
    const wrong: unknown[] = [];
    const handle = async (user: RequestIdentity): Promise<void> => {
      if (Math.random() < 0.7) await pause();
      const each = carriages[calls++ % carriages.length]!;
      const [line] = await tokens.headersFor(each, svid, tokens.context());
      if (subjectOf(line?.[1]) !== user.subject) wrong.push([user.subject, each.entry.mode, subjectOf(line?.[1])]);
      if (Math.random() < 0.1) await pause();
      if (tokens.context()?.user !== user) wrong.push([user.subject, 'context']);
    };
    let left = 100_000;
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const user = users[Math.floor(Math.random() * users.length)]!;
        await runInContext({ peer: undefined, user, actors: nobody }, () => handle(user));
      }
    };
    await Promise.all(Array.from({ length: 500 }, work));
    tokens.close();
    expect(wrong).toEqual([]);
    expect(calls).toBe(100_000);
    expect(tokens.context()).toBeUndefined();
  });

  it('is opened anew after an exchange that could not be opened, once for all entries that say the same', async () => {
    let opened = 0;
    const tokens = createCallTokens({
      clock: Date.now,
      openExchange: async () => {
        if (opened++ === 0) throw new Error('not today');
        return { tokenFor: async () => 'given', close() {} };
      },
    });
    const context = { peer: undefined, user: userNamed('jane'), actors: [] };
    const call = async (): Promise<unknown> => tokens.headersFor(carriage('EXCHANGE'), svid, context);
    await expect(call()).rejects.toThrow('not today');
    expect(await Promise.all([call(), call()])).toEqual([
      [['authorization', 'Bearer given']],
      [['authorization', 'Bearer given']],
    ]);
    expect(opened).toBe(2);
  });

  it('comes with word of where its token is from, for whoever tells of the call', async () => {
    const { createTokenExchange } = await import('../propagation/exchange.js');
    const granted = { access_token: 'at', token_type: 'Bearer', expires_in: 300 };
    const kind = 'urn:ietf:params:oauth:token-type:access_token';
    const body = JSON.stringify({ ...granted, issued_token_type: kind });
    const fetchToken = async () => ({ status: 200, contentType: 'application/json', body });
    const clientAuth = { method: 'client_secret_basic', clientId: 'gateway', clientSecretFile: 'package.json' } as const;
    const tokens = createCallTokens({
      clock: Date.now,
      openExchange: async () => createTokenExchange({ spec: { ...exchange, clientAuth }, fetchToken }),
    });
    const context = { peer: undefined, user: userNamed('jane'), actors: nobody };
    const hop = carriage('HOP');
    const sourceOf = async (each: Carriage): Promise<unknown> => {
      const note = { token: undefined };
      await tokens.headersFor(each, svid, context, note);
      return note.token;
    };
    expect([await sourceOf(hop), await sourceOf(hop), await sourceOf(carriage('FORWARD'))]).toEqual([
      'minted',
      'reused',
      'forwarded',
    ]);
    expect([await sourceOf(carriage('EXCHANGE')), await sourceOf(carriage('EXCHANGE'))]).toEqual(['fetched', 'cached']);
    expect(await sourceOf(carriage('NONE'))).toBeUndefined();
    tokens.close();
  });
});
