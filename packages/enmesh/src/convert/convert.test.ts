import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { convertDocuments, type Conversion } from './convert.js';
import { readDocuments } from './document.js';
import { formatDocuments } from './print.js';

function convert(text: string): Conversion {
  const { documents, unread } = readDocuments({ file: 'legacy.yaml', text, namespace: 'default' });
  expect(unread).toEqual([]);
  return convertDocuments(documents, { rootNamespace: 'istio-system' });
}

/** `Kind namespace/name` -> spec, of what was written. */
function specs({ converted }: Conversion): Record<string, unknown> {
  return Object.fromEntries(
    converted.map(({ document }) => {
      const { namespace, name } = document['metadata'] as { namespace: string; name: string };
      return [`${String(document['kind'])} ${namespace}/${name}`, document['spec']];
    }),
  );
}

const policy = (spec: string, name = 'default'): string =>
  `apiVersion: authentication.istio.io/v1alpha1\nkind: Policy\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}`;
const rbac = (kind: string, name: string, spec: string, namespace = 'shop'): string =>
  `apiVersion: rbac.istio.io/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}`;
const documents = (...all: string[]): string => all.join('\n---\n');
const service = (name: string, labels: string, ports = '[]'): string =>
  `apiVersion: v1\nkind: Service\nmetadata: {name: ${name}, namespace: shop}\nspec: {selector: ${labels}, ports: ${ports}}`;

const users = { notRequestPrincipals: ['*'] };
const jwtRule = { issuer: 'i', outputPayloadToHeader: 'sec-istio-auth-userinfo', forwardOriginalToken: false };

describe('authentication.istio.io: the mode of peers', () => {
  it.each([
    ['peers: [{mtls: {}}]', 'STRICT'],
    ['peers: [{mtls: null}]', 'STRICT'],
    ['peers: [{mtls: }]', 'STRICT'],
    ['peers: [{mtls: {mode: STRICT}}]', 'STRICT'],
    ['peers: [{mtls: {mode: PERMISSIVE}}]', 'PERMISSIVE'],
    ['peers: [{mtls: {}}], peerIsOptional: true', 'PERMISSIVE'],
    ['peers: [{mtls: {}}], peer_is_optional: true', 'PERMISSIVE'],
    ['peers: [{mtls: {allowTls: true}}]', 'STRICT'],
    ['peers: []', 'DISABLE'],
    ['', 'DISABLE'],
  ])('reads {%s} as %s', (spec, mode) => {
    expect(specs(convert(policy(`{${spec}}`)))).toEqual({ 'PeerAuthentication shop/default': { mtls: { mode } } });
  });

  it('puts a MeshPolicy into the root namespace, whatever namespace it has', () => {
    const result = convert(
      'apiVersion: authentication.istio.io/v1alpha1\nkind: MeshPolicy\nmetadata: {name: default}\nspec: {peers: [{mtls: {}}]}',
    );
    expect(specs(result)).toEqual({ 'PeerAuthentication istio-system/default': { mtls: { mode: 'STRICT' } } });
  });

  it('says that a policy without peers switches mutual TLS off', () => {
    expect(convert(policy('{}')).converted[0]!.notes.join()).toContain('switched off');
  });

  it('guesses the label of a target and says so, unless its Service is given', () => {
    const target = policy('{targets: [{name: cart}], peers: [{mtls: {}}]}', 'cart');
    const guessed = convert(target);
    expect(specs(guessed)).toEqual({
      'PeerAuthentication shop/cart': { selector: { matchLabels: { app: 'cart' } }, mtls: { mode: 'STRICT' } },
    });
    expect(guessed.converted[0]!.notes.join()).toContain('taken to be labelled app: cart');
    const known = convert(documents(target, service('cart', '{component: basket}')));
    expect(specs(known)).toEqual({
      'PeerAuthentication shop/cart': { selector: { matchLabels: { component: 'basket' } }, mtls: { mode: 'STRICT' } },
    });
    expect(known.converted[0]!.notes).toEqual([]);
  });

  it('turns ports of a target into portLevelMtls of the workload, through the Service where it is given', () => {
    const spec = '{targets: [{name: cart, ports: [{number: 80}, {name: admin}]}], peers: [{mtls: {mode: PERMISSIVE}}]}';
    const ports = '[{name: http, port: 80, targetPort: 8080}, {name: admin, port: 81, targetPort: 9090}]';
    expect(specs(convert(documents(policy(spec, 'cart'), service('cart', '{app: cart}', ports))))).toEqual({
      'PeerAuthentication shop/cart': {
        selector: { matchLabels: { app: 'cart' } },
        portLevelMtls: { 8080: { mode: 'PERMISSIVE' }, 9090: { mode: 'PERMISSIVE' } },
      },
    });
    const assumed = convert(policy('{targets: [{name: cart, ports: [{number: 80}]}], peers: [{mtls: {}}]}', 'cart'));
    expect(assumed.converted[0]!.notes.join()).toContain("workload's port too");
    expect(convert(policy(spec, 'cart')).refused[0]!.path).toBe('spec.targets[0].ports[1]');
  });

  it('writes one document for each target, and one for policies that speak of ports of the same workloads', () => {
    const two = convert(policy('{targets: [{name: a}, {name: b}], peers: [{mtls: {}}]}', 'p'));
    expect(Object.keys(specs(two))).toEqual(['PeerAuthentication shop/p-a', 'PeerAuthentication shop/p-b']);
    const onPort = (port: number, mode: string): string =>
      policy(`{targets: [{name: a, ports: [{number: ${port}}]}], peers: [{mtls: {mode: ${mode}}}]}`, `p${port}`);
    const selector = { matchLabels: { app: 'a' } };
    expect(specs(convert(documents(onPort(80, 'STRICT'), onPort(81, 'PERMISSIVE'))))).toEqual({
      'PeerAuthentication shop/p80': { selector, portLevelMtls: { 80: { mode: 'STRICT' }, 81: { mode: 'PERMISSIVE' } } },
    });
    expect(convert(documents(onPort(80, 'STRICT'), onPort(80, 'PERMISSIVE'))).refused[0]!.reason).toContain('only one');
    const same = convert(
      policy('{targets: [{name: a, ports: [{number: 1}]}, {name: a, ports: [{number: 2}]}], peers: [{mtls: {}}]}', 'p'),
    );
    expect(Object.values(specs(same))).toEqual([{ selector, portLevelMtls: { 1: { mode: 'STRICT' }, 2: { mode: 'STRICT' } } }]);
  });
});

describe('authentication.istio.io: the users', () => {
  it('verifies tokens, and demands one unless the origin is optional', () => {
    const origins =
      'peers: [{mtls: {}}], origins: [{jwt: {issuer: i, audiences: [a], jwksUri: "https://i/k", jwt_params: [t], jwtHeaders: [x-t, Authorization]}}]';
    const rule = {
      ...jwtRule,
      audiences: ['a'],
      jwksUri: 'https://i/k',
      fromParams: ['t'],
      fromHeaders: [{ name: 'x-t' }, { name: 'Authorization', prefix: 'Bearer ' }],
    };
    const verify = { 'RequestAuthentication shop/default': { jwtRules: [rule] } };
    const peer = { 'PeerAuthentication shop/default': { mtls: { mode: 'STRICT' } } };
    expect(specs(convert(policy(`{${origins}, originIsOptional: true}`)))).toEqual({ ...peer, ...verify });
    expect(specs(convert(policy(`{${origins}}`)))).toEqual({
      ...peer,
      ...verify,
      'AuthorizationPolicy shop/default-require-token': { action: 'DENY', rules: [{ from: [{ source: users }] }] },
    });
  });

  it.each([
    ['[{includedPaths: [{exact: /a}, {prefix: /b}, {suffix: .c}]}]', [{ paths: ['/a', '/b*', '*.c'] }]],
    ['[{excludedPaths: [{exact: /health}, {prefix: /pub/}]}]', [{ notPaths: ['/health', '/pub/*'] }]],
    ['[{included_paths: [{prefix: /a}], excluded_paths: [{exact: /a/b}]}]', [{ paths: ['/a*'], notPaths: ['/a/b'] }]],
    ['[{includedPaths: [{exact: /a}]}, {excludedPaths: [{exact: /b}]}]', [{ paths: ['/a'] }, { notPaths: ['/b'] }]],
    ['[{includedPaths: [{prefix: ""}]}]', [{ paths: ['*'] }]],
    ['[{includedPaths: [{exact: /a}]}, {}]', undefined],
    ['[]', undefined],
  ])('demands a token where the trigger rules %s ask for it', (triggers, operations) => {
    const result = convert(policy(`{origins: [{jwt: {issuer: i, jwksUri: "https://i/k", triggerRules: ${triggers}}}]}`));
    const from = [{ source: users }];
    const rules = operations === undefined ? [{ from }] : operations.map((operation) => ({ from, to: [{ operation }] }));
    expect(specs(result)['AuthorizationPolicy shop/default-require-token']).toEqual({ action: 'DENY', rules });
    const notes = result.converted.flatMap((one) => one.notes).join();
    expect(notes.includes('an invalid token on a path that needs none')).toBe(operations !== undefined);
    expect(notes).toContain('answered 401 and is answered 403 now');
  });

  it('limits the demand, not the verification, to the ports of a target', () => {
    const spec =
      '{targets: [{name: a, ports: [{number: 80}]}], peers: [{mtls: }], origins: [{jwt: {issuer: i, jwksUri: "https://i/k"}}]}';
    const result = specs(convert(policy(spec, 'p')));
    expect(result['AuthorizationPolicy shop/p-require-token']).toMatchObject({
      rules: [{ to: [{ operation: { ports: ['80'] } }] }],
    });
  });

  it('says where a narrower policy used to replace a broader one that asks for tokens', () => {
    const origins = 'origins: [{jwt: {issuer: i, jwksUri: "https://i/k"}}]';
    const narrow = policy('{targets: [{name: a}], peers: [{mtls: }]}', 'a');
    const notes = (broad: string): string =>
      convert(documents(policy(broad), narrow))
        .converted.find(({ from }) => from[0]!.startsWith('Policy shop/a'))!
        .notes.join();
    expect(notes(`{peers: [{mtls: }], ${origins}}`)).toContain('it replaced Policy shop/default (legacy.yaml:1) here');
    expect(notes('{peers: [{mtls: }]}')).not.toContain('it replaced');
  });

  it('says that principalBinding is gone', () => {
    const result = convert(policy('{origins: [{jwt: {issuer: i, jwksUri: "https://i/k"}}], principalBinding: USE_ORIGIN}'));
    expect(result.converted.flatMap((one) => one.notes).join()).toContain('principalBinding has no successor');
  });

  it.each([
    [
      '{origins: [{jwt: {issuer: i, triggerRules: [{includedPaths: [{regex: "^/a.*"}]}]}}]}',
      'spec.origins[0].jwt.triggerRules[0].includedPaths[0].regex',
    ],
    [
      '{origins: [{jwt: {issuer: i, triggerRules: [{includedPaths: [{exact: "/a*"}]}]}}]}',
      'spec.origins[0].jwt.triggerRules[0].includedPaths[0].exact',
    ],
    [
      '{origins: [{jwt: {issuer: i, triggerRules: [{excludedPaths: [{prefix: "/{*}"}]}]}}]}',
      'spec.origins[0].jwt.triggerRules[0].excludedPaths[0].prefix',
    ],
    [
      '{origins: [{jwt: {issuer: i}}, {jwt: {issuer: j, triggerRules: [{includedPaths: [{exact: /a}]}]}}]}',
      'spec.origins[1].jwt.triggerRules',
    ],
    ['{origins: [{jwt: {audiences: [a]}}]}', 'spec.origins[0].jwt'],
    ['{origins: [{jwt: {issuer: i, surprise: 1}}]}', 'spec.origins[0].jwt.surprise'],
    ['{peers: [{jwt: {issuer: i}}]}', 'spec.peers[0].jwt'],
    ['{peers: [{mtls: {mode: DISABLE}}]}', 'spec.peers[0].mtls.mode'],
    ['{peers: [{mtls: {}}], principalBinding: BOTH}', 'spec.principalBinding'],
    ['{peerIsOptional: "yes"}', 'spec.peerIsOptional'],
    ['{peers: {mtls: {}}}', 'spec.peers'],
  ])('refuses %s as a whole', (spec, path) => {
    const result = convert(policy(spec));
    expect(result.converted).toEqual([]);
    expect(result.refused).toMatchObject([{ path, from: 'Policy shop/default (legacy.yaml:1)' }]);
  });

  it('refuses what was not in effect: a policy without targets that is not called default, a MeshPolicy with targets', () => {
    expect(convert(policy('{peers: [{mtls: }]}', 'other')).refused[0]!.path).toBe('metadata.name');
    const mesh = policy('{targets: [{name: a}]}').replace('kind: Policy', 'kind: MeshPolicy');
    expect(convert(mesh).refused[0]!.path).toBe('spec.targets');
  });

  it('refuses what would not be valid today', () => {
    const result = convert(policy('{origins: [{jwt: {issuer: i, jwksUri: "ftp://i/k"}}]}'));
    expect(result.converted).toEqual([]);
    expect(result.refused[0]!.reason).toMatch(/^today's RequestAuthentication would not be valid: spec.jwtRules\[0\]/);
  });
});

describe('config.istio.io: end-user authentication', () => {
  const spec =
    'apiVersion: config.istio.io/v1alpha2\nkind: EndUserAuthenticationPolicySpec\nmetadata: {name: users, namespace: shop}\n' +
    'spec: {jwts: [{issuer: i, jwks_uri: "https://i/k", forward_jwt: true, public_key_cache_duration: 300s, locations: [{header: x-t}, {query: t}]}]}';
  const binding = (services: string): string =>
    'apiVersion: config.istio.io/v1alpha2\nkind: EndUserAuthenticationPolicySpecBinding\nmetadata: {name: bound, namespace: shop}\n' +
    `spec: {policies: [{name: users, namespace: shop}], services: ${services}}`;

  it('writes verification and demand for each bound service', () => {
    const result = convert(documents(spec, binding('[{name: a}, {name: b, namespace: web}]')));
    const selector = { matchLabels: { app: 'a' } };
    const rule = {
      ...jwtRule,
      forwardOriginalToken: true,
      jwksUri: 'https://i/k',
      fromHeaders: [{ name: 'x-t' }],
      fromParams: ['t'],
    };
    expect(specs(result)).toMatchObject({
      'RequestAuthentication shop/bound-a': { selector, jwtRules: [rule] },
      'AuthorizationPolicy shop/bound-a-require-token': { selector, action: 'DENY', rules: [{ from: [{ source: users }] }] },
      'RequestAuthentication web/bound-b': { selector: { matchLabels: { app: 'b' } } },
      'AuthorizationPolicy web/bound-b-require-token': { action: 'DENY' },
    });
    expect(result.converted[0]!.notes.join()).toContain('publicKeyCacheDuration is dropped');
    expect(result.refused).toEqual([]);
  });

  it('refuses a binding whose spec is missing, and a spec that nothing binds', () => {
    expect(convert(binding('[{name: a}]')).refused[0]!.path).toBe('spec.policies[0]');
    expect(convert(spec).refused[0]!.reason).toContain('no binding uses it');
  });
});

describe('rbac.istio.io: where it is enforced', () => {
  const config = (spec: string): string => rbac('ClusterRbacConfig', 'default', spec);
  it.each([
    ['{mode: "ON"}', { 'AuthorizationPolicy istio-system/rbac-default': {} }],
    ['{mode: "OFF"}', {}],
    [
      '{mode: ON_WITH_INCLUSION, inclusion: {namespaces: [a, b], services: [c.d.svc.cluster.local]}}',
      {
        'AuthorizationPolicy a/rbac-default': {},
        'AuthorizationPolicy b/rbac-default': {},
        'AuthorizationPolicy d/rbac-default-c': { selector: { matchLabels: { app: 'c' } } },
      },
    ],
    [
      '{mode: ON_WITH_EXCLUSION, exclusion: {namespaces: [a], services: [c.d.svc.cluster.local]}}',
      {
        'AuthorizationPolicy istio-system/rbac-default': {},
        'AuthorizationPolicy a/rbac-default-excluded': { rules: [{}] },
        'AuthorizationPolicy d/rbac-default-excluded-c': { selector: { matchLabels: { app: 'c' } }, rules: [{}] },
      },
    ],
  ])('turns %s into policies that shut and leave open the same places', (spec, expected) => {
    const result = convert(config(spec));
    expect(specs(result)).toEqual(expected);
    expect(result.refused).toEqual([]);
  });

  it('writes nothing of roles where they had no effect', () => {
    const role = rbac('ServiceRole', 'r', '{rules: [{services: ["*"]}]}');
    const bind = rbac('ServiceRoleBinding', 'b', '{subjects: [{user: "*"}], roleRef: {kind: ServiceRole, name: r}}');
    for (const spec of [
      '{mode: "OFF"}',
      '{mode: ON_WITH_INCLUSION, inclusion: {namespaces: [web]}}',
      '{mode: ON_WITH_EXCLUSION, exclusion: {namespaces: [shop]}}',
    ]) {
      const result = convert(documents(config(spec), role, bind));
      expect(Object.keys(specs(result)).filter((name) => name.endsWith('shop/b'))).toEqual([]);
      expect(result.refused).toMatchObject([{ from: 'ServiceRoleBinding shop/b (legacy.yaml:11)' }]);
    }
    const only = convert(documents(config('{mode: ON_WITH_INCLUSION, inclusion: {services: [cart.shop]}}'), role, bind));
    expect(specs(only)['AuthorizationPolicy shop/b']).toEqual({
      selector: { matchLabels: { app: 'cart' } },
      action: 'ALLOW',
      rules: [{}],
    });
  });

  it('keeps a permissive configuration a dry run', () => {
    const result = convert(config('{mode: "ON", enforcementMode: PERMISSIVE}'));
    expect(result.converted[0]!.document['metadata']).toMatchObject({ annotations: { 'istio.io/dry-run': 'true' } });
  });

  it.each([
    ['{mode: SOMETIMES}', 'spec.mode'],
    ['{mode: ON_WITH_INCLUSION, inclusion: {services: ["*.shop.svc.cluster.local"]}}', 'spec.inclusion.services[0]'],
    ['{mode: "ON", enforcementMode: MAYBE}', 'spec.enforcementMode'],
  ])('refuses %s, and the bindings with it', (spec, path) => {
    const bind = rbac('ServiceRoleBinding', 'b', '{subjects: [{user: "*"}], actions: [{services: ["*"]}]}');
    const result = convert(documents(config(spec), bind));
    expect(result.converted).toEqual([]);
    expect(result.refused.map((one) => one.path)).toEqual([path, '']);
  });
});

describe('rbac.istio.io: roles and bindings', () => {
  const bind = (rules: string, subjects: string, more = ''): Conversion =>
    convert(
      documents(
        rbac('ClusterRbacConfig', 'default', '{mode: "ON"}'),
        rbac('ServiceRole', 'r', `{rules: ${rules}}`),
        rbac('ServiceRoleBinding', 'b', `{subjects: ${subjects}, roleRef: {kind: ServiceRole, name: r}${more}}`),
      ),
    );
  const everybody = '[{user: "*"}]';
  const from = (source: object): object => ({ from: [{ source }] });

  it.each([
    ['{user: "*"}', {}],
    ['{user: cluster.local/ns/web/sa/ui}', from({ principals: ['cluster.local/ns/web/sa/ui'] })],
    ['{user: "spiffe://cluster.local/ns/web/sa/ui"}', from({ principals: ['cluster.local/ns/web/sa/ui'] })],
    ['{properties: {source.principal: "*"}}', from({ principals: ['*'] })],
    ['{properties: {source.namespace: web, source.ip: 10.0.0.0/8}}', from({ namespaces: ['web'], ipBlocks: ['10.0.0.0/8'] })],
    ['{properties: {request.auth.principal: "i/*"}}', from({ requestPrincipals: ['i/*'] })],
    [
      '{names: [a/ns/b/sa/c], notNamespaces: [d], ips: [1.2.3.4]}',
      from({ principals: ['a/ns/b/sa/c'], notNamespaces: ['d'], ipBlocks: ['1.2.3.4'] }),
    ],
    [
      '{notNames: [a/ns/b/sa/c], namespaces: [d], notIps: [1.2.3.4]}',
      from({ notPrincipals: ['a/ns/b/sa/c'], namespaces: ['d'], notIpBlocks: ['1.2.3.4'] }),
    ],
    ['{user: "*", properties: {"request.headers[x-a]": "1"}}', { when: [{ key: 'request.headers[x-a]', values: ['1'] }] }],
    ['{properties: {"request.auth.claims[role]": admin}}', { when: [{ key: 'request.auth.claims[role]', values: ['admin'] }] }],
    ['{group: admin}', { when: [{ key: 'request.auth.claims[groups]', values: ['admin'] }] }],
    [
      '{groups: [a, b], notGroups: [c]}',
      { when: [{ key: 'request.auth.claims[groups]', values: ['a', 'b'], notValues: ['c'] }] },
    ],
  ])('reads the subject %s', (subject, rule) => {
    const result = bind('[{services: ["*"]}]', `[${subject}]`);
    expect(result.refused).toEqual([]);
    expect(specs(result)['AuthorizationPolicy shop/b']).toEqual({ action: 'ALLOW', rules: [rule] });
  });

  it.each([
    ['{services: ["*"], methods: ["*"], paths: ["*"]}', {}],
    [
      '{services: ["*"], methods: [GET, HEAD], paths: [/a, "/b/*", "*.c"]}',
      { to: [{ operation: { methods: ['GET', 'HEAD'], paths: ['/a', '/b/*', '*.c'] } }] },
    ],
    [
      '{services: ["*"], notMethods: [POST], notPaths: [/x], hosts: [h], notHosts: [g], ports: [80], notPorts: [81]}',
      {
        to: [
          {
            operation: { notMethods: ['POST'], notPaths: ['/x'], hosts: ['h'], notHosts: ['g'], ports: ['80'], notPorts: ['81'] },
          },
        ],
      },
    ],
    [
      '{services: ["*"], constraints: [{key: "request.headers[x-v]", values: [a, b]}]}',
      { when: [{ key: 'request.headers[x-v]', values: ['a', 'b'] }] },
    ],
    [
      '{services: ["*"], constraints: [{key: destination.port, values: ["80"]}]}',
      { when: [{ key: 'destination.port', values: ['80'] }] },
    ],
    ['{services: ["*"], constraints: [{key: destination.namespace, values: [shop]}]}', {}],
  ])('reads the rule %s', (rule, expected) => {
    const result = bind(`[${rule}]`, everybody);
    expect(result.refused).toEqual([]);
    expect(specs(result)['AuthorizationPolicy shop/b']).toEqual({ action: 'ALLOW', rules: [expected] });
  });

  it('writes one policy for each service and each value of a destination label', () => {
    const rule =
      '{services: [a.shop.svc.cluster.local, b], constraints: [{key: "destination.labels[version]", values: [v1, v2]}]}';
    const selectors = Object.entries(specs(bind(`[${rule}]`, everybody))).map(([name, spec]) => [
      name,
      (spec as { selector?: unknown }).selector,
    ]);
    expect(Object.fromEntries(selectors.slice(1))).toEqual({
      'AuthorizationPolicy shop/b-a-v1': { matchLabels: { app: 'a', version: 'v1' } },
      'AuthorizationPolicy shop/b-a-v2': { matchLabels: { app: 'a', version: 'v2' } },
      'AuthorizationPolicy shop/b-b-v1': { matchLabels: { app: 'b', version: 'v1' } },
      'AuthorizationPolicy shop/b-b-v2': { matchLabels: { app: 'b', version: 'v2' } },
    });
  });

  it('keeps conditions of one subject from reaching another', () => {
    const subjects = '[{user: a/ns/b/sa/c}, {user: a/ns/b/sa/d}, {user: a/ns/b/sa/e, properties: {"request.headers[x]": "1"}}]';
    expect(specs(bind('[{services: ["*"], methods: [GET]}]', subjects))['AuthorizationPolicy shop/b']).toEqual({
      action: 'ALLOW',
      rules: [
        {
          from: [{ source: { principals: ['a/ns/b/sa/c'] } }, { source: { principals: ['a/ns/b/sa/d'] } }],
          to: [{ operation: { methods: ['GET'] } }],
        },
        {
          from: [{ source: { principals: ['a/ns/b/sa/e'] } }],
          to: [{ operation: { methods: ['GET'] } }],
          when: [{ key: 'request.headers[x]', values: ['1'] }],
        },
      ],
    });
  });

  it('expands wildcards of service names through the Services given', () => {
    const text = documents(
      rbac('ServiceRoleBinding', 'b', '{subjects: [{user: "*"}], actions: [{services: ["cart-*"]}]}'),
      service('cart-a', '{app: ca}'),
      service('cart-b', '{app: cb}'),
      service('other', '{app: o}'),
    );
    const result = convert(text);
    expect(Object.keys(specs(result))).toEqual(['AuthorizationPolicy shop/b-cart-a', 'AuthorizationPolicy shop/b-cart-b']);
    expect(result.converted[0]!.notes.join()).toContain('no ClusterRbacConfig');
    expect(result.passedOver).toHaveLength(3);
  });

  it('makes a permissive binding a dry run', () => {
    const { converted } = bind('[{services: ["*"]}]', everybody, ', mode: PERMISSIVE');
    expect(converted.map(({ document }) => (document['metadata'] as { annotations?: unknown }).annotations)).toEqual([
      undefined,
      { 'istio.io/dry-run': 'true' },
    ]);
  });

  it.each([
    ['[{methods: [GET]}]', everybody, 'spec.rules[0].services'],
    ['[{services: ["cart-*"]}]', everybody, 'spec.rules[0].services[0]'],
    ['[{services: [cart.web.svc.cluster.local]}]', everybody, 'spec.rules[0].services[0]'],
    ['[{services: ["*"], paths: ["/a/{*}"]}]', everybody, 'spec.rules[0].paths[0]'],
    ['[{services: ["*"], constraints: [{key: destination.user, values: [x]}]}]', everybody, 'spec.rules[0].constraints[0].key'],
    ['[{services: ["*"], constraints: [{key: destination.ip}]}]', everybody, 'spec.rules[0].constraints[0]'],
    [
      '[{services: ["*"], constraints: [{key: "destination.labels[v]", values: ["v*"]}]}]',
      everybody,
      'spec.rules[0].constraints[0].values',
    ],
    [
      '[{services: ["*"], constraints: [{key: destination.namespace, values: [web]}]}]',
      everybody,
      'spec.rules[0].constraints[0].values',
    ],
    ['[{services: ["*"]}]', '[]', 'spec.subjects'],
    ['[{services: ["*"]}]', '[{}]', 'spec.subjects[0]'],
    ['[{services: ["*"]}]', '[{user: a/ns/b/sa/c, names: [d]}]', 'spec.subjects[0].names'],
    ['[{services: ["*"]}]', '[{properties: {source.service: x}}]', 'spec.subjects[0].properties["source.service"]'],
    ['[{services: ["*"]}]', '[{properties: {constructor: x}}]', 'spec.subjects[0].properties["constructor"]'],
    ['[]', everybody, 'spec.roleRef'],
  ])('refuses the rules %s bound to %s', (rules, subjects, path) => {
    const result = bind(rules, subjects);
    expect(result.converted).toHaveLength(1);
    expect(result.refused.map((one) => one.path)).toEqual([path]);
  });

  it('refuses a binding without its role, a role without a binding, and kinds without a successor', () => {
    const alone = convert(rbac('ServiceRoleBinding', 'b', '{subjects: [{user: "*"}], roleRef: {kind: ServiceRole, name: r}}'));
    expect(alone.refused).toMatchObject([{ path: 'spec.roleRef' }]);
    const unused = convert(rbac('ServiceRole', 'r', '{rules: [{services: ["*"]}]}'));
    expect(unused.refused).toMatchObject([{ reason: 'no binding uses it, so it had no effect' }]);
    const mixer = convert('apiVersion: config.istio.io/v1alpha2\nkind: handler\nmetadata: {name: h}\nspec: {}');
    expect(mixer.refused).toMatchObject([{ path: 'kind' }]);
  });
});

describe('the text that is written', () => {
  it('can be read again, quotes what YAML 1.1 reads otherwise, and lets no name out of its comment', () => {
    const text = policy('{targets: [{name: "on"}], peers: [{mtls: {}}]}', '"x"').replace('"x"', '"x\\napiVersion: v1"');
    const { converted, refused } = convert(text);
    expect([converted.length, refused.length]).toEqual([0, 1]);
    const good = formatDocuments(convert(policy('{targets: [{name: "on"}], peers: [{mtls: {}}]}', 'x')).converted);
    expect(good).toContain('app: "on"');
    const read = parseAllDocuments(good);
    expect(Array.isArray(read) && read.map((one) => one.toJS().metadata.name)).toEqual(['x']);
    const forged = formatDocuments([{ from: ['a\nb: c\u2028d: e'], notes: ['f\rg'], document: { h: 1 } }]);
    expect(parse(forged)).toEqual({ h: 1 });
  });
});
