import { beforeAll, describe, expect, it } from 'vitest';
import { createTestIssuer, type TestIssuer } from '../testing/issuer.js';
import type { JwtRuleSpec, RequestAuthentication, RequestAuthenticationSpec } from './resource.js';
import { compileJwtRules } from './rules.js';

let issuer: TestIssuer;
beforeAll(async () => {
  issuer = await createTestIssuer({ alg: 'ES256' });
});

const policy = (
  name: string,
  spec: RequestAuthenticationSpec,
  namespace = 'shop',
  creationTimestamp = 0,
): RequestAuthentication => ({
  meta: {
    kind: 'RequestAuthentication',
    namespace,
    name,
    creationTimestamp,
    labels: {},
    annotations: {},
    source: { file: 'jwt.yaml', line: 7, column: 3 },
  },
  spec,
});
const uri = 'https://idp.test/jwks';
const ruleOf = (name: string): JwtRuleSpec => ({ issuer: name, jwksUri: uri });
const target = { namespace: 'shop', labels: { app: 'gateway' } };
const compile = (...policies: readonly RequestAuthentication[]) => compileJwtRules(policies, target, 'istio-system');
const compileOne = (rule: JwtRuleSpec) => {
  const [compiled] = compile(policy('p', { jwtRules: [{ issuer: 'i', jwksUri: uri, ...rule }] })).rules;
  if (compiled === undefined) throw new Error('no rule');
  return compiled;
};

describe('the rules of a workload', () => {
  it('come from its namespace and the root namespace, where labels and attachment allow it', () => {
    const { rules } = compile(
      policy('all', { jwtRules: [ruleOf('a')] }),
      policy('mine', { selector: { matchLabels: { app: 'gateway' } }, jwtRules: [ruleOf('b')] }),
      policy('other', { selector: { matchLabels: { app: 'stock' } }, jwtRules: [ruleOf('no')] }),
      policy('elsewhere', { jwtRules: [ruleOf('no')] }, 'bank'),
      policy('attached', { targetRef: { kind: 'Gateway', name: 'g' }, jwtRules: [ruleOf('no')] }),
      policy('attached too', { targetRefs: [{ kind: 'Gateway', name: 'g' }], jwtRules: [ruleOf('no')] }),
      policy('unattached', { targetRefs: [], jwtRules: [ruleOf('c')] }),
      policy('root', { selector: { matchLabels: { app: 'gateway' } }, jwtRules: [ruleOf('d')] }, 'istio-system'),
      policy('empty', { jwtRules: [] }),
      policy('nothing', {}),
    );
    expect(rules.map((rule) => rule.policy)).toEqual(['shop/all', 'shop/mine', 'shop/unattached', 'istio-system/root']);
  });

  it('stand in order of issuer, then namespace before root, then age, then name', () => {
    const { rules } = compile(
      policy('root-old', { jwtRules: [ruleOf('same'), ruleOf('b')] }, 'istio-system', 1),
      policy('young', { jwtRules: [ruleOf('same')] }, 'shop', 9),
      policy('z', { jwtRules: [ruleOf('same')] }, 'shop', 5),
      policy('a', { jwtRules: [ruleOf('same'), ruleOf('a')] }, 'shop', 5),
    );
    expect(rules.map(({ issuer, policy }) => `${issuer} ${policy}`)).toEqual([
      'a shop/a',
      'b istio-system/root-old',
      'same shop/a',
      'same shop/z',
      'same shop/young',
      'same istio-system/root-old',
    ]);
    expect(rules.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('count once for a workload of the root namespace', () => {
    const policies = [policy('root', { jwtRules: [ruleOf('a')] }, 'istio-system')];
    expect(compileJwtRules(policies, { namespace: 'istio-system', labels: {} }, 'istio-system').rules).toHaveLength(1);
  });
});

describe('one rule', () => {
  it('looks at Authorization and access_token unless it names a place', () => {
    expect(compileOne({}).locations).toEqual([
      { kind: 'param', name: 'access_token', octets: 'access_token' },
      { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
    ]);
    expect(compileOne({ fromCookies: ['session'] }).locations).toEqual([{ kind: 'cookie', name: 'session', octets: 'session' }]);
    expect(compileOne({ fromHeaders: [], fromParams: [], fromCookies: [] }).locations).toHaveLength(2);
  });

  it('verifies cookies first and headers last, each kind from the end of its sorted list, each place once', () => {
    const rule = compileOne({
      fromHeaders: [{ name: 'X-B' }, { name: 'x-a', prefix: 'Z ' }, { name: 'X-A', prefix: 'Y ' }, { name: 'x-b' }],
      fromParams: ['q', 'p', 'q'],
      fromCookies: ['c', 'd'],
    });
    expect(rule.locations.map((place) => `${place.kind} ${place.name} ${'prefix' in place ? place.prefix : ''}`.trim())).toEqual([
      'cookie d',
      'cookie c',
      'param q',
      'param p',
      'header x-b',
      'header x-a Z',
      'header x-a Y',
    ]);
  });

  it('never looks where any rule writes its output, for that is removed from every request first', () => {
    const set = compile(
      policy('a', { jwtRules: [{ ...ruleOf('a'), fromHeaders: [{ name: 'x-jwt' }, { name: 'x-user' }] }] }),
      policy('b', {
        jwtRules: [
          { ...ruleOf('b'), outputPayloadToHeader: 'X-User', outputClaimToHeaders: [{ header: 'X-Sub', claim: 'sub' }] },
        ],
      }),
    );
    expect(set.outputHeaders).toEqual(['x-user', 'x-sub']);
    expect(set.rules[0]?.locations).toEqual([{ kind: 'header', name: 'x-jwt', prefix: '' }]);
  });

  it('does not have the framing of requests removed by odd output names', () => {
    const names = ['host', ':path', 'a b', 'Content-Length', 'x-fine'];
    const claims = names.map((header) => ({ header, claim: 'sub' }));
    expect(compile(policy('a', { jwtRules: [{ ...ruleOf('a'), outputClaimToHeaders: claims }] })).outputHeaders).toEqual([
      'x-fine',
    ]);
  });

  it('compiles the rest as written', () => {
    const rule = compileOne({
      audiences: ['https://a/', 'b'],
      outputPayloadToHeader: 'X-Payload',
      outputClaimToHeaders: [{ header: 'X-Key', claim: 'nested.key.2' }],
      forwardOriginalToken: true,
      spaceDelimitedClaims: ['roles', 'scope'],
    });
    expect(rule).toMatchObject({
      issuer: 'i',
      forwardOriginalToken: true,
      payloadHeader: 'x-payload',
      claimHeaders: [{ header: 'x-key', path: ['nested', 'key', '2'] }],
      listClaims: ['scope', 'permission', 'roles'],
    });
    expect([...(rule.audiences ?? [])]).toEqual(['a', 'b']);
    expect(compileOne({ audiences: [] }).audiences).toBeUndefined();
    expect(compileOne({}).forwardOriginalToken).toBe(false);
  });
});

describe('the keys of a rule', () => {
  it('are the inline ones where there are both', () => {
    const rule = compileOne({ jwks: issuer.jwksText });
    expect(rule.keySource).toMatchObject({ kind: 'inline', keys: [{ kid: 'key-1', alg: 'ES256' }] });
    expect(compileOne({ jwks: '' }).keySource.kind).toBe('remote');
  });

  it.each(['not JSON', '{}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"AAAA"}]}'])(
    'are refused with their place when inline and %j',
    (jwks) => {
      expect(() => compileOne({ jwks })).toThrow(
        expect.objectContaining({
          code: 'ENMESH_JWT_KEY_SET_INVALID',
          message: expect.stringMatching(/^jwt\.yaml:7:3 RequestAuthentication shop\/p: jwks of issuer "i": /) as string,
        }),
      );
    },
  );

  it.each([
    [undefined, 5_000],
    ['', 5_000],
    ['200ms', 200],
    ['5s', 5_000],
    ['1.5s', 1_500],
    ['1m30s', 60_000],
    ['0s', 5_000],
    ['2562047h', 60_000],
  ])('are fetched within the timeout %j: %i ms', (timeout, timeoutMs) => {
    expect(compileOne(timeout === undefined ? {} : { timeout }).keySource).toMatchObject({
      kind: 'remote',
      timeoutMs,
      issuer: 'i',
      uri,
    });
  });

  it('are shared by rules with the same issuer, place and timeout, and by no others', () => {
    const ids = [
      {},
      { audiences: ['x'] },
      { issuer: 'j' },
      { jwksUri: 'https://idp.test/2' },
      { timeout: '1s' },
      { jwksUri: '' },
    ].map((rule) => {
      const { keySource } = compileOne(rule);
      return keySource.kind === 'remote' ? keySource.id : '';
    });
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(5);
  });
});
