import { describe, expect, it } from 'vitest';
import { formatProblem } from '../problem.js';
import { validateDocuments } from '../validate.js';

function problemsOf(spec: unknown, annotations: Record<string, string> = {}): string {
  const document = {
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: 'p', namespace: 'shop', annotations },
    spec,
  };
  const mesh = { extensionProviders: [{ name: 'x', envoyExtAuthzHttp: { service: 'x.shop', port: 80 } }] };
  const { resources, problems } = validateDocuments([
    { name: 'enmesh/mesh.yaml', text: JSON.stringify(mesh), meshConfig: true },
    { name: 'p.yaml', text: JSON.stringify(document) },
  ]);
  expect(resources === undefined).toBe(problems.some((problem) => problem.level === 'error'));
  return problems.map((problem) => `${problem.level} ${problem.code} ${formatProblem(problem)}`).join('\n');
}

const source = (fields: object): unknown => ({ rules: [{ from: [{ source: fields }] }] });
const operation = (fields: object): unknown => ({ rules: [{ to: [{ operation: fields }] }] });
const when = (key: string, fields: object = { values: ['v'] }): unknown => ({ rules: [{ when: [{ key, ...fields }] }] });

const customOf = (rule: object): object => ({ action: 'CUSTOM', provider: { name: 'x' }, rules: [rule] });
const asksCaller = (field: string): [string, object, string] => [
  `CUSTOM that asks for ${field}`,
  customOf({ from: [{ source: { [field]: ['a'] } }] }),
  `spec.rules[0].from[0].source.${field}: ${field} is not supported with action CUSTOM`,
];
const asksCallerWhen = (key: string): [string, object, string] => [
  `CUSTOM that asks when ${key}`,
  customOf({ when: [{ key, values: ['a'] }] }),
  'spec.rules[0].when[0].key: ',
];

describe('AuthorizationPolicy', () => {
  it.each([
    ['no rules', {}],
    ['an empty rule', { rules: [{}] }],
    ['DENY for everything', { action: 'DENY', rules: [{}] }],
    ['AUDIT without rules', { action: 'AUDIT' }],
    [
      'every source field',
      source({
        principals: ['*'],
        notPrincipals: ['a*'],
        requestPrincipals: ['*/x'],
        notRequestPrincipals: ['*/y'],
        namespaces: ['a'],
        notNamespaces: ['b'],
      }),
    ],
    [
      'addresses',
      source({
        ipBlocks: ['1.2.3.4', '10.0.0.0/8', '::1', 'fe80::/10'],
        notIpBlocks: ['::ffff:1.2.3.4'],
        remoteIpBlocks: ['0.0.0.0/0'],
        notRemoteIpBlocks: ['1.2.3.4/32'],
      }),
    ],
    ['service accounts', source({ serviceAccounts: ['gateway', 'shop/gateway'], notServiceAccounts: ['x'] })],
    ['trust domains', source({ trustDomains: ['*', 'a*', '*b'], notTrustDomains: ['c'] })],
    [
      'every operation field',
      operation({
        hosts: ['*.x'],
        notHosts: ['y'],
        ports: ['0', '65535'],
        notPorts: ['80'],
        methods: ['GET', 'G*', '*'],
        notMethods: ['PUT'],
        paths: ['/a/*', '*'],
        notPaths: ['/{*}/b/{**}'],
      }),
    ],
    ['headers', when('request.headers[x-role]')],
    ['nested claims', when('request.auth.claims[a][b.c]')],
    [
      'CUSTOM for what a client sends and where it stands',
      {
        action: 'CUSTOM',
        provider: { name: 'x' },
        rules: [{ to: [{ operation: { paths: ['/a'] } }], from: [{ source: { ipBlocks: ['::1'] } }] }, {}],
      },
    ],
    [
      'CUSTOM by header',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [{ when: [{ key: 'request.headers[a]', values: ['v'] }] }] },
    ],
    ['an address condition', when('remote.ip', { notValues: ['10.0.0.0/8'] })],
    ['a port condition', when('destination.port', { values: ['8080'] })],
    ['a trust domain with a slash, in a condition', when('source.trustDomain', { values: ['a/b'] })],
  ])('admits %s', (_what, spec) => {
    expect(problemsOf(spec)).toBe('');
  });

  it.each([
    ['CUSTOM without a provider', { action: 'CUSTOM', rules: [{}] }, 'action CUSTOM needs `provider.name`'],
    [
      'CUSTOM with an empty provider',
      { action: 'CUSTOM', provider: { name: '' }, rules: [{}] },
      'spec.provider.name: action CUSTOM needs',
    ],
    ['CUSTOM without rules', { action: 'CUSTOM', provider: { name: 'x' } }, 'CUSTOM without rules never matches'],
    [
      'CUSTOM with an empty list of rules',
      { action: 'CUSTOM', provider: { name: 'x' }, rules: [] },
      'CUSTOM without rules never matches',
    ],
    ...['namespaces', 'notNamespaces', 'serviceAccounts', 'notServiceAccounts', 'trustDomains', 'notTrustDomains'].map(
      asksCaller,
    ),
    ...['principals', 'notPrincipals', 'requestPrincipals', 'notRequestPrincipals'].map(asksCaller),
    ...['source.namespace', 'source.serviceAccount', 'source.trustDomain', 'source.principal'].map(asksCallerWhen),
    ...['request.auth.principal', 'request.auth.audiences', 'request.auth.claims[a]'].map(asksCallerWhen),
    ['a provider without CUSTOM', { provider: { name: 'x' }, rules: [{}] }, 'only action CUSTOM has a provider, found ALLOW'],
    ['DENY without rules', { action: 'DENY' }, 'DENY without rules never matches (write `rules: [{}]`'],
    ['DENY with an empty list of rules', { action: 'DENY', rules: [] }, 'DENY without rules never matches'],
    ['an action in lower case', { action: 'deny', rules: [{}] }, 'did you mean DENY?'],
    ['an empty action', { action: '' }, 'spec.action: must be one of'],
    ['a null rule', { rules: [null] }, 'spec.rules[0]: must be a map, not null'],
    ['a missing source', { rules: [{ from: [{}] }] }, 'spec.rules[0].from[0]: lacks "source"'],
    ['an empty source', source({}), 'spec.rules[0].from[0].source: must not be empty'],
    ['a source of empty lists', source({ principals: [], namespaces: [] }), 'source: must not be empty'],
    ['an empty operation', operation({}), 'operation: must not be empty'],
    ['a field of the other side', source({ methods: ['GET'] }), 'there is no field "methods" here'],
    ['an empty value', operation({ methods: [''] }), 'methods[0]: must not be empty'],
    ['a value outside a list', source({ namespaces: 'a' }), 'namespaces: must be a list, not a string (put it in [ ])'],
    ['a number as a value', operation({ ports: [80] }), 'ports[0]: must be a string, not a number (put it in quotes)'],
    ['a port that is too high', operation({ ports: ['65536'] }), '"65536" is no port'],
    ['a range of ports', operation({ notPorts: ['80-90'] }), '"80-90" is no port'],
    ['a bad address', source({ ipBlocks: ['localhost'] }), '"localhost" is no IP address or CIDR range'],
    ['an address with leading zeros', source({ ipBlocks: ['010.0.0.1'] }), 'is no IP address'],
    ['a prefix that is too long', source({ remoteIpBlocks: ['1.2.3.4/33'] }), 'is no IP address'],
    ['a prefix with a zone', source({ notRemoteIpBlocks: ['fe80::1%eth0/64'] }), 'is no IP address'],
    ['a wildcard service account', source({ serviceAccounts: ['a*'] }), 'wildcards are not allowed in a service account'],
    [
      'a service account with two slashes',
      source({ serviceAccounts: ['a/b/c'] }),
      'must have the form "account" or "namespace/account"',
    ],
    ['a long service account', source({ serviceAccounts: ['x'.repeat(321)] }), 'must not be longer than 320 characters'],
    ['17 service accounts', source({ serviceAccounts: Array(17).fill('a') }), 'has 17 entries; at most 16 are allowed'],
    [
      'service accounts beside principals',
      source({ serviceAccounts: ['a'], notPrincipals: ['b'] }),
      'cannot be combined with principals or namespaces',
    ],
    ['a trust domain with a slash', source({ trustDomains: ['spiffe://a'] }), 'a trust domain holds no "/"'],
    ['a wildcard in the middle', source({ trustDomains: ['a*b'] }), 'a wildcard is only allowed first or last'],
    ['two wildcards', source({ notTrustDomains: ['*a*'] }), 'at most one wildcard is allowed'],
    ['a template that is none', operation({ paths: ['/{id}/x'] }), 'a brace may only form a whole segment'],
    ['a template that no path can match', operation({ paths: ['{**}'] }), 'a template must begin with one slash'],
    ['an unknown attribute', when('request.path'), '"request.path" is no attribute that a condition can use'],
    ['a misspelt attribute', when('source.principals'), 'did you mean "source.principal"?'],
    ['a retired attribute', when('destination.labels[app]'), 'was an attribute of v1alpha1'],
    ['metadata of Envoy filters', when('experimental.envoy.filters.a.b[c]'), 'ENMESH_CONFIG_UNSUPPORTED'],
    ['a header without a name', when('request.headers[]'), 'must have the form name[x]'],
    ['headers without a bracket', when('request.headers'), 'must have the form name[x]'],
    ['an empty nested claim', when('request.auth.claims[a][]'), 'must have the form name[x]'],
    ['an open bracket', when('request.auth.claims[a'), 'must have the form name[x]'],
    ['a condition without values', when('source.ip', {}), 'needs `values` or `notValues`'],
    ['a condition with empty lists', when('source.ip', { values: [], notValues: [] }), 'needs `values` or `notValues`'],
    ['a condition without a key', { rules: [{ when: [{ values: ['a'] }] }] }, 'spec.rules[0].when[0]: lacks "key"'],
    [
      'a bad address in a condition',
      when('source.ip', { notValues: ['x'] }),
      'spec.rules[0].when[0].notValues[0]: "x" is no IP address',
    ],
    [
      'a selector and a targetRef',
      { selector: { matchLabels: { a: 'b' } }, targetRef: { kind: 'Service', name: 'x' } },
      'only one of selector, targetRef and targetRefs',
    ],
    [
      'a wildcard label',
      { selector: { matchLabels: { a: '*' } } },
      'spec.selector.matchLabels.a: a label value may hold no wildcard',
    ],
    ['labels outside matchLabels', { selector: { app: 'x' } }, 'there is no field "app" here'],
    [
      'a targetRef in another namespace',
      { targetRefs: [{ kind: 'Service', name: 'x', namespace: 'y' }] },
      'only refer to its own namespace',
    ],
    [
      'a targetRef of another kind',
      { targetRefs: [{ group: 'apps', kind: 'Deployment', name: 'x' }] },
      'policies do not attach to "apps/Deployment"',
    ],
    ['513 rules', { rules: Array(513).fill({}) }, 'has 513 entries; at most 512 are allowed'],
  ])('refuses %s', (_what, spec, expected) => {
    const problems = problemsOf(spec);
    expect(problems).toContain(expected);
    expect(problems).toContain('error ');
  });

  it.each([
    ['an empty from', { rules: [{ from: [] }] }, 'spec.rules[0].from: an empty `from` restricts nothing'],
    ['an empty to', { rules: [{ to: [] }] }, 'spec.rules[0].to: an empty `to` restricts nothing'],
    [
      'a principal with its scheme',
      source({ notPrincipals: ['spiffe://a/b'] }),
      'never matches: a principal is written without spiffe://',
    ],
    ['a method in small letters', operation({ methods: ['get'] }), 'never matches: methods are in capitals'],
    ['a path without a slash', operation({ paths: ['admin'] }), 'never matches: a path begins with a slash'],
  ])('admits %s with a warning', (_what, spec, expected) => {
    const problems = problemsOf(spec);
    expect(problems).toContain(expected);
    expect(problems).toMatch(/^warning ENMESH_CONFIG_DOUBTFUL [^\n]*$/);
  });

  it.each(['1', 't', 'T', 'true', 'TRUE', 'True', '0', 'f', 'F', 'false', 'FALSE', 'False'])(
    'reads dry-run %s as Go does',
    (word) => {
      expect(problemsOf({ rules: [{}] }, { 'istio.io/dry-run': word })).toBe('');
    },
  );

  it.each(['yes', 'tRUE', '', 'on', ' true'])('refuses dry-run %j, which Istio would enforce', (word) => {
    expect(problemsOf({ rules: [{}] }, { 'istio.io/dry-run': word })).toContain('metadata.annotations["istio.io/dry-run"]:');
  });

  it('refuses a dry run of AUDIT', () => {
    expect(problemsOf({ action: 'AUDIT', rules: [{}] }, { 'istio.io/dry-run': 'true' })).toContain(
      'dry-run is only for ALLOW and DENY, found AUDIT',
    );
  });
});
