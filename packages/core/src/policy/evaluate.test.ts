import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePolicies } from './compile.js';
import type { Decision } from './decision.js';
import { evaluatePolicies } from './evaluate.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec, PolicyAction, PolicyRule } from './resource.js';

const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };
const target = { namespace: 'shop', labels: { app: 'product' } };

function policy(
  name: string,
  spec: AuthorizationPolicySpec,
  more: { namespace?: string; dryRun?: string } = {},
): AuthorizationPolicy {
  const annotations: Record<string, string> = more.dryRun === undefined ? {} : { 'istio.io/dry-run': more.dryRun };
  const meta = {
    kind: 'AuthorizationPolicy',
    namespace: more.namespace ?? 'shop',
    name,
    creationTimestamp: 0,
    labels: {},
    annotations,
  };
  return { meta: { ...meta, source: { file: `${name}.yaml`, line: 1, column: 1 } }, spec };
}

function request(over: Partial<RequestAttributes> = {}): RequestAttributes {
  return {
    method: 'GET',
    path: '/',
    pathSpellings: [],
    pathIgnoresCase: false,
    host: 'product.shop',
    sourceIp: '10.0.0.1',
    remoteIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 8080,
    sni: '',
    peer: undefined,
    user: undefined,
    header: () => undefined,
    ...over,
  };
}

const compile = (...policies: readonly AuthorizationPolicy[]): ReturnType<typeof compilePolicies> =>
  compilePolicies(policies, target, mesh);
const decide = (policies: readonly AuthorizationPolicy[], over?: Partial<RequestAttributes>): unknown =>
  evaluatePolicies(compile(...policies), request(over));

const everything: readonly PolicyRule[] = [{}];
const paths = (...values: readonly string[]): readonly PolicyRule[] =>
  values.map((value) => ({ to: [{ operation: { paths: [value] } }] }));

describe('the decision', () => {
  it('allows where no policy selects the workload', () => {
    expect(decide([])).toEqual({ allowed: true, reason: 'no-policy' });
  });

  it('needs an ALLOW rule as soon as one ALLOW policy selects the workload', () => {
    const policies = [policy('a', { rules: paths('/x', '/') })];
    expect(decide(policies)).toEqual({ allowed: true, reason: 'allow-matched', policy: 'shop/a', rule: 1 });
    expect(decide(policies, { path: '/y' })).toEqual({ allowed: false, reason: 'no-allow-matched' });
  });

  it('is DENY before ALLOW', () => {
    const policies = [
      policy('a', { action: 'ALLOW', rules: everything }),
      policy('d', { action: 'DENY', rules: paths('/admin*') }),
    ];
    expect(decide(policies, { path: '/admin/x' })).toEqual({ allowed: false, reason: 'deny-matched', policy: 'shop/d', rule: 0 });
    expect(decide(policies)).toMatchObject({ allowed: true, policy: 'shop/a' });
  });

  it('denies whatever an unknown policy matches, should one come this far', () => {
    const action = 'PERHAPS' as PolicyAction;
    const policies = [policy('c', { action, rules: paths('/admin') }, { dryRun: 'true' }), policy('a', { rules: everything })];
    expect(decide(policies, { path: '/admin' })).toMatchObject({ allowed: false, policy: 'shop/c' });
    expect(decide(policies)).toMatchObject({ allowed: true });
  });

  it('denies when an attribute throws', () => {
    const failing = request();
    Object.defineProperty(failing, 'path', {
      get: () => {
        throw new Error('no path');
      },
    });
    expect(evaluatePolicies(compile(policy('d', { action: 'DENY', rules: paths('/admin') })), failing)).toEqual({
      allowed: false,
      reason: 'evaluation-failed',
    });
  });

  it('is one frozen object per rule', () => {
    const set = compile(policy('a', { rules: everything }), policy('log', { action: 'AUDIT', rules: everything }));
    const decision = evaluatePolicies(set, request());
    expect(Object.isFrozen(decision)).toBe(true);
    expect(evaluatePolicies(set, request())).toBe(decision);
  });
});

describe('empty forms', () => {
  it.each<readonly [string, AuthorizationPolicySpec, boolean]>([
    ['ALLOW without rules allows nothing', {}, false],
    ['ALLOW with an empty list of rules allows nothing', { rules: [] }, false],
    ['ALLOW with an empty rule allows everything', { rules: [{}] }, true],
    ['ALLOW with empty lists in a rule allows everything', { rules: [{ from: [], to: [], when: [] }] }, true],
    ['DENY without rules denies nothing', { action: 'DENY' }, true],
    ['DENY with an empty rule denies everything', { action: 'DENY', rules: [{}] }, false],
    ['ALLOW with an empty source allows nothing', { rules: [{ from: [{ source: {} }] }] }, false],
    ['DENY with an empty operation denies everything', { action: 'DENY', rules: [{ to: [{ operation: {} }] }] }, false],
    ['ALLOW with a condition without values allows nothing', { rules: [{ when: [{ key: 'source.ip' }] }] }, false],
    [
      'ALLOW with a key that cannot be judged allows nothing',
      { rules: [{ when: [{ key: 'source.user', notValues: ['x'] }] }] },
      false,
    ],
    [
      'DENY with a key that cannot be judged denies',
      { action: 'DENY', rules: [{ when: [{ key: 'source.user', values: ['x'] }] }] },
      false,
    ],
    ['DENY with a bad address denies', { action: 'DENY', rules: [{ from: [{ source: { notIpBlocks: ['10.0.0'] } }] }] }, false],
  ])('%s', (_title, spec, allowed) => {
    expect(decide([policy('p', spec)])).toMatchObject({ allowed });
  });
});

describe('a rule', () => {
  const gateway = { uri: 'spiffe://cluster.local/ns/shop/sa/gateway' } as RequestAttributes['peer'];
  const rule: PolicyRule = {
    from: [{ source: { namespaces: ['shop'], notPrincipals: ['*/sa/intern'] } }, { source: { ipBlocks: ['10.9.0.0/16'] } }],
    to: [
      { operation: { methods: ['GET', 'HEAD'], paths: ['/a*'], notPaths: ['/a/secret'] } },
      { operation: { methods: ['POST'] } },
    ],
    when: [
      { key: 'destination.port', values: ['8080', '8081'] },
      { key: 'request.headers[x-stop]', notValues: ['*'] },
    ],
  };

  it.each<readonly [string, Partial<RequestAttributes>, boolean]>([
    ['all parts hold', { peer: gateway, path: '/a' }, true],
    ['another operation holds', { peer: gateway, method: 'POST', path: '/z' }, true],
    ['another source holds', { sourceIp: '10.9.1.1', path: '/a' }, true],
    ['no source holds', { path: '/a' }, false],
    [
      'a negative field of the source fails',
      { peer: { uri: 'spiffe://cluster.local/ns/shop/sa/intern' } as never, path: '/a' },
      false,
    ],
    ['one field of the operation fails', { peer: gateway, path: '/b' }, false],
    ['a negative field of the operation fails', { peer: gateway, path: '/a/secret' }, false],
    ['a condition fails', { peer: gateway, path: '/a', destinationPort: 80 }, false],
    ['a negative condition fails', { peer: gateway, path: '/a', header: () => [''] }, false],
  ])('of ALLOW decides when %s', (_title, over, allowed) => {
    expect(decide([policy('r', { rules: [rule] })], over)).toMatchObject({ allowed });
  });

  it.each<readonly [string, PolicyRule]>([
    ['notPrincipals', { from: [{ source: { notPrincipals: ['*'] } }] }],
    ['notNamespaces', { from: [{ source: { notNamespaces: ['shop'] } }] }],
    ['notRequestPrincipals', { from: [{ source: { notRequestPrincipals: ['*'] } }] }],
    ['notServiceAccounts', { from: [{ source: { notServiceAccounts: ['shop/x'] } }] }],
    ['notTrustDomains', { from: [{ source: { notTrustDomains: ['*'] } }] }],
    ['notValues of a claim', { when: [{ key: 'request.auth.claims[group]', notValues: ['*'] }] }],
  ])('with %s matches an anonymous request', (_field, anonymous) => {
    expect(decide([policy('d', { action: 'DENY', rules: [anonymous] })])).toMatchObject({ allowed: false });
  });

  it('needs both the values and the notValues of a field', () => {
    const policies = [policy('a', { rules: [{ to: [{ operation: { hosts: ['*.shop'], notHosts: ['stock.*'] } }] }] })];
    expect(
      ['product.shop', 'stock.shop', 'product.pay'].map((host) => (decide(policies, { host }) as { allowed: boolean }).allowed),
    ).toEqual([true, false, false]);
  });
});

describe('the spellings of a route', () => {
  const spelled = { path: '/admin/', pathSpellings: ['/admin'], pathIgnoresCase: true };

  it.each<readonly [string, AuthorizationPolicySpec, boolean]>([
    ['positive paths of DENY match any', { action: 'DENY', rules: [{ to: [{ operation: { paths: ['/ADMIN'] } }] }] }, false],
    [
      'negative paths of DENY match the path alone',
      { action: 'DENY', rules: [{ to: [{ operation: { notPaths: ['/admin'] } }] }] },
      false,
    ],
    [
      'positive paths of ALLOW match the path alone',
      { rules: [{ to: [{ operation: { paths: ['/admin', '/Admin/'] } }] }] },
      false,
    ],
    ['negative paths of ALLOW match any', { rules: [{ to: [{ operation: { notPaths: ['/admin'] } }] }] }, false],
    ['the path itself is allowed', { rules: [{ to: [{ operation: { paths: ['/admin/'] } }] }] }, true],
  ])('%s', (_title, spec, allowed) => {
    expect(decide([policy('p', spec)], spelled)).toMatchObject({ allowed });
  });

  it('count for AUDIT as for DENY', () => {
    expect(decide([policy('l', { action: 'AUDIT', rules: paths('/admin') })], spelled)).toMatchObject({ audit: true });
  });
});

describe('what stands beside the decision', () => {
  it('AUDIT reads hosts and header lines as Istio does: port and list stay part of the value', () => {
    const hosts = policy('h', { action: 'AUDIT', rules: [{ to: [{ operation: { hosts: ['product.shop'] } }] }] });
    const items = policy('i', { action: 'AUDIT', rules: [{ when: [{ key: 'request.headers[x]', values: ['a'] }] }] });
    const header = (): readonly string[] => ['a,b'];
    expect(decide([hosts], { host: 'product.shop:8080' })).toMatchObject({ audit: false });
    expect(decide([hosts], { host: 'product.shop' })).toMatchObject({ audit: true });
    expect(decide([items], { header })).toMatchObject({ audit: false });
  });

  it('AUDIT is recorded and never decides, also when another policy denies', () => {
    const audit = policy('log', { action: 'AUDIT', rules: paths('/a') });
    const auditedBy = { policy: 'shop/log', rule: 0 };
    expect(decide([audit], { path: '/a' })).toEqual({ allowed: true, reason: 'no-policy', audit: true, auditedBy });
    expect(decide([audit], { path: '/b' })).toEqual({ allowed: true, reason: 'no-policy', audit: false });
    expect(decide([audit, policy('d', { action: 'DENY', rules: everything })], { path: '/a' })).toMatchObject({
      allowed: false,
      audit: true,
      auditedBy,
    });
  });

  it('AUDIT names the first rule that matches in the order of Istio, each request its own', () => {
    const policies = [
      policy('z', { action: 'AUDIT', rules: paths('/a', '/b', '/c') }),
      policy('m', { action: 'AUDIT', rules: [...paths('/x'), ...paths('/b')] }),
    ];
    const audited = ['/a', '/b', '/x', '/b', '/none'].map((path) => (decide(policies, { path }) as Decision).auditedBy);
    const [z, first, second] = [
      { policy: 'shop/z', rule: 0 },
      { policy: 'shop/m', rule: 0 },
      { policy: 'shop/m', rule: 1 },
    ];
    expect(audited).toEqual([z, second, first, second, undefined]);
  });

  it('dry-run policies say what they would have done and count for nothing', () => {
    const policies = [
      policy('a', { rules: paths('/a') }, { dryRun: 'true' }),
      policy('d', { action: 'DENY', rules: paths('/x', '/d') }, { dryRun: 'T' }),
    ];
    const allow = { result: 'allowed', policy: 'shop/a', rule: 0 };
    expect(decide(policies, { path: '/a' })).toEqual({
      allowed: true,
      reason: 'no-policy',
      dryRun: { allow, deny: { result: 'allowed' } },
    });
    const deny = { result: 'denied', policy: 'shop/d', rule: 1 };
    expect(decide(policies, { path: '/d' })).toEqual({
      allowed: true,
      reason: 'no-policy',
      dryRun: { allow: { result: 'denied' }, deny },
    });
  });

  it('the dry-run result of ALLOW is missing when a DENY policy decided before', () => {
    const policies = [policy('a', { rules: everything }, { dryRun: '1' }), policy('d', { action: 'DENY', rules: everything })];
    expect(decide(policies)).toEqual({ allowed: false, reason: 'deny-matched', policy: 'shop/d', rule: 0 });
  });

  it.each(['false', 'yes', '', 'TrUe', '2'])('the annotation %j does not make a dry run', (dryRun) => {
    expect(decide([policy('d', { action: 'DENY', rules: everything }, { dryRun })])).toMatchObject({ allowed: false });
  });
});

describe('selection', () => {
  const denyAll: AuthorizationPolicySpec = { action: 'DENY', rules: everything };
  it.each<readonly [string, AuthorizationPolicy, boolean]>([
    ['its namespace', policy('d', denyAll), true],
    ['the root namespace', policy('d', denyAll, { namespace: 'istio-system' }), true],
    [
      'the root namespace with its labels',
      policy('d', { ...denyAll, selector: { matchLabels: { app: 'product' } } }, { namespace: 'istio-system' }),
      true,
    ],
    ['another namespace', policy('d', denyAll, { namespace: 'pay' }), false],
    ['its labels', policy('d', { ...denyAll, selector: { matchLabels: { app: 'product' } } }), true],
    ['other labels', policy('d', { ...denyAll, selector: { matchLabels: { app: 'stock' } } }), false],
    ['a targetRef', policy('d', { ...denyAll, targetRef: { kind: 'Gateway', name: 'g' } }), false],
    ['targetRefs', policy('d', { ...denyAll, targetRefs: [{ kind: 'Service', name: 's' }] }), false],
    ['an empty list of targetRefs', policy('d', { ...denyAll, targetRefs: [] }), true],
  ])('of a policy for %s', (_title, candidate, applies) => {
    expect(decide([candidate])).toMatchObject({ allowed: !applies });
  });
});

describe('the reported rule', () => {
  it("is the first in Istio's order of rule ids", () => {
    const many = Array.from({ length: 11 }, (): PolicyRule => ({}));
    const skipFirst = [
      { to: [{ operation: { paths: ['/none'] } }] },
      { to: [{ operation: { paths: ['/none'] } }] },
      ...many.slice(2),
    ];
    expect(decide([policy('d', { action: 'DENY', rules: skipFirst })])).toMatchObject({ rule: 10 });
    const inRoot = policy('z', { action: 'DENY', rules: everything }, { namespace: 'istio-system' });
    expect(decide([policy('a', { action: 'DENY', rules: everything }), inRoot])).toMatchObject({ policy: 'istio-system/z' });
  });
});
