import { describe, expect, it } from 'vitest';
import type { PeerIdentity } from '../identity/caller.js';
import type { RequestAttributes } from '../request/attributes.js';
import { explainPolicies, type Explanation } from './explain.js';
import { formatNearMiss } from './explain-sentence.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec, PolicyRule } from './resource.js';

const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };
const target = { namespace: 'shop', labels: {} };

function policy(name: string, spec: AuthorizationPolicySpec): AuthorizationPolicy {
  const source = { file: `${name}.yaml`, line: 7, column: 3 };
  const meta = { kind: 'AuthorizationPolicy', namespace: 'shop', name, creationTimestamp: 0, labels: {}, annotations: {} };
  return { meta: { ...meta, source }, spec };
}

function peer(serviceAccount: string, namespace = 'shop'): PeerIdentity {
  const principal = `cluster.local/ns/${namespace}/sa/${serviceAccount}`;
  return { uri: `spiffe://${principal}`, principal, trustDomain: 'cluster.local', namespace, serviceAccount } as PeerIdentity;
}

function request(over: Partial<RequestAttributes> = {}): RequestAttributes {
  return {
    method: 'GET',
    path: '/products',
    pathSpellings: [],
    pathIgnoresCase: false,
    host: 'product.shop',
    sourceIp: '10.0.0.1',
    remoteIp: '10.0.0.9',
    destinationIp: '10.0.0.2',
    destinationPort: 8080,
    sni: '',
    peer: peer('visitor'),
    user: undefined,
    header: () => undefined,
    ...over,
  };
}

const explain = (policies: readonly AuthorizationPolicy[], over?: Partial<RequestAttributes>, maxValues?: number): Explanation =>
  explainPolicies({ policies, target, mesh, attributes: request(over), ...(maxValues !== undefined && { maxValues }) });
const callers = (...principals: readonly string[]): PolicyRule => ({
  from: [{ source: { principals: principals.map((name) => `cluster.local/ns/shop/sa/${name}`) } }],
});
const withHeaders = (headers: Readonly<Record<string, readonly string[]>>): Partial<RequestAttributes> => ({
  header: (name) => headers[name],
});
const when = (key: string, values: readonly string[]): AuthorizationPolicy[] => [
  policy('p', { rules: [{ when: [{ key, values }] }] }),
];
const notWhen = (key: string, notValues: readonly string[]): AuthorizationPolicy[] => [
  policy('p', { rules: [{ when: [{ key, notValues }] }] }),
];

describe('the decisive rule', () => {
  it('is named with the place of its document when a DENY rule denies', () => {
    const policies = [
      policy('open', { rules: [{}] }),
      policy('walls', { action: 'DENY', rules: [callers('other'), callers('visitor')] }),
    ];
    expect(explain(policies)).toEqual({
      decision: { allowed: false, reason: 'deny-matched', policy: 'shop/walls', rule: 1 },
      decisive: { policy: 'shop/walls', rule: 1, source: { file: 'walls.yaml', line: 7, column: 3 } },
      near: [],
    });
  });

  it('is named with its own place where that is known, and so is what came close', () => {
    const { meta, spec } = policy('p', { rules: [callers('a'), callers('b')] });
    const known = {
      spec,
      meta: {
        ...meta,
        ruleStarts: [
          { line: 9, column: 5 },
          { line: 12, column: 5 },
        ],
      },
    };
    expect(explain([known]).near.map(({ rule, source }) => [rule, source])).toEqual([
      [0, { file: 'p.yaml', line: 9, column: 5 }],
      [1, { file: 'p.yaml', line: 12, column: 5 }],
    ]);
    const wall = { spec: { ...spec, action: 'DENY' as const, rules: [callers('x'), {}] }, meta: known.meta };
    expect(explain([wall]).decisive?.source).toEqual({ file: 'p.yaml', line: 12, column: 5 });
  });

  it('is named when an ALLOW rule allows, and nothing was near', () => {
    const explanation = explain([policy('open', { rules: [callers('visitor')] })]);
    expect(explanation).toMatchObject({ decision: { allowed: true }, decisive: { policy: 'shop/open', rule: 0 }, near: [] });
  });

  it('has the other DENY rules that match beside it, and the ALLOW rules that would still miss', () => {
    const walls = Array.from({ length: 8 }, (_, at) => policy(`wall-${at}`, { action: 'DENY', rules: [{}] }));
    const explanation = explain([...walls, policy('gate', { rules: [callers('gateway')] })]);
    expect(explanation.decisive?.policy).toBe('shop/wall-0');
    expect(explanation.alsoDenying?.map((rule) => rule.policy)).toEqual([1, 2, 3, 4, 5].map((at) => `shop/wall-${at}`));
    expect(explanation.near.map((miss) => miss.policy)).toEqual(['shop/gate']);
  });

  it('is absent where no policy selects the workload, and where deciding failed', () => {
    expect(explain([])).toEqual({ decision: { allowed: true, reason: 'no-policy' }, near: [] });
    const failing = request();
    Object.defineProperty(failing, 'path', { get: () => fail('no path') });
    const policies = [policy('p', { rules: [{ to: [{ operation: { paths: ['/x'] } }] }] })];
    expect(explainPolicies({ policies, target, mesh, attributes: failing })).toEqual({
      decision: { allowed: false, reason: 'evaluation-failed' },
      near: [],
    });
  });
});

function fail(message: string): never {
  throw new Error(message);
}

describe('a near miss', () => {
  it('names the field, what it wants and what the request has', () => {
    const [miss] = explain([policy('product-callers', { rules: [callers('gateway')] })]).near;
    expect(miss).toEqual({
      policy: 'shop/product-callers',
      rule: 0,
      source: { file: 'product-callers.yaml', line: 7, column: 3 },
      failed: [
        {
          path: 'spec.rules[0].from[0].source.principals',
          name: 'source.principals',
          expected: ['cluster.local/ns/shop/sa/gateway'],
          actual: 'cluster.local/ns/shop/sa/visitor',
          literal: true,
        },
      ],
    });
    expect(miss && formatNearMiss(miss)).toBe(
      'shop/product-callers rule 0: source.principals is cluster.local/ns/shop/sa/visitor, wants cluster.local/ns/shop/sa/gateway',
    );
  });

  it('takes of from and of to the alternative that fails in the fewest fields', () => {
    const rule: PolicyRule = {
      from: [
        { source: { namespaces: ['bank'], ipBlocks: ['192.168.0.0/16'] } },
        { source: { namespaces: ['shop'], notRemoteIpBlocks: ['10.0.0.0/8'] } },
      ],
      to: [{ operation: { methods: ['POST'], ports: ['1'], hosts: ['a'] } }, { operation: { paths: ['/x'], methods: ['GET'] } }],
    };
    const [miss] = explain([policy('p', { rules: [rule] })]).near;
    expect(miss?.failed.map(({ path, expected, actual }) => [path, expected, actual])).toEqual([
      ['spec.rules[0].from[1].source.notRemoteIpBlocks', ['not 10.0.0.0/8'], '10.0.0.9'],
      ['spec.rules[0].to[1].operation.paths', ['/x'], '/products'],
    ]);
  });

  it('comes before those that fail in more fields, and at most five come', () => {
    const far = policy('a-far', { rules: [{ ...callers('x'), to: [{ operation: { methods: ['PUT'], paths: ['/y'] } }] }] });
    const close = Array.from({ length: 3 }, (_, at) => policy(`b-${at}`, { rules: [callers('x'), callers('y')] }));
    const { near } = explain([far, ...close]);
    expect(near.map(({ policy: name, rule }) => `${name} ${rule}`)).toEqual([
      'shop/b-0 0',
      'shop/b-0 1',
      'shop/b-1 0',
      'shop/b-1 1',
      'shop/b-2 0',
    ]);
    expect(explain([far, ...close.slice(0, 2)]).near.at(-1)?.policy).toBe('shop/a-far');
  });

  it('is looked for among ALLOW rules in force only', () => {
    const rehearsed = policy('c', { rules: [callers('x')] });
    const annotated = { ...rehearsed, meta: { ...rehearsed.meta, annotations: { 'istio.io/dry-run': 'true' } } };
    const elsewhere = policy('d', { selector: { matchLabels: { app: 'other' } }, rules: [callers('x')] });
    const audit = policy('e', { action: 'AUDIT', rules: [callers('x')] });
    const { near } = explain([policy('a', { rules: [callers('x')] }), annotated, elsewhere, audit]);
    expect(near.map((miss) => miss.policy)).toEqual(['shop/a']);
  });

  it('says what asks for nothing', () => {
    const [miss] = explain([policy('p', { rules: [{ from: [{ source: {} }], when: [{ key: 'source.ip' }] }] })]).near;
    expect(miss && formatNearMiss(miss)).toBe(
      'shop/p rule 0: source asks for nothing, which no request satisfies; source.ip asks for nothing, which no request satisfies',
    );
  });

  it.each([
    ['an absent peer', [policy('p', { rules: [callers('a')] })], { peer: undefined }, 'source.principals is absent, wants'],
    ['an empty SNI', when('connection.sni', ['a.b']), {}, 'connection.sni is empty, wants a.b'],
    ['a port', when('destination.port', ['80', '81', '82', '83', '84']), {}, 'is 8080, wants 80 or 81 or 82 or 2 others'],
    ['a value that may not be', notWhen('source.namespace', ['shop', 'bank']), {}, 'is shop, wants not shop and not bank'],
    ['what cannot be judged', when('source.ip', ['nowhere']), {}, 'source.ip is 10.0.0.1, wants nowhere'],
  ])('says in one sentence %s', (_, policies, over, text) => {
    expect(explain(policies, over).near.map(formatNearMiss)[0]).toContain(text);
  });

  it('stays short and printable whatever is asked and sent', () => {
    const long = '\u001b[2J\n'.repeat(10_000);
    const rule: PolicyRule = {
      ...callers(long),
      to: [{ operation: { paths: [long], methods: [long], hosts: [long], ports: ['1'] } }],
      when: [{ key: 'request.headers[x-a]', values: [long, long, long, long, long] }],
    };
    const { near } = explain([policy('p', { rules: [rule] })], {
      path: long,
      method: long,
      host: long,
      ...withHeaders({ 'x-a': [long] }),
    });
    const sentence = near.map(formatNearMiss)[0] ?? '';
    expect(sentence).toMatch(/^[\x20-\x7e]+$/);
    expect(sentence.length).toBeLessThan(4000);
    for (const { actual } of near[0]?.failed ?? []) expect(actual?.length ?? 0).toBeLessThan(1500);
  });

  it('offers its actual value for the field only where that would be no pattern and would match', () => {
    const literal = (over: Partial<RequestAttributes>, ...policies: AuthorizationPolicy[]): unknown =>
      explain(policies, over).near[0]?.failed[0]?.literal;
    const paths = policy('p', { rules: [{ to: [{ operation: { paths: ['/x'] } }] }] });
    expect(literal({ path: '/y' }, paths)).toBe(true);
    expect(literal({ path: '/y*' }, paths)).toBe(false);
    expect(literal({ path: '/{*}' }, paths)).toBe(false);
    expect(literal({ path: `/${'y'.repeat(500)}` }, paths)).toBe(false);
    // `cluster.local` in a policy always means the mesh's own trust domain.
    const foreign = { policies: [policy('p', { rules: [callers('a')] })], target, mesh: { ...mesh, trustDomain: 'td' } };
    expect(explainPolicies({ ...foreign, attributes: request() }).near[0]?.failed[0]?.literal).toBe(false);
  });
});

describe('the bound on the work', () => {
  const many = policy('p', {
    rules: [
      ...Array.from({ length: 100 }, (_, at) => callers(`a-${at}`)),
      { ...callers('visitor'), when: [{ key: 'source.ip', values: ['1.1.1.1'] }] },
    ],
  });

  it('looks at the rules that name the caller first, and says how many it left out', () => {
    const { near, omitted } = explain([many], {}, 20);
    expect(near.map(({ rule }) => rule)).toEqual([100, 0, 10, 11, 12]);
    expect(omitted).toBe(101 - 9);
  });

  it('passes over a rule that is larger than all of it', () => {
    const huge = policy('huge', { rules: [callers(...Array.from({ length: 1000 }, (_, at) => `a-${at}`))] });
    const { near, omitted } = explain([huge, policy('p', { rules: [callers('x')] })], {}, 20);
    expect(near.map((miss) => miss.policy)).toEqual(['shop/p']);
    expect(omitted).toBe(1);
  });

  it('is not there unless asked for', () => {
    expect(explain([many])).not.toHaveProperty('omitted');
  });
});
