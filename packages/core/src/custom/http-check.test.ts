import { describe, expect, it } from 'vitest';
import type { HttpProvider } from '../policy/provider.js';
import type { CheckRequest } from './contract.js';
import { compileHeaderList } from './header-pattern.js';
import { createHttpAuthorizer, originOf, type CheckExchange } from './http-check.js';

const provider: HttpProvider = {
  kind: 'http',
  name: 'authz',
  service: 'security/authz',
  port: 8000,
  timeoutMs: 1000,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
  pathPrefix: '',
  includeRequestHeadersInCheck: [],
  includeAdditionalHeadersInCheck: {},
  headersToUpstreamOnAllow: [],
  headersToDownstreamOnDeny: [],
  headersToDownstreamOnAllow: [],
};

const request: CheckRequest = {
  id: '1',
  method: 'GET',
  path: '/a?b=c',
  host: 'shop.example',
  scheme: 'http',
  protocol: 'HTTP/1.1',
  time: 0,
  headers: new Map([
    ['authorization', 'Bearer t'],
    ['x-a', '1'],
  ]),
  size: 0,
  body: undefined,
  isPartial: false,
  source: { address: '10.0.0.1', port: 1, principal: undefined },
  destination: { address: '10.0.0.2', port: 2, principal: undefined },
  sni: '',
};

type Sent = Parameters<CheckExchange>[0];
type Answer = Awaited<ReturnType<CheckExchange>>;

async function check(fields: Partial<HttpProvider>, answer: Partial<Answer> = {}, asked: Partial<CheckRequest> = {}) {
  const sent: Sent[] = [];
  const authorizer = createHttpAuthorizer({ ...provider, ...fields }, (one) => {
    sent.push(one);
    return Promise.resolve({ status: 200, headers: [], body: Buffer.of(), ...answer });
  });
  const outcome = await authorizer.check({ ...request, ...asked }, new AbortController().signal);
  return { sent: sent[0] as Sent, outcome };
}

describe('a list of headers', () => {
  it.each([
    ['x-a', true],
    ['x-ab', false],
    ['ext-', true],
    ['ext-any', true],
    ['some-id', true],
    ['-id', true],
    ['id', false],
  ])('of names, prefixes and suffixes decides %s as %s', (name, expected) => {
    expect(compileHeaderList(['x-a', 'ext-*', '*-id'])(name)).toBe(expected);
  });
});

describe('the origin of a provider', () => {
  it.each([
    ['authz', 'http://authz:80'],
    ['security/authz', 'http://authz.security.svc.cluster.local:80'],
    ['security/authz.example.com', 'http://authz.example.com:80'],
  ])('%s is %s', (service, origin) => {
    expect(originOf({ service, port: 80 })).toBe(origin);
  });
});

describe('the check over HTTP', () => {
  it('sends host and authorization always, other headers as the lists say', async () => {
    expect((await check({})).sent).toMatchObject({
      origin: 'http://authz.security.svc.cluster.local:8000',
      method: 'GET',
      path: '/a?b=c',
      headers: { host: 'shop.example', authorization: 'Bearer t' },
    });
    const fields = { includeRequestHeadersInCheck: ['x-*'], includeAdditionalHeadersInCheck: { 'x-a': 'fixed', host: 'no' } };
    expect((await check({ ...fields, pathPrefix: '/p' })).sent).toMatchObject({
      path: '/p/a?b=c',
      headers: { host: 'shop.example', 'x-a': 'fixed' },
    });
  });

  it('sends a body with the mark whether it is cut off', async () => {
    const { sent } = await check({}, {}, { body: Buffer.from('ab'), isPartial: true });
    expect(sent.body?.toString()).toBe('ab');
    expect(sent.headers['x-envoy-auth-partial-body']).toBe('true');
  });

  it('sets on an allowed request what the list names, lines joined, and marks what is named exactly', async () => {
    const headers = [
      ['x-a', '1'],
      ['x-a', '2'],
      ['y', '3'],
      ['host', 'evil'],
      ['x-envoy-auth-headers-to-remove', ' X-Gone ,, content-length,:path'],
    ] as const;
    const { outcome } = await check(
      { headersToUpstreamOnAllow: ['x-*', 'y', 'host'], headersToDownstreamOnAllow: ['y'] },
      { headers },
    );
    expect(outcome).toEqual({
      allowed: true,
      changes: {
        setHeaders: [
          { name: 'x-a', value: '1, 2', action: 'overwrite', isListed: false },
          { name: 'y', value: '3', action: 'overwrite', isListed: true },
        ],
        removeHeaders: ['x-gone'],
        responseHeaders: [['y', '3']],
        setQuery: [],
        removeQuery: [],
      },
    });
  });

  it.each([
    [[], ['x-why', 'www-authenticate', 'location', 'set-cookie']],
    [['x-why'], ['x-why', 'www-authenticate', 'location']],
  ])('gives the client of a denied request the headers that %j lets through', async (headersToDownstreamOnDeny, names) => {
    const headers = ['x-why', 'www-authenticate', 'location', 'set-cookie', 'connection', 'content-length', 'date'].map(
      (name) => [name, 'v'] as const,
    );
    const { outcome } = await check({ headersToDownstreamOnDeny }, { status: 401, headers, body: Buffer.from('no') });
    expect(outcome).toEqual({ allowed: false, status: 401, headers: names.map((name) => [name, 'v']), body: Buffer.from('no') });
  });

  it.each([201, 204, 302, 404, 499])('takes %i for a denial', async (status) => {
    expect((await check({}, { status })).outcome).toMatchObject({ allowed: false, status });
  });

  it.each([500, 503, 599])('takes %i for a failure', async (status) => {
    await expect(check({}, { status })).rejects.toMatchObject({ code: 'ENMESH_CUSTOM_CHECK_FAILED' });
  });
});
