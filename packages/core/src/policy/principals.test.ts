import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compileNamespaces,
  compilePrincipals,
  compileRequestPrincipals,
  compileServiceAccounts,
  compileTrustDomains,
} from './principals.js';

const gateway = 'spiffe://cluster.local/ns/shop/sa/gateway';
const bundle = ['cluster.local'];

describe('principals', () => {
  it.each([
    ['cluster.local/ns/shop/sa/gateway', true],
    ['cluster.local/ns/shop/sa/gatewa', false],
    ['cluster.local/ns/shop/sa/gate*', true],
    ['cluster.local/ns/shop/*', true],
    ['cluster.local/ns/sho*', true],
    ['cluster.local/ns/shop2/*', false],
    ['*/ns/shop/sa/gateway', true],
    ['*/sa/gateway', true],
    ['*way', true],
    ['*ways', false],
    ['*', true],
    [gateway, false],
    ['*spiffe://cluster.local/ns/shop/sa/gateway', false],
    ['cluster?local/ns/shop/sa/gateway', false],
  ])('%s match the gateway: %s', (value, expected) => {
    expect(compilePrincipals([value], bundle)(gateway)).toBe(expected);
  });

  it('of cluster.local mean the trust domain of the mesh and its aliases', () => {
    const matches = compilePrincipals(['cluster.local/ns/shop/sa/gateway'], ['mesh.example', 'old.example']);
    expect(
      ['mesh.example', 'old.example', 'cluster.local', 'evil.example'].map((name) =>
        matches(`spiffe://${name}/ns/shop/sa/gateway`),
      ),
    ).toEqual([true, true, false, false]);
  });
});

describe('namespaces', () => {
  it.each([
    ['shop', true],
    ['sho', false],
    ['hop', false],
    ['sh*', true],
    ['*op', true],
    ['s*o*', true],
    ['p*s', false],
    ['*', true],
    ['sh.p', false],
  ])('%s match the gateway: %s', (value, expected) => {
    expect(compileNamespaces([value])(gateway)).toBe(expected);
  });
});

describe('service accounts', () => {
  it('without a namespace are of the namespace of the policy, in any trust domain', () => {
    expect(compileServiceAccounts(['gateway'], 'shop')?.('spiffe://other.example/ns/shop/sa/gateway')).toBe(true);
    expect(compileServiceAccounts(['gateway'], 'pay')?.(gateway)).toBe(false);
    expect(compileServiceAccounts(['gateway2', 'shop/gateway'], 'pay')?.(gateway)).toBe(true);
  });

  it('are never found in an ID without a trust domain', () => {
    expect(compileServiceAccounts(['shop/gateway'], 'shop')?.('spiffe:///ns/shop/sa/gateway')).toBe(false);
  });

  it.each(['a/b/c', '/a', 'a/', ''])('of another form cannot be judged: %j', (value) => {
    expect(compileServiceAccounts([value], 'shop')).toBeUndefined();
  });
});

describe('trust domains', () => {
  it.each([
    ['cluster.local', true],
    ['cluster', false],
    ['cluster.*', true],
    ['*.local', true],
    ['*', true],
    ['*l', true],
    ['*shop', false],
    ['cluster.local*', true],
    ['c*', true],
    ['clusterxlocal', false],
  ])('%s match the gateway: %s', (value, expected) => {
    expect(compileTrustDomains([value], ['mesh.example'])?.(gateway)).toBe(expected);
  });

  it('that are a member of the mesh stand for all members', () => {
    expect(compileTrustDomains(['old.example'], ['cluster.local', 'old.example'])?.(gateway)).toBe(true);
  });
});

describe('trust domains with a * elsewhere', () => {
  it.each(['a*b', '*a*', '**', 'a**', '**a'])('cannot be judged: %s', (value) => {
    expect(compileTrustDomains([value], [])).toBeUndefined();
  });
});

describe('request principals', () => {
  const issuer = 'https://idp.example';
  it.each<readonly [string, string | undefined, string | undefined, boolean]>([
    ['*', issuer, 'alice', true],
    ['*', issuer, undefined, false],
    ['*', undefined, 'alice', false],
    ['*', issuer, '', false],
    ['https://idp.example/alice', issuer, 'alice', true],
    ['https://idp.example/alice', issuer, 'alic', false],
    ['https://idp.example/*', issuer, 'bob', true],
    ['https://idp.example/a*', issuer, 'alice', true],
    ['https://idp.example/a*', issuer, 'bob', false],
    ['https://idp.example/*b*', issuer, 'x*b', false],
    ['https://idp.example/*b*', issuer, '*bob', true],
    ['https://idp.example*', issuer, 'alice', false],
    ['idp*', 'idp-1', 'alice', true],
    ['*/alice', issuer, 'alice', true],
    ['*.example/alice', issuer, 'alice', true],
    ['*.example/alice', 'https://idp.other', 'alice', false],
    ['*lice', issuer, 'alice', true],
    ['*/*', issuer, 'alice', false],
    ['*/*', issuer, '*', true],
    ['idp', 'idp', '', true],
    ['https://idp.example/a/b', issuer, 'a/b', false],
  ])('%s match issuer %s and subject %s: %s', (value, iss, sub, expected) => {
    expect(compileRequestPrincipals([value], 'some')(iss, sub)).toBe(expected);
  });
});

describe('the matchers of peers', () => {
  // Istio's own patterns (istio-semantics 3.6), for text of an alphabet small enough that near misses are common.
  const quote = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const word = fc.stringMatching(/^[ab.]{1,3}$/);
  const part = fc.constantFrom('/ns/', '/sa/', '/', 'a', 'b', '.', 'ns', 'sa', 'a.b');
  const uri = fc.array(part, { maxLength: 9 }).map((parts) => `spiffe://${parts.join('')}`);
  const agree = (
    values: fc.Arbitrary<string>,
    ours: (value: string) => ((text: string) => boolean) | undefined,
    theirs: (value: string) => RegExp,
  ): void =>
    fc.assert(
      fc.property(values, uri, (value, text) => {
        expect(ours(value)?.(text)).toBe(theirs(value).test(text));
      }),
      { numRuns: 2000 },
    );

  it("agree with Istio's pattern for service accounts", () => {
    const values = fc.tuple(word, word).map(([namespace, account]) => `${namespace}/${account}`);
    agree(
      values,
      (value) => compileServiceAccounts([value], 'x'),
      (value) => new RegExp(`^spiffe://.+/ns/${quote(value).replace('/', '/(.+/|)sa/')}(/.+)?$`),
    );
  });

  it("agree with Istio's pattern for namespaces", () => {
    const values = fc.stringMatching(/^[ab*]{1,4}$/);
    agree(
      values,
      (value) => compileNamespaces([value]),
      (value) => new RegExp(`^.*/ns/${value.split('*').map(quote).join('.*')}/.*$`),
    );
  });

  it("agree with Istio's pattern for trust domains", () => {
    const values = fc.oneof(
      word,
      word.map((text) => `${text}*`),
      word.map((text) => `*${text}`),
    );
    agree(
      values,
      (value) => compileTrustDomains([value], []),
      (value) => new RegExp(`^spiffe://${value.split('*').map(quote).join('[^/]*')}/.*$`),
    );
  });
});
