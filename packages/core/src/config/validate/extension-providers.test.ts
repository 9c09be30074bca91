import { describe, expect, it } from 'vitest';
import type { ExtensionProvider } from '../../policy/provider.js';
import { formatProblem } from '../problem.js';
import { validateDocuments } from '../validate.js';

function read(providers: unknown): { providers: readonly ExtensionProvider[] | undefined; problems: string } {
  const text = JSON.stringify({ extensionProviders: providers });
  const { resources, problems } = validateDocuments([{ name: 'enmesh/mesh.yaml', text, meshConfig: true }]);
  return {
    providers: resources?.mesh.extensionProviders,
    problems: problems.map((problem) => `${problem.level} ${formatProblem(problem)}`).join('\n'),
  };
}

const http = (fields: object = {}): object[] => [
  { name: 'authz', envoyExtAuthzHttp: { service: 'authz.shop.svc.cluster.local', port: 8000, ...fields } },
];
const grpc = (fields: object = {}): object[] => [
  { name: 'authz', envoyExtAuthzGrpc: { service: 'authz.example', port: 9000, ...fields } },
];

describe('extensionProviders', () => {
  it('fills in the defaults of an HTTP authorizer', () => {
    expect(read(http())).toEqual({
      providers: [
        {
          kind: 'http',
          name: 'authz',
          service: 'authz.shop.svc.cluster.local',
          port: 8000,
          timeoutMs: 5000,
          failOpen: false,
          statusOnError: 403,
          body: undefined,
          pathPrefix: '',
          includeRequestHeadersInCheck: [],
          includeAdditionalHeadersInCheck: {},
          headersToUpstreamOnAllow: [],
          headersToDownstreamOnDeny: [],
          headersToDownstreamOnAllow: [],
        },
      ],
      problems: '',
    });
  });

  it('takes an address as service: an authorizer on loopback has no name', () => {
    expect(read(http({ service: '127.0.0.1' }))).toMatchObject({ providers: [{ service: '127.0.0.1' }], problems: '' });
  });

  it('reads every field of an HTTP authorizer, header names in lower case', () => {
    const fields = {
      timeout: '1.5s',
      failOpen: true,
      statusOnError: '503',
      clearRouteCache: true,
      includeRequestBodyInCheck: { maxRequestBytes: 1024, allowPartialMessage: true, packAsBytes: true },
      pathPrefix: '/check',
      includeRequestHeadersInCheck: ['X-Token', 'x-ext-*', '*-id'],
      includeAdditionalHeadersInCheck: { 'X-From': 'mesh' },
      headersToUpstreamOnAllow: ['Authorization'],
      headersToDownstreamOnDeny: ['Set-Cookie'],
      headersToDownstreamOnAllow: ['X-Quota'],
    };
    const { providers, problems } = read(http({ ...fields, service: 'security/authz' }));
    expect(problems).toBe('');
    expect(providers).toEqual([
      expect.objectContaining({
        service: 'security/authz',
        timeoutMs: 1500,
        failOpen: true,
        statusOnError: 503,
        body: { maxRequestBytes: 1024, allowPartialMessage: true, packAsBytes: true },
        pathPrefix: '/check',
        includeRequestHeadersInCheck: ['x-token', 'x-ext-*', '*-id'],
        includeAdditionalHeadersInCheck: { 'x-from': 'mesh' },
        headersToUpstreamOnAllow: ['authorization'],
        headersToDownstreamOnDeny: ['set-cookie'],
        headersToDownstreamOnAllow: ['x-quota'],
      }),
    ]);
  });

  it('takes the older includeHeadersInCheck where the newer field is absent', () => {
    const [provider] = read(http({ includeHeadersInCheck: ['A'] })).providers ?? [];
    expect(provider).toMatchObject({ includeRequestHeadersInCheck: ['a'] });
  });

  it('reads a gRPC authorizer', () => {
    expect(read(grpc({ timeout: '250ms' })).providers).toEqual([
      {
        kind: 'grpc',
        name: 'authz',
        service: 'authz.example',
        port: 9000,
        timeoutMs: 250,
        failOpen: false,
        statusOnError: 403,
        body: undefined,
      },
    ]);
  });

  it('passes over providers of other kinds with a warning each', () => {
    const { providers, problems } = read([{ name: 'otel', opentelemetry: { service: 'x', port: 1 } }, ...grpc()]);
    expect(providers?.map(({ name }) => name)).toEqual(['authz']);
    expect(problems).toBe(
      'warning enmesh/mesh.yaml:1:55 extensionProviders[0].opentelemetry: a provider of kind opentelemetry is not used by enmesh',
    );
  });

  it('warns of a body that a gRPC server would refuse', () => {
    expect(read(grpc({ includeRequestBodyInCheck: { maxRequestBytes: 4194304 } })).problems).toContain('messages over 4 MiB');
    expect(read(http({ includeRequestBodyInCheck: { maxRequestBytes: 4194304 } })).problems).toBe('');
  });

  it.each([
    ['no name', [{ envoyExtAuthzHttp: { service: 'a', port: 1 } }], 'lacks "name"'],
    ['a name that is no label', [{ ...http()[0], name: 'My_Authz' }], 'is no name of a provider'],
    ['a name of 64 characters', [{ ...http()[0], name: 'a'.repeat(64) }], 'is no name of a provider'],
    ['two of one name', [...http(), ...grpc()], 'extensionProviders[1].name: there are two providers of the name "authz"'],
    ['no kind', [{ name: 'authz' }], 'names no kind of provider'],
    ['two kinds', [{ ...http()[0], ...grpc()[0] }], 'a provider is of one kind, found envoyExtAuthzHttp and envoyExtAuthzGrpc'],
    ['an invented kind', [{ name: 'authz', envoyExtAuthzHttps: {} }], 'there is no field "envoyExtAuthzHttps"'],
    ['an invented field', http({ failopen: true }), 'did you mean "failOpen"?'],
    ['a field of HTTP for gRPC', grpc({ pathPrefix: '/a' }), 'there is no field "pathPrefix"'],
    ['no service', [{ name: 'authz', envoyExtAuthzHttp: { port: 1 } }], 'lacks "service"'],
    ['a service with a scheme', http({ service: 'http://authz' }), 'is no service'],
    ['a service with a port', http({ service: 'authz:80' }), 'is no service'],
    ['a service with two slashes', http({ service: 'a/b/c' }), 'is no service'],
    ['a wildcard', http({ service: '*.shop' }), 'is no service'],
    ['no port', [{ name: 'authz', envoyExtAuthzHttp: { service: 'a' } }], 'lacks "port"'],
    ['port 0', http({ port: 0 }), 'must be between 1 and 65535'],
    ['a timeout without unit', http({ timeout: '5' }), 'is no duration'],
    ['a status that is none', http({ statusOnError: '999' }), 'is no status'],
    ['a status in words', http({ statusOnError: 'Forbidden' }), 'is no status'],
    ['status 100', http({ statusOnError: '100' }), 'is no status'],
    ['a prefix without slash', http({ pathPrefix: 'check' }), 'must begin with a slash'],
    ['a prefix with a query', http({ pathPrefix: '/check?' }), 'must be a path'],
    ['a lone *', http({ includeRequestHeadersInCheck: ['*'] }), 'a lone "*" is not allowed'],
    ['a * in the middle', http({ headersToUpstreamOnAllow: ['x-*-id'] }), 'is no header name'],
    ['an empty header', http({ headersToDownstreamOnDeny: [''] }), 'must not be empty'],
    ['a header value with a line break', http({ includeAdditionalHeadersInCheck: { a: 'b\r\nc: d' } }), 'control characters'],
    ['a body without limit', http({ includeRequestBodyInCheck: { allowPartialMessage: true } }), 'lacks "maxRequestBytes"'],
    ['a body limit of 0', http({ includeRequestBodyInCheck: { maxRequestBytes: 0 } }), 'must be between 1 and'],
    [
      'a body limit beyond memory',
      http({ includeRequestBodyInCheck: { maxRequestBytes: 4_000_000_000 } }),
      'must be between 1 and 67108864',
    ],
  ])('refuses %s', (_what, providers, expected) => {
    const { providers: found, problems } = read(providers);
    expect(found).toBeUndefined();
    expect(problems).toContain(expected);
  });
});
