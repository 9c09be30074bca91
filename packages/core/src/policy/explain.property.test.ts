import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editByNearMiss } from '../../../../test/support/policy-edit.js';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePolicies } from './compile.js';
import { evaluatePolicies } from './evaluate.js';
import { explainPolicies } from './explain.js';
import { formatNearMiss } from './explain-sentence.js';
import type { AuthorizationPolicy, PolicyCondition, PolicyOperation, PolicyRule, PolicySource } from './resource.js';

const target = { namespace: 'shop', labels: {} };
const secret = 'SENTINEL';

const some = (...values: readonly string[]): fc.Arbitrary<string[]> => fc.subarray([...values], { minLength: 1 });
/** One to three fields, each with some of its values: more would never match. */
const fields = <T extends object>(shape: { readonly [K in keyof T]-?: fc.Arbitrary<unknown> }): fc.Arbitrary<T> =>
  fc
    .subarray(Object.keys(shape) as (keyof T)[], { minLength: 1, maxLength: 3 })
    .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, shape[name]])))) as unknown as fc.Arbitrary<T>;
const rarely = (values: fc.Arbitrary<string[]>): fc.Arbitrary<string[] | undefined> =>
  fc.option(values, { freq: 2, nil: undefined });

const principals = some('cluster.local/ns/shop/sa/a', 'td/ns/shop/sa/b', 'old/ns/bank/sa/*', '*/sa/c', '*');
const requestPrincipals = some('*', 'https://idp/jane', 'https://idp/*', '*/john', 'https:*');
const blocks = some('10.0.0.0/8', '10.0.0.1', '192.168.0.0/16', 'fd00::/8', 'no address');
const source = fields<PolicySource>({
  principals,
  notPrincipals: principals,
  requestPrincipals,
  notRequestPrincipals: requestPrincipals,
  namespaces: some('shop', 'b*', 'none'),
  notNamespaces: some('shop', 'b*'),
  serviceAccounts: some('a', 'bank/b', 'shop/c'),
  notServiceAccounts: some('a', 'bank/b'),
  trustDomains: some('td', 'old', 'x*'),
  notTrustDomains: some('td', 'x*'),
  ipBlocks: blocks,
  notIpBlocks: blocks,
  remoteIpBlocks: blocks,
  notRemoteIpBlocks: blocks,
});
const paths = some('/a', '/a/*', '*.css', '/{*}/x', '/{**}', '/A');
const operation = fields<PolicyOperation>({
  hosts: some('shop', 'shop:*', '*.bank', '*'),
  notHosts: some('shop', '*.bank'),
  ports: some('80', '8080', 'odd'),
  notPorts: some('80'),
  methods: some('GET', 'P*', '*'),
  notMethods: some('GET', 'PUT'),
  paths,
  notPaths: paths,
});
const keys = [
  'request.headers[x-role]',
  'request.headers[Cookie]',
  'request.headers[:path]',
  'request.auth.claims[role]',
  'request.auth.claims[deep][groups]',
  'request.auth.audiences',
  'request.auth.presenter',
  'request.auth.principal',
  'source.ip',
  'source.principal',
  'source.namespace',
  'destination.ip',
  'connection.sni',
  'source.unknown',
];
const condition: fc.Arbitrary<PolicyCondition> = fc
  .record({
    key: fc.constantFrom(...keys),
    values: rarely(some('admin', 'a*', '*', 'shop', '10.0.0.2', '/a', 'https://idp/jane')),
    notValues: rarely(some('admin', '*', 'shop', '10.0.0.0/8', '/a*')),
  })
  .filter(({ values, notValues }) => values !== undefined || notValues !== undefined) as fc.Arbitrary<PolicyCondition>;
const rule: fc.Arbitrary<PolicyRule> = fc.record({
  from: fc.array(fc.record({ source }), { maxLength: 3 }),
  to: fc.array(fc.record({ operation }), { maxLength: 3 }),
  when: fc.array(condition, { maxLength: 2 }),
});
const policies: fc.Arbitrary<AuthorizationPolicy[]> = fc
  .array(
    fc.record({
      action: fc.constantFrom('ALLOW', 'ALLOW', 'ALLOW', 'DENY', 'AUDIT' as const),
      namespace: fc.constantFrom('shop', 'istio-system', 'bank'),
      dryRun: fc.constantFrom('false', 'false', 'true'),
      rules: fc.array(rule, { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((made) =>
    made.map(({ action, namespace, dryRun, rules }, at) => ({
      meta: {
        kind: 'AuthorizationPolicy',
        namespace,
        name: `p${at}`,
        creationTimestamp: 0,
        labels: {},
        annotations: action === 'AUDIT' ? {} : { 'istio.io/dry-run': dryRun },
        source: { file: `p${at}.yaml`, line: 1, column: 1 },
      },
      spec: { action: action as 'ALLOW', rules },
    })),
  );

function peerOf(uri: string): PeerIdentity {
  const principal = uri.slice('spiffe://'.length);
  const [trustDomain, , namespace, , serviceAccount] = principal.split('/');
  return { uri, principal, trustDomain, namespace, serviceAccount } as PeerIdentity;
}
const peer = fc
  .constantFrom(
    'spiffe://td/ns/shop/sa/a',
    'spiffe://old/ns/bank/sa/b',
    'spiffe://cluster.local/ns/shop/sa/a',
    'spiffe://xy/workload',
  )
  .map(peerOf);
const user = fc
  .record({
    issuer: fc.constantFrom('https://idp', `https://${secret}`, undefined),
    subject: fc.constantFrom('jane', `${secret}-jane`, undefined),
    audiences: fc.constantFrom([], ['shop'], [secret, 'admin']),
    role: fc.constantFrom('admin', secret, 3, null, [secret, 'admin'], { x: secret }),
    groups: fc.constantFrom(['admin', secret], secret, undefined),
  })
  .map(({ issuer, subject, audiences, role, groups }) => {
    const claims = { iss: issuer, sub: subject, aud: audiences, role, deep: { groups } };
    return { issuer, subject, principal: `${issuer}/${subject}`, audiences, claims } as unknown as RequestIdentity;
  });
const attributes: fc.Arbitrary<RequestAttributes> = fc
  .record({
    method: fc.constantFrom('GET', 'PUT', 'PATCH', '*'),
    path: fc.constantFrom('/', '/a', '/a/x', '/a.css', '/b*', '/{x}', '/A/'),
    pathSpellings: fc.constantFrom([], ['/a']),
    pathIgnoresCase: fc.boolean(),
    host: fc.constantFrom('shop', 'shop:80', 'eu.bank', ''),
    sourceIp: fc.constantFrom('10.0.0.1', '192.168.1.1', 'fd00::1'),
    remoteIp: fc.constantFrom('10.0.0.1', '1.1.1.1'),
    destinationIp: fc.constant('10.0.0.2'),
    destinationPort: fc.constantFrom(80, 8080),
    sni: fc.constantFrom('', 'shop'),
    peer: fc.option(peer, { nil: undefined }),
    user: fc.option(user, { nil: undefined }),
    headers: fc.record(
      {
        'x-role': fc.constantFrom(['admin'], ['user', 'admin'], ['a, b'], ['*'], [''], [`eyJ${secret}`]),
        cookie: fc.constant([`session=${secret}`]),
      },
      { requiredKeys: [] },
    ),
  })
  .map(({ headers, ...rest }) => ({
    ...rest,
    header: (name: string) =>
      name === ':path' ? [`${rest.path}?token=${secret}`] : (headers as Record<string, string[] | undefined>)[name],
  }));
const mesh = fc.record({
  trustDomain: fc.constantFrom('cluster.local', 'td'),
  trustDomainAliases: fc.constantFrom([], ['old']),
  rootNamespace: fc.constant('istio-system'),
});
const worlds = fc.record({ policies, attributes, mesh });

function without(
  all: readonly AuthorizationPolicy[],
  place: { readonly policy: string; readonly rule: number },
): AuthorizationPolicy[] {
  return all.map(({ meta, spec }) => {
    if (`${meta.namespace}/${meta.name}` !== place.policy) return { meta, spec };
    return { meta, spec: { ...spec, rules: (spec.rules ?? []).filter((_, index) => index !== place.rule) } };
  });
}

describe('whatever policies and requests there are', () => {
  it('each near miss of a refusal is an edit after which the request is allowed', () => {
    let tried = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        const { decision, near } = explainPolicies({ ...world, target });
        if (decision.reason !== 'no-allow-matched') return;
        for (const miss of near) {
          expect(miss.failed.length).toBeGreaterThan(0);
          const after = evaluatePolicies(
            compilePolicies(editByNearMiss(world.policies, miss), target, world.mesh),
            world.attributes,
          );
          expect(after).toMatchObject({ allowed: true, reason: 'allow-matched' });
          tried += 1;
        }
      }),
      { numRuns: 1000 },
    );
    expect(tried).toBeGreaterThan(300);
  });

  it('a DENY hit turns with its decisive rule and the others that deny, and then with what was near', () => {
    let tried = 0;
    fc.assert(
      fc.property(worlds, (world) => {
        let { policies: left } = world;
        let explanation = explainPolicies({ ...world, target });
        if (explanation.decision.reason !== 'deny-matched') return;
        const { decisive, alsoDenying = [], near } = explanation;
        // The highest index first: taking a rule away moves those behind it.
        const denying = [decisive, ...alsoDenying].flatMap((place) => place ?? []).sort((a, b) => b.rule - a.rule);
        expect(denying.length).toBeGreaterThan(0);
        for (const place of denying) left = without(left, place);
        explanation = explainPolicies({ ...world, policies: left, target });
        if (alsoDenying.length < 5) expect(explanation.decision.reason).not.toBe('deny-matched');
        expect(explanation.decision.allowed || alsoDenying.length === 5 || near.length > 0 || !hasAllowRules(left)).toBe(true);
        if (alsoDenying.length < 5)
          for (const miss of near) expect(decide(editByNearMiss(left, miss), world)).toMatchObject({ allowed: true });
        tried += 1;
      }),
      { numRuns: 1500 },
    );
    expect(tried).toBeGreaterThan(50);
  });

  it('an explanation tells the same verdict as the evaluation, and nothing is near to what was allowed', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const { decision, near, decisive } = explainPolicies({ ...world, target });
        expect(decision).toEqual(decide(world.policies, world));
        expect(decisive?.policy).toBe(decision.policy);
        if (decision.allowed) expect(near).toEqual([]);
        const counts = near.map(({ failed }) => failed.length);
        expect(counts).toEqual([...counts].sort((a, b) => a - b));
      }),
      { numRuns: 600 },
    );
  });

  it('no token, secret header, query or claim value stands in an explanation or its sentences', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const explanation = explainPolicies({ ...world, target });
        const told = JSON.stringify(explanation) + explanation.near.map(formatNearMiss).join('');
        expect(told).not.toContain(secret);
      }),
      { numRuns: 600 },
    );
  });
});

function decide(
  all: readonly AuthorizationPolicy[],
  world: { readonly attributes: RequestAttributes; readonly mesh: Parameters<typeof compilePolicies>[2] },
): unknown {
  return evaluatePolicies(compilePolicies(all, target, world.mesh), world.attributes);
}

function hasAllowRules(all: readonly AuthorizationPolicy[]): boolean {
  return all.some(
    ({ meta, spec }) =>
      spec.action === 'ALLOW' &&
      meta.namespace !== 'bank' &&
      meta.annotations['istio.io/dry-run'] === 'false' &&
      (spec.rules ?? []).length > 0,
  );
}
