import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compileField } from './conditions.js';

const request = {
  method: 'GET',
  path: '/products/1',
  pathSpellings: [],
  pathIgnoresCase: false,
  host: 'product.shop:8080',
  sourceIp: '10.0.0.1',
  remoteIp: '203.0.113.7',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: 'outbound_.80_._.product.shop.svc.cluster.local',
  peer: { uri: 'spiffe://cluster.local/ns/shop/sa/gateway' },
  user: {
    issuer: 'https://idp.example',
    subject: 'alice',
    audiences: ['shop', 'pay'],
    presenter: 'web',
    claims: { iss: 'https://idp.example', groups: ['admin'], realm: { role: 'reader' }, azp: 'web' },
  },
  header: (name: string) => ({ 'x-role': ['admin'], ':method': ['GET'] })[name],
} as unknown as RequestAttributes;

const anonymous: RequestAttributes = { ...request, peer: undefined, user: undefined, sni: '', header: () => undefined };
const context = { namespace: 'shop', bundle: ['cluster.local'], cautious: false };

/** Key, values that match the request, values that do not. */
const table: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ['source.principal', ['cluster.local/ns/shop/sa/gateway', '*'], ['cluster.local/ns/shop/sa/stock']],
  ['source.namespace', ['shop', 's*'], ['pay']],
  ['source.serviceAccount', ['gateway', 'shop/gateway'], ['pay/gateway', 'gate']],
  ['source.trustDomain', ['cluster.local', '*.local'], ['example.org']],
  ['source.ip', ['10.0.0.0/24', '10.0.0.1'], ['10.0.1.0/24']],
  ['remote.ip', ['203.0.113.0/24'], ['10.0.0.0/8']],
  ['destination.ip', ['10.0.0.2'], ['10.0.0.1']],
  ['destination.port', ['8080'], ['80', '0']],
  ['connection.sni', ['outbound_*', '*'], ['Outbound_*']],
  ['request.auth.principal', ['https://idp.example/alice', '*'], ['https://idp.example/bob']],
  ['request.auth.audiences', ['pay', 'sh*'], ['stock']],
  ['request.auth.presenter', ['web'], ['app']],
  ['request.auth.claims[groups]', ['admin'], ['user']],
  ['request.auth.claims[realm][role]', ['reader'], ['writer']],
  ['request.headers[X-Role]', ['admin'], ['user']],
  ['request.headers[:method]', ['GET'], ['POST']],
  ['operation.host', ['PRODUCT.shop:8080', 'product.*', '*:8080', '*'], ['product.shop']],
  ['operation.method', ['GET', 'G*', '*'], ['get', 'POST']],
  ['operation.path', ['/products/1', '/products/*', '/products/{*}'], ['/products']],
];

describe.each(table)('the field %s', (key, matching, others) => {
  it('matches each of its values and no other', () => {
    expect(matching.filter((value) => compileField(key, [value], context)?.(request) !== true)).toEqual([]);
    expect(others.filter((value) => compileField(key, [value], context)?.(request) !== false)).toEqual([]);
    expect(compileField(key, [...others, matching[0] as string], context)?.(request)).toBe(true);
  });
});

describe('a field about what is absent', () => {
  it.each([
    'source.principal',
    'source.namespace',
    'source.trustDomain',
    'request.auth.principal',
    'request.auth.audiences',
    'request.auth.presenter',
  ])('never matches, not even *: %s', (key) => {
    expect(compileField(key, ['*'], context)?.(anonymous)).toBe(false);
  });

  it.each(['request.auth.claims[groups]', 'request.headers[x-role]', 'connection.sni'])(
    'never matches, not even *: %s',
    (key) => {
      expect(compileField(key, ['*'], context)?.(anonymous)).toBe(false);
    },
  );
});

describe('a key', () => {
  it.each<readonly [string, string]>([
    ['source.user', 'x'],
    ['constructor', 'x'],
    ['destination.labels[app]', 'x'],
    ['experimental.envoy.filters.a.b[k]', 'x'],
    ['request.headers[]', 'x'],
    ['request.headers', 'x'],
    ['request.auth.claims[]', 'x'],
    ['request.auth.claims[a][]', 'x'],
    ['request.auth.claims', 'x'],
    ['source.ip', '10.0.0'],
    ['destination.port', '65536'],
    ['destination.port', '80x'],
    ['source.serviceAccount', 'a/b/c'],
    ['operation.path', '/{x}'],
  ])('%s with the value %s cannot be judged', (key, value) => {
    expect(compileField(key, [value], context)).toBeUndefined();
  });
});
