import { describe, expect, it } from 'vitest';
import { formatProblem } from './problem.js';
import { validateDocuments } from './validate.js';
import { warnForWorkload } from './workload-doubts.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product', version: 'v1' } };

const document = (kind: string, name: string, spec: unknown, namespace = 'shop'): string =>
  JSON.stringify({ apiVersion: 'security.istio.io/v1', kind, metadata: { name, namespace }, spec });

const modes = (mode: string, ports: Record<string, string> = {}): string =>
  document('PeerAuthentication', 'modes', {
    selector: { matchLabels: { app: 'product' } },
    mtls: { mode },
    ...(Object.keys(ports).length > 0 && {
      portLevelMtls: Object.fromEntries(Object.entries(ports).map(([port, one]) => [port, { mode: one }])),
    }),
  });

const policy = (rule: object, action = 'ALLOW', selector: object | undefined = { matchLabels: { app: 'product' } }): string =>
  document('AuthorizationPolicy', 'p', { ...(selector && { selector }), action, rules: [rule] });

const entry = (kind: string, spec: object, labels: Record<string, string> = {}): string =>
  JSON.stringify({ apiVersion: 'networking.istio.io/v1', kind, metadata: { name: 'e', namespace: 'shop', labels }, spec });

function doubts(documents: readonly string[], ports?: readonly number[]): string[] {
  const { resources, problems } = validateDocuments([{ name: 'm.yaml', text: documents.join('\n---\n') }]);
  expect(problems.filter(({ level }) => level === 'error')).toEqual([]);
  return warnForWorkload(resources!, workload, { ports }).map(formatProblem);
}

describe('a selector', () => {
  const selecting = (labels: Record<string, string>, namespace = 'shop'): string =>
    document('AuthorizationPolicy', 'p', { selector: { matchLabels: labels }, rules: [{}] }, namespace);

  it.each([
    ['another app', selecting({ app: 'produkt' })],
    ['another version of this app', selecting({ app: 'product', version: 'v2' })],
    ['a label that this workload has not, from the root namespace', selecting({ tier: 'web' }, 'istio-system')],
    ['another app, in a PeerAuthentication', document('PeerAuthentication', 'p', { selector: { matchLabels: { app: 'x' } } })],
    [
      'another app, in a RequestAuthentication',
      document('RequestAuthentication', 'p', { selector: { matchLabels: { app: 'x' } } }),
    ],
  ])('that names %s, which nobody is known to be, is doubted at its document', (_, text) => {
    expect(doubts([document('PeerAuthentication', 'all', { mtls: { mode: 'STRICT' } }), text])).toEqual([
      'm.yaml:3:1 spec.selector.matchLabels: selects no workload that is known here: this one has "app=product, version=v1" (compare keys and values letter by letter)',
    ]);
  });

  it.each([
    ['another service, which only shares the directory', { app: 'gateway' }, []],
    ['another version', { app: 'product', version: 'v2' }, []],
    ['a misspelt value', { app: 'produkt' }, ['m.yaml:3:1']],
    ['a misspelt key', { App: 'product' }, ['m.yaml:3:1']],
  ])('that names %s, beside one that selects this workload, is doubted only where it is all but its own', (_, labels, places) => {
    const found = doubts([modes('STRICT'), selecting(labels), selecting({ app: 'product' }).replace('"p"', '"q"')]);
    expect(found.map((line) => line.split(' ')[0])).toEqual(places);
  });

  it('that selects nobody is always doubted where all workloads are known', () => {
    const documents = [modes('STRICT'), selecting({ app: 'gateway' }), selecting({ app: 'product' }).replace('"p"', '"q"')];
    const { resources } = validateDocuments([{ name: 'm.yaml', text: documents.join('\n---\n') }]);
    const other = (app: string): typeof workload => ({ ...workload, serviceAccount: app, labels: { app, version: 'v1' } });
    expect(warnForWorkload(resources!, workload)).toEqual([]);
    expect(warnForWorkload(resources!, workload, { others: [] })).toHaveLength(1);
    expect(warnForWorkload(resources!, workload, { others: [other('stock')] })).toHaveLength(1);
    expect(warnForWorkload(resources!, workload, { others: [other('stock'), other('gateway')] })).toEqual([]);
  });

  it.each([
    ['this workload', selecting({ app: 'product' }), []],
    ['this workload, from the root namespace', selecting({ version: 'v1' }, 'istio-system'), []],
    ['a workload of another namespace, of which nothing is said here', selecting({ app: 'x' }, 'elsewhere'), []],
    [
      'a WorkloadEntry by its own labels',
      selecting({ app: 'cart' }),
      [entry('WorkloadEntry', { address: '10.0.0.1', labels: { app: 'cart' } })],
    ],
    [
      'a WorkloadEntry by its metadata',
      selecting({ app: 'cart' }),
      [entry('WorkloadEntry', { address: '10.0.0.1' }, { app: 'cart' })],
    ],
    [
      'what a ServiceEntry selects, with a label more',
      selecting({ app: 'cart', version: 'v7' }),
      [
        entry('ServiceEntry', {
          hosts: ['cart.shop'],
          ports: [{ number: 80, name: 'http' }],
          resolution: 'STATIC',
          workloadSelector: { labels: { app: 'cart' } },
        }),
      ],
    ],
  ])('that selects %s is not', (_, text, others) => {
    expect(doubts([text, ...others])).toEqual([]);
  });
});

describe('a field that only mutual TLS can answer', () => {
  const from = (source: object): object => ({ from: [{ source }] });
  const strict = ['principals', 'namespaces', 'serviceAccounts', 'trustDomains'];

  it.each(strict)('%s of a DENY is doubted where callers may come in the clear', (field) => {
    expect(doubts([modes('PERMISSIVE'), policy(from({ [field]: ['x'] }), 'DENY')])).toEqual([
      `m.yaml:3:1 spec.rules[0].from[0].source.${field}: does not deny callers in the clear, who have no identity: every port is PERMISSIVE (shop/modes) (make the port STRICT)`,
    ]);
  });

  it.each(['notPrincipals', 'notNamespaces', 'notServiceAccounts', 'notTrustDomains'])(
    '%s of an ALLOW is doubted where callers may come in the clear',
    (field) => {
      expect(doubts([policy(from({ [field]: ['x'] }))])).toEqual([
        `m.yaml:1:1 spec.rules[0].from[0].source.${field}: also holds for callers in the clear, who have no identity: every port is PERMISSIVE (Istio's default) (make the port STRICT)`,
      ]);
    },
  );

  it.each([
    ['source.principal', 'values', 'DENY'],
    ['source.namespace', 'values', 'DENY'],
    ['source.serviceAccount', 'notValues', 'ALLOW'],
    ['source.trustDomain', 'notValues', 'ALLOW'],
  ])('key %s with %s of a condition of %s is doubted likewise', (key, field, action) => {
    const [doubt, ...others] = doubts([policy({ when: [{ key, [field]: ['x'] }] }, action)]);
    expect(doubt).toContain(`spec.rules[0].when[0].${field}: `);
    expect(others).toEqual([]);
  });

  it('is doubted in an ALLOW where nothing but plaintext is spoken', () => {
    expect(doubts([modes('STRICT', { 8080: 'DISABLE' }), policy(from({ principals: ['x'] }))], [8080, 8081])).toEqual([
      'm.yaml:3:1 spec.rules[0].from[0].source.principals: never matches in the clear, and nothing else is spoken: port 8080 is DISABLE (shop/modes) (make the port STRICT)',
    ]);
  });

  it('names the open ports that are listened on, and no others', () => {
    const documents = [modes('PERMISSIVE', { 9090: 'STRICT', 7070: 'DISABLE' }), policy(from({ principals: ['x'] }), 'DENY')];
    const [doubt] = doubts(documents, [7070, 8080, 9090]);
    expect(doubt).toContain('port 7070 is DISABLE (shop/modes), port 8080 is PERMISSIVE (shop/modes)');
    expect(doubt).not.toContain('9090');
  });

  it.each([
    ['every port is STRICT', [modes('STRICT'), policy(from({ principals: ['x'] }), 'DENY')], undefined],
    [
      'only STRICT ports are listened on',
      [modes('PERMISSIVE', { 8080: 'STRICT' }), policy(from({ principals: ['x'] }), 'DENY')],
      [8080],
    ],
    [
      'the ports that are listened on may all be STRICT',
      [modes('PERMISSIVE', { 8080: 'STRICT' }), policy(from({ principals: ['x'] }), 'DENY')],
      undefined,
    ],
    [
      'the rule is for STRICT ports',
      [
        modes('PERMISSIVE', { 8080: 'STRICT' }),
        policy({ ...from({ principals: ['x'] }), to: [{ operation: { ports: ['8080'] } }] }, 'DENY'),
      ],
      undefined,
    ],
    ['an ALLOW asks for an identity, which callers in the clear have not', [policy(from({ principals: ['x'] }))], undefined],
    ['an ALLOW asks for one besides', [policy(from({ namespaces: ['x'], notPrincipals: ['y'] }))], undefined],
    [
      'an ALLOW asks for one in a condition',
      [policy({ ...from({ notPrincipals: ['y'] }), when: [{ key: 'source.namespace', values: ['x'] }] })],
      undefined,
    ],
    ['a DENY refuses whoever has none', [policy(from({ notPrincipals: ['*'] }), 'DENY')], undefined],
    [
      'the policy is for all workloads of the namespace',
      [modes('DISABLE'), policy(from({ principals: ['x'] }), 'ALLOW', {})],
      undefined,
    ],
    [
      'the policy is not for this workload',
      [policy(from({ principals: ['x'] }), 'DENY', { matchLabels: { app: 'product', version: 'v1', x: 'y' } })],
      undefined,
    ],
    ['the policy only audits', [policy(from({ principals: ['x'] }), 'AUDIT')], undefined],
  ])('is not doubted when %s', (_, documents, ports) => {
    expect(
      doubts(documents as string[], ports as number[] | undefined).filter((one) => !one.includes('selects no workload')),
    ).toEqual([]);
  });

  it('is doubted for each source of a DENY that asks for it', () => {
    const rule = {
      from: [{ source: { principals: ['x'] } }, { source: { ipBlocks: ['10.0.0.1'] } }, { source: { namespaces: ['y'] } }],
    };
    expect(doubts([policy(rule, 'DENY')]).map((one) => one.split(': ')[0])).toEqual([
      'm.yaml:1:1 spec.rules[0].from[0].source.principals',
      'm.yaml:1:1 spec.rules[0].from[2].source.namespaces',
    ]);
  });
});

describe('a port that nobody listens on', () => {
  const asking = policy({
    to: [{ operation: { ports: ['8080', '9090'] } }, { operation: { ports: ['8081'] } }],
    when: [{ key: 'destination.port', values: ['70'] }],
  });

  it('is doubted in rules once the ports are known', () => {
    expect(doubts([asking], [8081, 8080])).toEqual([
      "m.yaml:1:1 spec.rules[0].to[0].operation.ports: nobody listens on port 9090: this process listens on port 8080, 8081 (write the workload's own port, not the service's)",
      "m.yaml:1:1 spec.rules[0].when[0].values: nobody listens on port 70: this process listens on port 8080, 8081 (write the workload's own port, not the service's)",
    ]);
  });

  it('is doubted in portLevelMtls once the ports are known', () => {
    expect(doubts([modes('STRICT', { 80: 'PERMISSIVE', 8080: 'STRICT' })], [8080])).toEqual([
      'm.yaml:1:1 spec.portLevelMtls["80"]: nobody listens on port 80: this process listens on port 8080 (write the workload\'s own port, not the service\'s)',
    ]);
  });

  it.each([
    ['while the ports are not known', [asking], undefined],
    [
      'in a policy for all workloads of the namespace',
      [policy({ to: [{ operation: { ports: ['9090'] } }] }, 'DENY', {})],
      [8080],
    ],
    ['in notPorts', [policy({ to: [{ operation: { notPorts: ['9090'] } }] })], [8080]],
  ])('is not doubted %s', (_, documents, ports) => {
    expect(doubts(documents, ports as number[] | undefined)).toEqual([]);
  });
});
