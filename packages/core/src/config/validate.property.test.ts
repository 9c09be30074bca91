import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { validateDocuments } from './validate.js';

const metadata = { name: 'x', namespace: 'shop', labels: { app: 'x' }, annotations: {} };
const samples = [
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata,
    spec: {
      selector: { matchLabels: { app: 'x' } },
      targetRefs: [{ kind: 'Service', name: 'x' }],
      action: 'DENY',
      provider: { name: 'x' },
      rules: [
        {
          from: [{ source: { serviceAccounts: ['a'], ipBlocks: ['::1'] } }],
          to: [{ operation: { paths: ['/{*}'], ports: ['80'] } }],
          when: [{ key: 'source.ip', values: ['::1'] }],
        },
      ],
    },
  },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata,
    spec: {
      jwtRules: [
        {
          issuer: 'i',
          jwksUri: 'https://a',
          jwks: '{"keys":[{"kty":"RSA"}]}',
          audiences: ['a'],
          fromHeaders: [{ name: 'a' }],
          timeout: '5s',
        },
      ],
    },
  },
  {
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata,
    spec: { selector: { matchLabels: { a: 'b' } }, mtls: { mode: 'STRICT' }, portLevelMtls: { 80: {} } },
  },
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata,
    spec: {
      hosts: ['*.a'],
      addresses: ['::1'],
      ports: [{ number: 80, name: 'a' }],
      resolution: 'DNS',
      endpoints: [{ address: 'a', ports: { a: 1 } }],
      exportTo: ['.'],
    },
  },
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata,
    spec: {
      host: 'a',
      subsets: [{ name: 'a' }],
      trafficPolicy: {
        tls: { mode: 'MUTUAL' },
        portLevelSettings: [{ port: { number: 80 } }],
        loadBalancer: { simple: 'RANDOM' },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ port: 80, targetPort: 'x' }], selector: { a: 'b' } } },
    ],
  },
  { apiVersion: 'enmesh.dev/v1', kind: 'TokenPropagation', metadata, spec: { outbound: [{ hosts: ['a'], mode: 'NONE' }] } },
  {
    trustDomain: 'td',
    caCertificates: [{ trustDomains: ['a'] }],
    meshMTLS: { cipherSuites: ['x'] },
    pathNormalization: { normalization: 'BASE' },
  },
];

/** Every place of a value, as the keys that lead to it. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, child]) => placesOf(child, [...path, key]))];
}

function replaceAt(value: unknown, path: readonly string[], replacement: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item: unknown, index) => (String(index) === key ? replaceAt(item, rest, replacement) : item));
  return { ...(value as object), [key]: replaceAt((value as Record<string, unknown>)[key], rest, replacement) };
}

const places = samples.flatMap((sample) => placesOf(sample).map((path) => ({ sample, path })));

describe('validateDocuments, whatever it is given', () => {
  it('answers instead of throwing when any value of a document is replaced, and admits nothing with an error', () => {
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), fc.boolean(), ({ sample, path }, replacement, meshConfig) => {
        const text = JSON.stringify(replaceAt(sample, path, replacement));
        const { resources, problems } = validateDocuments([{ name: 'a.yaml', text, meshConfig }]);
        expect(resources === undefined).toBe(problems.some((problem) => problem.level === 'error'));
        for (const problem of problems) expect(problem.line >= 1 && problem.column >= 1).toBe(true);
      }),
      { numRuns: 1500 },
    );
  });

  it('answers instead of throwing on any text', () => {
    const fragment = fc.constantFrom(
      'a',
      ': ',
      '- ',
      '\n',
      '  ',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '#',
      '&x',
      '*x',
      '!',
      '|',
      '>',
      '?',
      '---\n',
      '%',
      '\t',
      ',',
      'kind',
      '\u0000',
      '\ud800',
      '<<',
    );
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 40 }), (fragments) => {
        const { resources, problems } = validateDocuments([{ name: 'a.yaml', text: fragments.join('') }]);
        expect(resources === undefined).toBe(problems.some((problem) => problem.level === 'error'));
      }),
      { numRuns: 1500 },
    );
  });
});
