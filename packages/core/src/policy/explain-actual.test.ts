import { describe, expect, it } from 'vitest';
import type { RequestIdentity } from '../identity/caller.js';
import type { RequestAttributes } from '../request/attributes.js';
import { actualOf, expectedOf } from './explain-actual.js';

const claims = { iss: 'https://idp', sub: 'jane', role: 'boss', groups: ['a', 'b'], deep: { flag: true }, none: null, level: 3 };
const jane = {
  issuer: 'https://idp',
  subject: 'jane',
  principal: 'https://idp/jane',
  audiences: ['shop'],
  claims,
} as unknown as RequestIdentity;
const asUser = (user: Partial<RequestIdentity> | undefined): RequestAttributes => ({ user }) as RequestAttributes;
const withHeader = (name: string, ...lines: readonly string[]): RequestAttributes =>
  ({ header: (asked: string) => (asked === name ? lines : undefined) }) as RequestAttributes;

describe('a header', () => {
  it.each([
    'authorization',
    'cookie',
    'Proxy-Authorization',
    'set-cookie',
    'x-api-key',
    'X-Auth-Token',
    'x-goog-iap-jwt-assertion',
    'x-csrf',
    'x-session-id',
    'x-amz-security-token',
    'x-forwarded-client-cert',
    'sec-istio-auth-userinfo',
    'enmesh-hop-token',
    'x-client-secret',
    'x-hub-signature-256',
    'password',
  ])('called %s shows only that it is there, and not what the policy compares it with', (name) => {
    expect(actualOf(`request.headers[${name}]`, withHeader(name.toLowerCase(), 'short'), [])).toBe('present');
    expect(actualOf(`request.headers[${name}]`, withHeader('other', 'short'), [])).toBeUndefined();
    expect(expectedOf(`request.headers[${name}]`, ['s3cret'])).toEqual(['(hidden)']);
  });

  it.each([
    ['a JWT', 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln'],
    ['a JWT behind other text', 'see eyJhbGci'],
    ['an authorization scheme', 'Bearer abc'],
    ['another scheme', 'basic amFuZTpw'],
    ['an opaque key', 'sk_live_51H8xyzABCDEF0123'],
    ['a hash', '9f86d081884c7d659a2feaa0c55ad015'],
    ['a PEM block', '-----BEGIN PRIVATE KEY-----'],
    ['a token that begins where the shown text ends', `${'a '.repeat(95)}abcdefgh0123456789abcdefgh`],
  ])('whose value is %s shows only that it is there, whatever it is called', (_, value) => {
    expect(actualOf('request.headers[x-version]', withHeader('x-version', value), [])).toBe('present');
    expect(actualOf('request.headers[x-version]', withHeader('x-version', 'plain', value), [])).toBe('present');
    expect(expectedOf('request.headers[x-version]', ['v1', value])).toEqual(['v1', '(hidden)']);
  });

  it.each([
    ['x-version', ['v1'], 'v1'],
    ['x-version', ['v1', 'v2'], 'v1, v2'],
    ['user-agent', ['Mozilla/5.0 (X11; Linux x86_64)'], 'Mozilla/5.0 (X11; Linux x86_64)'],
    [':authority', ['product.shop:8080'], 'product.shop:8080'],
    [':path', ['/a?access_token=s3cret'], '/a?...'],
    ['referer', ['https://shop.example/a#s3cret'], 'https://shop.example/a?...'],
    ['referer', ['https://jane:pw@shop.example/a'], 'https://...@shop.example/a'],
    ['host', ['jane:pw@shop:80'], '...@shop:80'],
    ['x-version', ['a\r\nb\u202e'], 'a\\u000d\\u000ab\\u202e'],
    ['x-version', ['é'.repeat(300)], `${'\\u00e9'.repeat(200)}...`],
    ['x-version', Array.from({ length: 50 }, () => 'v'), 'present'],
  ])('%s is shown bounded, printable and without a query', (name, lines, shown) => {
    expect(actualOf(`request.headers[${name}]`, withHeader(name, ...lines), [])).toBe(shown);
  });
});

describe('a claim', () => {
  it.each([
    ['[role]', 'present, a string'],
    ['[groups]', 'present, a list of 2'],
    ['[deep]', 'present, an object'],
    ['[deep][flag]', 'present, a boolean'],
    ['[level]', 'present, a number'],
    ['[none]', 'present, null'],
    ['[absent]', undefined],
    ['[deep][absent]', undefined],
    ['[constructor]', undefined],
  ])('%s shows that it is there and what it is, never its value', (path, shown) => {
    expect(actualOf(`request.auth.claims${path}`, asUser(jane), ['user'])).toBe(shown);
  });

  it('shows of its values those that the policy names itself', () => {
    expect(actualOf('request.auth.claims[groups]', asUser(jane), ['b', 'x'])).toBe('present, a list of 2 with b');
    expect(actualOf('request.auth.claims[role]', asUser(jane), ['boss'])).toBe('present, a string with boss');
    expect(actualOf('request.auth.claims[role]', asUser(jane), ['bo*'])).toBe('present, a string');
  });

  it.each([
    ['request.auth.audiences', 'present, a list of 1'],
    ['request.auth.presenter', undefined],
  ])('as the key %s is treated alike', (key, shown) => {
    expect(actualOf(key, asUser(jane), ['billing'])).toBe(shown);
  });

  it.each([
    [['https://idp/john'], jane, 'https://idp/(another subject)'],
    [['https://idp/*'], jane, 'https://idp/(another subject)'],
    [['https://other/*'], jane, 'present, of another issuer'],
    [['https://idp/jane'], jane, 'https://idp/jane'],
    [['*'], { issuer: 'https://idp', subject: undefined }, 'present, without sub'],
    [['*'], { issuer: undefined, subject: 'jane' }, 'present, without iss'],
    [['*'], undefined, undefined],
  ])('as request principal shows no more than the values %j do', (listed, user, shown) => {
    expect(actualOf('request.auth.principal', asUser(user as Partial<RequestIdentity>), listed)).toBe(shown);
  });
});

describe('other attributes', () => {
  it.each([
    ['operation.path', { path: '/reset/eyJhbGciOi' }, 'present'],
    ['operation.path', { path: '/a\u0000' }, '/a\\u0000'],
    ['operation.host', { host: 'jane:pw@shop:80' }, 'shop:80'],
    ['operation.method', { method: 'GET' }, 'GET'],
    ['destination.port', { destinationPort: 80 }, '80'],
    ['source.namespace', { peer: undefined }, undefined],
    ['experimental.envoy.filters.a[b]', {}, undefined],
    ['constructor', {}, undefined],
  ])('%s of %j is shown as %s', (key, attributes, shown) => {
    expect(actualOf(key, attributes as unknown as RequestAttributes, [])).toBe(shown);
  });
});
