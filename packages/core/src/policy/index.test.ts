import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePolicies } from './compile.js';
import type { AuthorizationPolicy, PolicyOperation, PolicyRule, PolicySource } from './resource.js';

const mesh = { trustDomain: 'td', trustDomainAliases: ['old'], rootNamespace: 'istio-system' };

function policy(action: 'ALLOW' | 'DENY', rules: readonly PolicyRule[]): AuthorizationPolicy {
  const meta = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p', creationTimestamp: 0, labels: {}, annotations: {} };
  return { meta: { ...meta, source: { file: 'p.yaml', line: 1, column: 1 } }, spec: { action, rules } };
}

function request(over: Record<string, unknown> = {}, headers: Record<string, readonly string[]> = {}): RequestAttributes {
  return {
    ...{
      method: 'GET',
      path: '/',
      pathSpellings: [],
      pathIgnoresCase: false,
      host: 'h',
      sourceIp: '10.0.0.1',
      remoteIp: '10.0.0.1',
    },
    ...{ destinationIp: '10.0.0.2', destinationPort: 8080, sni: '', peer: undefined, user: undefined },
    header: (name: string) => headers[name],
    ...over,
  } as unknown as RequestAttributes;
}

const from = (source: PolicySource): PolicyRule => ({ from: [{ source }] });
const to = (operation: PolicyOperation): PolicyRule => ({ to: [{ operation }] });
const when = (key: string, ...values: readonly string[]): PolicyRule => ({ when: [{ key, values }] });
const peer = (path: string): RequestAttributes => request({ peer: { uri: `spiffe://td/${path}` } });
const user = (claims: Record<string, unknown>): RequestAttributes =>
  request({ user: { issuer: 'i', subject: 's', audiences: ['a', 'b'], presenter: undefined, claims } });

/** Rules of every field that no request here satisfies, so that the one in question is looked up among others. */
const others: readonly PolicyRule[] = Array.from({ length: 12 }, (_, i) => ({
  from: [{ source: { principals: [`td/none-${i % 3}`] } }],
  to: [{ operation: { paths: [`/none/${i}`] } }],
}));

function found(action: 'ALLOW' | 'DENY', rule: PolicyRule, attributes: RequestAttributes): boolean {
  const set = compilePolicies([policy(action, [...others, rule])], { namespace: 'shop', labels: {} }, mesh);
  const list = set[action === 'ALLOW' ? 'allow' : 'deny'] ?? [];
  const index = set.indexes[action === 'ALLOW' ? 'allow' : 'deny'];
  return index !== undefined && index.search(list, attributes, list.length) < list.length;
}

describe('among other rules is found', () => {
  it.each<readonly [string, PolicyRule, RequestAttributes]>([
    ['a caller', from({ principals: ['td/ns/a/sa/b'] }), peer('ns/a/sa/b')],
    ['a caller by the end of its identity', from({ principals: ['*/sa/b'] }), peer('ns/a/sa/b')],
    ['a caller of an alias', from({ principals: ['old/ns/a/sa/b'] }), peer('ns/a/sa/b')],
    ['any caller', from({ principals: ['*'] }), peer('x')],
    ['a trust domain', from({ trustDomains: ['t*'] }), peer('x')],
    ['a namespace that comes second', from({ namespaces: ['b'] }), peer('ns/a/ns/b/sa/c')],
    ['a namespace by its end', from({ namespaces: ['*-prod'] }), peer('ns/shop-prod/sa/c')],
    ['a namespace by its end, across slashes', from({ namespaces: ['*/x'] }), peer('ns/shop/y/x/z')],
    ['a service account', from({ serviceAccounts: ['a/b'] }), peer('ns/a/sa/b')],
    ['a service account deeper in the path', from({ serviceAccounts: ['a/b'] }), peer('ns/a/sa/sa/b/c')],
    ['a request principal', from({ requestPrincipals: ['i/s'] }), user({})],
    ['a request principal by its end', from({ requestPrincipals: ['*/s'] }), user({})],
    ['a port with a leading zero', to({ ports: ['08080'] }), request()],
    ['a host in another case', to({ hosts: ['H'] }), request()],
    ['a method by its beginning', to({ methods: ['G*'] }), request()],
    ['an audience', when('request.auth.audiences', 'b'), user({})],
    ['a presenter of a list', when('request.auth.presenter', 'z'), user({ azp: ['y', 'z'] })],
    ['a nested claim', when('request.auth.claims[a][b]', 'x'), user({ a: { b: ['w', 'x'] } })],
    ['a claim with a name of brackets', when('request.auth.claims[[a]', 'x'), user({ '[a': 'x' })],
    ['a header in UTF-8', when('request.headers[X-Name]', 'é'), request({}, { 'x-name': ['Ã©'] })],
    ['a template by a segment between wildcards', to({ paths: ['/{*}/b/{*}'] }), request({ path: '/a/b/c' })],
    ['a template by its end', to({ paths: ['/{**}/b'] }), request({ path: '/a/x/b' })],
  ])('%s', (_, rule, attributes) => {
    expect(found('ALLOW', rule, attributes)).toBe(true);
    expect(found('DENY', rule, attributes)).toBe(true);
  });

  it.each<readonly [string, PolicyRule, RequestAttributes]>([
    ['a path that the router takes without case', to({ paths: ['/Admin'] }), request({ path: '/aDMIN', pathIgnoresCase: true })],
    ['another spelling of the path', to({ paths: ['/admin'] }), request({ path: '/admin/', pathSpellings: ['/admin'] })],
    ['a template of another spelling', to({ paths: ['/{*}/B/{*}'] }), request({ path: '/x', pathSpellings: ['/a/B/c'] })],
    ['a path of Greek capitals', to({ paths: ['/ΑΣ*'] }), request({ path: '/ΑΣΑ' })],
    ['an item of a header line', when('request.headers[x-a]', 'b'), request({}, { 'x-a': ['a, b'] })],
    [
      'path and query by another spelling',
      when('request.headers[:path]', '/a?q'),
      request({ path: '/a/', pathSpellings: ['/a'] }, { ':path': ['/a/?q'] }),
    ],
    ['a condition that cannot be judged', when('request.auth.claims[a][]', 'x'), request()],
    ['a port that is none', to({ ports: ['http'] }), request()],
    ['an account that is none', from({ serviceAccounts: ['a/b/c'] }), request()],
    ['a trust domain with a star inside', from({ trustDomains: ['a*b'] }), request()],
    ['a malformed template', to({ paths: ['/{x}'] }), request()],
  ])('where a match refuses: %s', (_, rule, attributes) => {
    expect(found('DENY', rule, attributes)).toBe(true);
  });
});

it('the first of several rules on one key is found, however they are divided', () => {
  const rules = Array.from({ length: 30 }, (_, i) => ({
    from: [{ source: { namespaces: ['a'] } }],
    to: [{ operation: { methods: i % 2 === 0 ? ['GET'] : ['POST'], paths: [`/${i % 5}*`] } }],
  }));
  const set = compilePolicies([policy('ALLOW', rules)], { namespace: 'shop', labels: {} }, mesh);
  const attributes = request({ path: '/3', method: 'POST', peer: { uri: 'spiffe://td/ns/a/sa/b' } });
  const list = set.allow ?? [];
  const first = list.findIndex((one) => one.matches(attributes));
  expect(first).toBeGreaterThan(-1);
  expect(set.indexes.allow?.search(list, attributes, list.length)).toBe(first);
});

it('a short list has no index', () => {
  const set = compilePolicies([policy('ALLOW', others.slice(0, 4))], { namespace: 'shop', labels: {} }, mesh);
  expect(set.indexes.allow).toBeUndefined();
});
