import { beforeAll, describe, expect, it } from 'vitest';
import { rulesOf } from '../../../../test/support/jwt-verifier.js';
import { createTestIssuer, type SignOptions, type TestIssuer } from '../testing/issuer.js';
import { createKeySets, type KeySet, type KeySets } from './key-sets.js';
import type { JwtRuleSpec } from './resource.js';
import type { JwtRuleSet } from './rules.js';
import { createJwtVerifier, createTokenMemo, type JwtOutcome, type TokenSource } from './verify.js';

const now = Date.UTC(2026, 0, 1);
const seconds = now / 1000;

let rsa: TestIssuer;
let ec: TestIssuer;
let ed: TestIssuer;
let evil: TestIssuer;
beforeAll(async () => {
  [rsa, ec, ed, evil] = await Promise.all([
    createTestIssuer({ issuer: 'https://rsa.test' }),
    createTestIssuer({ issuer: 'https://ec.test', alg: 'ES256' }),
    createTestIssuer({ issuer: 'https://ed.test', alg: 'EdDSA' }),
    createTestIssuer({ issuer: 'https://rsa.test' }),
  ]);
});

const sign = (issuer: TestIssuer, claims: Record<string, unknown> = {}, options: SignOptions = {}): Promise<string> =>
  issuer.sign({ sub: 'alice', ...claims }, { now, ...options });
const ruleFor = (issuer: TestIssuer, rule: JwtRuleSpec = {}): JwtRuleSpec => ({
  issuer: issuer.issuer,
  jwks: issuer.jwksText,
  ...rule,
});

const inlineKeys = (): KeySets => createKeySets({ insecureHttp: () => false });
const request = (headers: Record<string, string | readonly string[]>, query = ''): TokenSource => ({
  query,
  header: (name) => {
    const value = headers[name];
    return typeof value === 'string' ? [value] : value;
  },
});
const bearer = (token: string): TokenSource => request({ authorization: `Bearer ${token}` });
const verify = (rules: JwtRuleSet, source: TokenSource, at = now): JwtOutcome =>
  createJwtVerifier({ keySets: inlineKeys() }).verify(rules, source, at);
const said = (outcome: JwtOutcome): string =>
  outcome.ok ? (outcome.user?.principal ?? 'nobody') : `${outcome.status} ${outcome.body}`;

describe('one rule', () => {
  it('accepts a request without a token, as nobody', () => {
    expect(verify(rulesOf(ruleFor(rsa)), request({}))).toEqual({ ok: true, user: undefined, effects: undefined });
    expect(verify(rulesOf(ruleFor(rsa)), request({ authorization: 'Basic abc' }, 'x=1'))).toMatchObject({
      ok: true,
      user: undefined,
    });
    expect(verify(rulesOf(), bearer('junk'))).toMatchObject({ ok: true, user: undefined });
  });

  it('accepts a good token of every kind of key and tells who it is', async () => {
    for (const issuer of [rsa, ec, ed]) {
      const token = await sign(issuer, { azp: 'web', aud: ['a', 'b'], groups: ['staff'] });
      expect(verify(rulesOf(ruleFor(issuer)), bearer(token))).toEqual({
        ok: true,
        user: {
          principal: `${issuer.issuer}/alice`,
          issuer: issuer.issuer,
          subject: 'alice',
          audiences: ['a', 'b'],
          presenter: 'web',
          claims: {
            iss: issuer.issuer,
            sub: 'alice',
            azp: 'web',
            aud: ['a', 'b'],
            groups: ['staff'],
            iat: seconds,
            exp: seconds + 300,
          },
          payload: token.split('.')[1],
          expiresAt: now + 300_000,
        },
        effects: { removeHeaders: ['authorization'], removeParams: [], setHeaders: [] },
      });
    }
  });

  it('names no principal without iss or sub', async () => {
    const anyIssuer = rulesOf(ruleFor(rsa, { issuer: '', jwksUri: 'https://x' }));
    const noSubject = verify(anyIssuer, bearer(await sign(rsa, { sub: undefined })));
    const noIssuer = verify(anyIssuer, bearer(await sign(rsa, { iss: undefined })));
    expect([noSubject, noIssuer].map((outcome) => outcome.ok && outcome.user !== undefined && outcome.user.principal)).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('refuses, each with its own answer', async () => {
    const rules = rulesOf(ruleFor(rsa, { audiences: ['https://shop.test/'] }));
    const good = await sign(rsa, { aud: 'shop.test' });
    const cut = good.slice(0, -4);
    const table: readonly (readonly [string, string])[] = [
      [good, 'https://rsa.test/alice'],
      [await sign(rsa, { aud: 'other' }), '403 Audiences in Jwt are not allowed'],
      [await sign(rsa), '403 Audiences in Jwt are not allowed'],
      [await sign(rsa, { aud: [] }), '403 Audiences in Jwt are not allowed'],
      [await sign(rsa, { aud: 'shop.test', iss: 'https://rsa.test/' }), '401 Jwt issuer is not configured'],
      [await sign(rsa, { aud: 'shop.test', iss: undefined }), '401 Jwt issuer is not configured'],
      [await sign(rsa, { aud: 'shop.test', exp: seconds - 61 }), '401 Jwt is expired'],
      [await sign(rsa, { aud: 'shop.test', nbf: seconds + 61 }), '401 Jwt not yet valid'],
      [await sign(evil, { aud: 'shop.test' }), '401 Jwt verification fails'],
      [`${cut}AAAA`, '401 Jwt verification fails'],
      [await sign(rsa, { aud: 'shop.test' }, { kid: 'other' }), "401 Jwks doesn't have key to match kid or alg from Jwt"],
      [await sign(rsa, { aud: 'shop.test' }, { kid: null }), 'https://rsa.test/alice'],
      [
        rsa.signText('{"alg":"RS384","kid":"key-1"}', '{"iss":"https://rsa.test","aud":"shop.test"}'),
        "401 Jwks doesn't have key to match kid or alg from Jwt",
      ],
      [rsa.signText('{"alg":"none"}', '{"iss":"https://rsa.test","aud":"shop.test"}'), '401 Jwt header [alg] is not supported'],
      [
        rsa.signText('{"alg":"RS256","crit":["x"],"x":1}', '{"iss":"https://rsa.test","aud":"shop.test"}'),
        '401 Jwt verification fails',
      ],
      ['junk', '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections'],
      // What Envoy would find comes before what only enmesh minds.
      [`.${good}`, '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections'],
      [`.${await sign(rsa, { aud: 'other' })}`, '403 Audiences in Jwt are not allowed'],
      [rsa.signText('{"alg":"RS256","zip":"DEF"}', '{"iss":"https://other.test"}'), '401 Jwt issuer is not configured'],
    ];
    for (const [token, answer] of table) expect(said(verify(rules, bearer(token)))).toBe(answer);
  });

  it('lets the key decide the algorithm, not the token', async () => {
    const withoutAlg = { keys: ec.jwks.keys.map(({ alg: _, ...key }) => key) };
    const rules = rulesOf({ issuer: ec.issuer, jwks: JSON.stringify(withoutAlg) });
    const answers = ['ES256', 'EdDSA', 'RS256', 'PS256', 'HS256', 'ES384'].map((alg) =>
      said(verify(rules, bearer(ec.signText(JSON.stringify({ alg }), JSON.stringify({ iss: ec.issuer, sub: 'alice' }))))),
    );
    expect(answers).toEqual(['https://ec.test/alice', ...Array.from({ length: 5 }, () => '401 Jwt verification fails')]);
    const short = said(
      verify(rulesOf(ruleFor(ed)), bearer(`${ed.signText('{"alg":"EdDSA"}', JSON.stringify({ iss: ed.issuer }))}AAAA`)),
    );
    expect(short).toMatch(/^401 Jwt/);
  });

  it('reports what is cheap to find before the signature: issuer, time, audience, in that order', async () => {
    const rules = rulesOf(ruleFor(rsa, { audiences: ['a'] }));
    expect(said(verify(rules, bearer(await sign(evil, { iss: 'x', exp: 1, aud: 'b' }))))).toBe(
      '401 Jwt issuer is not configured',
    );
    expect(said(verify(rules, bearer(await sign(evil, { exp: 1, aud: 'b' }))))).toBe('401 Jwt is expired');
    expect(said(verify(rules, bearer(await sign(evil, { aud: 'b' }))))).toBe('403 Audiences in Jwt are not allowed');
  });

  it('grants 60 seconds of skew to the second, and none to a broken clock', async () => {
    const rules = rulesOf(ruleFor(ec));
    const token = bearer(await sign(ec, { nbf: seconds, exp: seconds + 100 }));
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const at = (ms: number) => said(verifier.verify(rules, token, ms));
    expect(at(now - 60_001)).toBe('401 Jwt not yet valid');
    expect(at(now - 60_000)).toBe('https://ec.test/alice');
    expect(at(now + 160_999)).toBe('https://ec.test/alice');
    expect(at(now + 161_000)).toBe('401 Jwt is expired');
    expect(at(Number.NaN)).toBe('401 Jwt not yet valid');
  });

  it('refuses when any token at its places is bad, and lets the one verified last be the user', async () => {
    const rules = rulesOf(
      ruleFor(rsa, { fromHeaders: [{ name: 'x-a' }, { name: 'x-b' }], fromParams: ['t'], fromCookies: ['c'] }),
    );
    const [alice, bob, bad] = [await sign(rsa), await sign(rsa, { sub: 'bob' }), await sign(evil)];
    expect(said(verify(rules, request({ 'x-a': alice, 'x-b': bob, cookie: `c=${bob}` }, `t=${bob}`)))).toBe(
      'https://rsa.test/alice',
    );
    expect(said(verify(rules, request({ 'x-a': [bob, alice] })))).toBe('https://rsa.test/bob');
    for (const source of [
      request({ 'x-a': alice, 'x-b': bad }),
      request({ 'x-a': [alice, bad] }),
      request({ 'x-a': alice }, `t=${bad}`),
      request({ 'x-a': alice }, 't'),
      request({ 'x-a': alice, cookie: `c=${bad}` }),
      request({ 'x-a': alice, 'x-b': '' }),
    ])
      expect(verify(rules, source).ok).toBe(false);
  });

  it('joins the effects of several good tokens', async () => {
    const rules = rulesOf(
      ruleFor(rsa, { fromHeaders: [{ name: 'x-a' }, { name: 'x-b' }], fromParams: ['t'], outputPayloadToHeader: 'x-p' }),
    );
    const [alice, bob] = [await sign(rsa), await sign(rsa, { sub: 'bob' })];
    const outcome = verify(rules, request({ 'x-a': [alice, bob] }, `t=${bob}`));
    expect(outcome.ok && outcome.effects).toEqual({
      removeHeaders: ['x-a'],
      removeParams: ['t'],
      setHeaders: [bob, bob, alice].map((token) => ['x-p', token.split('.')[1]]),
    });
  });

  it('refuses when anything throws', () => {
    const source: TokenSource = {
      query: '',
      header: () => {
        throw new Error('broken');
      },
    };
    expect(verify(rulesOf(ruleFor(rsa)), source)).toMatchObject({ ok: false, status: 401, code: 'ENMESH_JWT_UNCHECKED' });
  });
});

describe('several rules', () => {
  const own = (issuer: TestIssuer, header: string, rule: JwtRuleSpec = {}) =>
    ruleFor(issuer, { fromHeaders: [{ name: header }], ...rule });

  it('accept what one of them accepts, and do not look further', async () => {
    const shared = rulesOf(ruleFor(rsa), ruleFor(ec));
    expect(said(verify(shared, bearer(await sign(ec))))).toBe('https://ec.test/alice');
    expect(said(verify(shared, bearer(await sign(rsa))))).toBe('https://rsa.test/alice');
    const apart = rulesOf(own(ec, 'x-ec'), own(rsa, 'x-rsa'));
    expect(said(verify(apart, request({ 'x-ec': await sign(ec), 'x-rsa': 'junk' })))).toBe('https://ec.test/alice');
    expect(said(verify(apart, request({ 'x-ec': 'junk', 'x-rsa': await sign(rsa) })))).toBe('https://rsa.test/alice');
    expect(said(verify(apart, request({})))).toBe('nobody');
  });

  it('with the same issuer are alternatives: either key set suffices', async () => {
    const rules = rulesOf(ruleFor(rsa), ruleFor(evil));
    expect(said(verify(rules, bearer(await sign(rsa))))).toBe('https://rsa.test/alice');
    expect(said(verify(rules, bearer(await sign(evil))))).toBe('https://rsa.test/alice');
  });

  it('refuse a bad token when none accepts, with the answer of the first rule that knows better than the issuer', async () => {
    const rules = rulesOf(own(ec, 'x-ec', { audiences: ['a'] }), own(rsa, 'x-rsa'));
    const expired = await sign(rsa, { exp: 1 });
    expect(said(verify(rules, request({ 'x-rsa': expired })))).toBe('401 Jwt is expired');
    expect(said(verify(rules, request({ 'x-ec': await sign(ec), 'x-rsa': expired })))).toBe(
      '403 Audiences in Jwt are not allowed',
    );
    expect(said(verify(rules, request({ 'x-ec': await sign(rsa), 'x-rsa': expired })))).toBe('401 Jwt is expired');
    const shared = rulesOf(ruleFor(rsa), ruleFor(ec));
    expect(said(verify(shared, bearer(await sign(ed))))).toBe('401 Jwt issuer is not configured');
    expect(said(verify(shared, bearer(await sign(evil))))).toBe('401 Jwt verification fails');
  });

  it('refuse a request in which one of them finds a good token and a bad one, whatever another finds', async () => {
    const rules = rulesOf(ruleFor(rsa, { fromParams: ['a', 'b'] }), own(rsa, 'x-jwt'));
    const good = await sign(rsa);
    expect(said(verify(rules, request({ 'x-jwt': good }, 'b=junk')))).toBe('https://rsa.test/alice');
    expect(said(verify(rules, request({ 'x-jwt': good }, `b=${good}&a=junk`)))).toMatch(/^401 Jwt is not in the form/);
  });

  it('do not forget a bad line of a token header because the other line was good', async () => {
    const rules = rulesOf(own(rsa, 'x-jwt'), own(ec, 'x-ec'));
    expect(said(verify(rules, request({ 'x-jwt': ['junk', await sign(rsa)] })))).toMatch(/^401 Jwt is not in the form/);
  });
});

describe('what becomes of the request', () => {
  const claims = {
    text: 'déjà vu',
    empty: '',
    yes: true,
    whole: 7,
    big: 2 ** 60,
    half: -1.5,
    minus: -3,
    nul: null,
    list: ['a', 1],
    nested: { key: { deep: 'x' }, 'a.b': 'no' },
    scope: 'read  write',
    roles: 'admin user',
    many: ['x y'],
  };
  const output = (claim: string, n: number) => ({ header: `X-${n}`, claim });

  it('is that claims stand in headers as Istio writes them', async () => {
    const wanted: readonly (readonly [string, string | undefined])[] = [
      ['text', Buffer.from('déjà vu').toString('latin1')],
      ['empty', undefined],
      ['yes', 'true'],
      ['whole', '7'],
      ['big', '1152921504606846976'],
      ['half', '-1.500000'],
      ['minus', '-3.000000'],
      ['nul', undefined],
      ['list', 'WyJhIiwxXQ=='],
      ['nested.key', 'eyJkZWVwIjoieCJ9'],
      ['nested.key.deep', 'x'],
      ['nested.a.b', undefined],
      ['list.0', undefined],
      ['text.length', undefined],
      ['constructor', undefined],
      ['scope', 'read  write'],
    ];
    const rules = rulesOf(
      ruleFor(rsa, { outputClaimToHeaders: wanted.map(([claim], n) => output(claim, n)), outputPayloadToHeader: 'X-Payload' }),
    );
    const token = await sign(rsa, claims);
    const outcome = verify(rules, bearer(token));
    const lines = wanted.flatMap(([, value], n) => (value === undefined ? [] : [[`x-${n}`, value]]));
    expect(outcome.ok && outcome.effects?.setHeaders).toEqual([['x-payload', token.split('.')[1]], ...lines]);
  });

  it('is that two claims for one header make two lines', async () => {
    const both = ['yes', 'whole'].map((claim) => ({ header: 'x-both', claim }));
    const outcome = verify(rulesOf(ruleFor(rsa, { outputClaimToHeaders: both })), bearer(await sign(rsa, claims)));
    expect(outcome.ok && outcome.effects?.setHeaders).toEqual([
      ['x-both', 'true'],
      ['x-both', '7'],
    ]);
  });

  it.each([
    ['a line break in a claim', { outputClaimToHeaders: [{ header: 'x-name', claim: 'name' }] }],
    ['the Host header as output', { outputPayloadToHeader: 'Host' }],
    ['a pseudo-header as output', { outputPayloadToHeader: ':path' }],
    ['no field name as output', { outputPayloadToHeader: 'a b' }],
    ['the framing as output', { outputClaimToHeaders: [{ header: 'Transfer-Encoding', claim: 'sub' }] }],
  ])('is a refusal where it would become another request: %s', async (_, rule) => {
    const outcome = verify(rulesOf(ruleFor(rsa, rule)), bearer(await sign(rsa, { name: 'a\r\nx-admin: true' })));
    expect(outcome).toMatchObject({ ok: false, code: 'ENMESH_JWT_OUTPUT_HEADER' });
  });

  it('is that scope, permission and the named claims are lists in the identity, and nothing else', async () => {
    const outcome = verify(
      rulesOf(ruleFor(rsa, { spaceDelimitedClaims: ['roles', 'many', 'nested'] })),
      bearer(await sign(rsa, claims)),
    );
    expect(outcome.ok && outcome.user?.claims).toMatchObject({
      scope: ['read', 'write'],
      roles: ['admin', 'user'],
      many: ['x y'],
      text: 'déjà vu',
      nested: claims.nested,
    });
  });

  it('is that a claim which is a list is a list under every name', async () => {
    const names = ['iss', 'sub', 'azp', 'aud', 'blank'];
    const token = await sign(rsa, { azp: 'a b', aud: 'c  d', blank: '  ' });
    const outcome = verify(rulesOf(ruleFor(rsa, { spaceDelimitedClaims: names })), bearer(token));
    expect(outcome.ok && outcome.user).toMatchObject({
      principal: undefined,
      issuer: undefined,
      subject: undefined,
      presenter: undefined,
      audiences: ['c', 'd'],
      claims: { iss: ['https://rsa.test'], sub: ['alice'], azp: ['a', 'b'], blank: '  ' },
    });
  });

  it('is that nobody can change the claims, and that lists are made of them for each reader anew', async () => {
    const token = await sign(rsa, { scope: 'a b', groups: ['x'] });
    const identityOf = (rules: JwtRuleSet, source = bearer(token)) => {
      const outcome = verify(rules, source);
      if (!outcome.ok || outcome.user === undefined) throw new Error('refused');
      return outcome;
    };
    const alone = identityOf(rulesOf(ruleFor(rsa))).user;
    expect(Object.isFrozen(alone) && Object.isFrozen(alone?.claims)).toBe(true);
    expect([alone?.claims['scope'], alone?.claims['groups']].every(Object.isFrozen)).toBe(true);
    const written = rulesOf(ruleFor(rsa, { outputClaimToHeaders: [{ header: 'x-scope', claim: 'scope' }] }));
    for (let turn = 0; turn < 2; turn += 1) {
      expect(identityOf(written).user?.claims['scope']).toEqual(['a', 'b']);
      expect(identityOf(written).effects?.setHeaders).toEqual([['x-scope', 'a b']]);
    }
    const places = { fromHeaders: [{ name: 'x-jwt' }] };
    const two = rulesOf(ruleFor(rsa, places), ruleFor(rsa, { spaceDelimitedClaims: ['sub'] }));
    expect(identityOf(two, request({ 'x-jwt': token })).user?.claims).toMatchObject({ scope: ['a', 'b'], sub: 'alice' });
    expect(identityOf(two).user?.claims).toMatchObject({ scope: ['a', 'b'], sub: ['alice'] });
    expect(identityOf(two, request({ 'x-jwt': token })).user?.claims['sub']).toBe('alice');
  });

  it('is that the token is taken away from where it was, unless it is to be forwarded', async () => {
    const token = await sign(rsa);
    const places = { fromHeaders: [{ name: 'X-Jwt', prefix: 'A ' }], fromParams: ['t'], fromCookies: ['c'] };
    const effects = (rule: JwtRuleSpec, source: TokenSource) => {
      const outcome = verify(rulesOf(ruleFor(rsa, { ...places, ...rule })), source);
      return outcome.ok && outcome.user ? outcome.effects : 'refused';
    };
    expect(effects({}, request({ 'x-jwt': `A ${token}` }))).toEqual({
      removeHeaders: ['x-jwt'],
      removeParams: [],
      setHeaders: [],
    });
    expect(effects({}, request({}, `t=${token}`))).toEqual({ removeHeaders: [], removeParams: ['t'], setHeaders: [] });
    const accented = effects({ fromParams: ['clé'] }, request({}, `cl%C3%A9=${token}`));
    expect(accented).toEqual({ removeHeaders: [], removeParams: ['clé'], setHeaders: [] });
    expect(effects({}, request({ cookie: `c=${token}` }))).toBeUndefined();
    expect(effects({ forwardOriginalToken: true }, request({ 'x-jwt': `A ${token}` }, `t=${token}`))).toMatchObject({
      removeHeaders: [],
      removeParams: [],
    });
    expect(effects({ fromHeaders: [{ name: ':path', prefix: '/' }] }, request({ ':path': `/${token}` }))).toBeUndefined();
  });

  it('is an identity that no handler can change for the next request', async () => {
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const rules = rulesOf(ruleFor(rsa));
    const source = bearer(await sign(rsa, { groups: ['guest'], scope: 'read' }));
    const outcome = verifier.verify(rules, source, now);
    const user = outcome.ok ? outcome.user : undefined;
    expect(() => (user?.claims['groups'] as string[]).push('admin')).toThrow(TypeError);
    expect(() => (user?.claims['scope'] as string[]).push('write')).toThrow(TypeError);
    expect(() => Object.assign(user ?? {}, { principal: 'root' })).toThrow(TypeError);
    expect(() => Object.assign(user?.claims ?? {}, { role: 'root' })).toThrow(TypeError);
    expect(verifier.verify(rules, source, now)).toBe(outcome);
  });
});

describe('the cache', () => {
  /** Key sets of one changeable set that counts how often its keys are looked at. */
  function createFakeSets(issuer: TestIssuer) {
    const rule = rulesOf(ruleFor(issuer)).rules[0];
    const keys = rule?.keySource.kind === 'inline' ? rule.keySource.keys : [];
    const state = { generation: 1, keys, freshUntil: Infinity, looks: 0, misses: 0 };
    const set: KeySet = {
      get generation() {
        return state.generation;
      },
      get keys() {
        state.looks++;
        return state.keys;
      },
      get freshUntil() {
        return state.freshUntil;
      },
      missed: () => {
        state.misses++;
      },
    };
    const keySets: KeySets = { use: () => {}, ready: async () => {}, of: () => set, status: () => [], close: () => {} };
    return { state, keySets };
  }

  it('verifies a token once, from the memo and from the map, and gives the same outcome object', async () => {
    const { state, keySets } = createFakeSets(rsa);
    const verifier = createJwtVerifier({ keySets });
    const rules = rulesOf(ruleFor(rsa));
    const token = await sign(rsa);
    const memo = createTokenMemo();
    const outcomes = [memo, memo, undefined, createTokenMemo()].map((each) =>
      verifier.verify(rules, bearer(`${token}`), now, each),
    );
    expect(new Set(outcomes).size).toBe(1);
    expect(state.looks).toBe(1);
  });

  it('looks for further tokens in the query at every use', async () => {
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const rules = rulesOf(ruleFor(rsa));
    const source = bearer(await sign(rsa));
    const memo = createTokenMemo();
    for (let i = 0; i < 2; i++) {
      expect(verifier.verify(rules, source, now, memo).ok).toBe(true);
      expect(verifier.verify(rules, { ...source, query: 'access_token=not.a.token' }, now, memo).ok).toBe(false);
    }
  });

  it('looks at the time at every use', async () => {
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const rules = rulesOf(ruleFor(rsa));
    const source = bearer(await sign(rsa, {}, { expiresIn: 10 }));
    const memo = createTokenMemo();
    for (const each of [memo, memo, undefined]) {
      expect(verifier.verify(rules, source, now, each).ok).toBe(true);
      expect(said(verifier.verify(rules, source, now + 71_000, each))).toBe('401 Jwt is expired');
    }
  });

  it('verifies again when the keys have changed, in both directions', async () => {
    const { state, keySets } = createFakeSets(rsa);
    const verifier = createJwtVerifier({ keySets });
    const rules = rulesOf(ruleFor(rsa));
    const source = bearer(await sign(rsa));
    const memo = createTokenMemo();
    const { keys } = state;
    expect(verifier.verify(rules, source, now, memo).ok).toBe(true);
    Object.assign(state, { generation: 2, keys: [] });
    expect(said(verifier.verify(rules, source, now, memo))).toBe("401 Jwks doesn't have any valid public key");
    expect(said(verifier.verify(rules, source, now))).toBe("401 Jwks doesn't have any valid public key");
    Object.assign(state, { generation: 3, keys });
    expect(verifier.verify(rules, source, now, memo).ok).toBe(true);
  });

  it('stops accepting when the keys are too old, and asks for new ones', async () => {
    const { state, keySets } = createFakeSets(rsa);
    const verifier = createJwtVerifier({ keySets });
    const rules = rulesOf(ruleFor(rsa));
    const [withKid, without] = [bearer(await sign(rsa)), bearer(await sign(rsa, {}, { kid: null }))];
    expect(verifier.verify(rules, withKid, now).ok).toBe(true);
    state.freshUntil = now - 1;
    expect(said(verifier.verify(rules, withKid, now))).toBe("401 Jwks doesn't have key to match kid or alg from Jwt");
    expect(said(verifier.verify(rules, without, now))).toBe('401 Jwt verification fails');
    expect(verifier.verify(rules, request({}), now).ok).toBe(true);
    expect(state.misses).toBe(2);
  });

  it('tells the set of a token with an unknown key, but not of one that is merely forged', async () => {
    const { state, keySets } = createFakeSets(rsa);
    const verifier = createJwtVerifier({ keySets });
    const rules = rulesOf(ruleFor(rsa));
    verifier.verify(rules, bearer(await sign(evil)), now);
    expect(state.misses).toBe(0);
    verifier.verify(rules, bearer(await sign(rsa, {}, { kid: 'new' })), now);
    expect(state.misses).toBe(1);
  });

  it.each([true, false])('does not carry a verdict over to rules with other keys (with a memo: %s)', async (withMemo) => {
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const source = bearer(await sign(rsa));
    const memo = withMemo ? createTokenMemo() : undefined;
    expect(verifier.verify(rulesOf(ruleFor(rsa)), source, now, memo).ok).toBe(true);
    expect(said(verifier.verify(rulesOf(ruleFor(evil)), source, now, memo))).toBe('401 Jwt verification fails');
  });

  it('does not carry a verdict over to other rules', async () => {
    const verifier = createJwtVerifier({ keySets: inlineKeys() });
    const source = bearer(await sign(rsa, { aud: 'a' }));
    const memo = createTokenMemo();
    expect(verifier.verify(rulesOf(ruleFor(rsa)), source, now, memo).ok).toBe(true);
    expect(said(verifier.verify(rulesOf(ruleFor(rsa, { audiences: ['b'] })), source, now, memo))).toBe(
      '403 Audiences in Jwt are not allowed',
    );
    expect(said(verifier.verify(rulesOf(ruleFor(ec)), source, now, memo))).toBe('401 Jwt issuer is not configured');
  });

  it('verifies a forged token once as well, and keeps good ones through a flood of bad ones', async () => {
    const { state, keySets } = createFakeSets(rsa);
    const verifier = createJwtVerifier({ keySets, cacheEntries: 2 });
    const rules = rulesOf(ruleFor(rsa));
    const good = bearer(await sign(rsa));
    const bad = bearer(await sign(evil));
    for (let i = 0; i < 3; i++) expect(verifier.verify(rules, good, now).ok).toBe(true);
    for (let i = 0; i < 3; i++) expect(said(verifier.verify(rules, bad, now))).toBe('401 Jwt verification fails');
    expect(state.looks).toBe(2);
    for (let i = 0; i < 10; i++) verifier.verify(rules, bearer(await sign(evil, { n: i })), now);
    expect(verifier.verify(rules, good, now).ok).toBe(true);
    expect(state.looks).toBe(12);
  });

  it('tells tokens apart that end alike, in whichever order they come', async () => {
    const rules = rulesOf(ruleFor(rsa));
    const good = await sign(rsa);
    const [header, , signature] = good.split('.');
    const payload = Buffer.from(JSON.stringify({ iss: rsa.issuer, sub: 'admin' })).toString('base64url');
    const forged = `${header}.${payload}.${signature}`;
    for (const order of [
      [forged, good, forged, good],
      [good, forged, good, forged],
    ]) {
      const verifier = createJwtVerifier({ keySets: inlineKeys() });
      const verdicts = order.map((token) => verifier.verify(rules, bearer(token), now).ok);
      expect(verdicts).toEqual(order.map((token) => token === good));
    }
  });

  it('is bounded by entries and by bytes', async () => {
    const tokens = await Promise.all([1, 2, 3].map((n) => sign(rsa, { n })));
    for (const bounds of [{ cacheEntries: 2 }, { cacheBytes: 6_000 }]) {
      const { state, keySets } = createFakeSets(rsa);
      const verifier = createJwtVerifier({ keySets, ...bounds });
      const rules = rulesOf(ruleFor(rsa));
      for (const token of [...tokens, ...tokens.slice(1)]) expect(verifier.verify(rules, bearer(token), now).ok).toBe(true);
      expect(state.looks).toBe(3);
      verifier.verify(rules, bearer(tokens[0] ?? ''), now);
      expect(state.looks).toBe(4);
    }
  });
});
