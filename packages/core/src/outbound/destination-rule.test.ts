import { describe, expect, it } from 'vitest';
import type { DestinationRule, DestinationRuleSpec } from '../config/registry.js';
import { compileDestinationRules, findDestinationRule, type MergedRule } from './destination-rule.js';

const rule = (name: string, spec: Partial<DestinationRuleSpec> = {}, creationTimestamp = 0): DestinationRule => {
  const [namespace = '', short = ''] = name.split('/');
  return {
    meta: {
      ...{ kind: 'DestinationRule', namespace, name: short, creationTimestamp, labels: {}, annotations: {} },
      source: { file: 'rules.yaml', line: 1, column: 1 },
    },
    spec: { host: 'product.shop.svc.cluster.local', ...spec },
  };
};
const policy = (mode: 'DISABLE' | 'SIMPLE' | 'ISTIO_MUTUAL'): Pick<DestinationRuleSpec, 'trafficPolicy'> => ({
  trafficPolicy: { tls: { mode } },
});
const selector = (app: string): Pick<DestinationRuleSpec, 'workloadSelector'> => ({ workloadSelector: { matchLabels: { app } } });

function find(
  rules: readonly DestinationRule[],
  client: string,
  app = 'gateway',
  host = 'product.shop.svc.cluster.local',
  defaultDestinationRuleExportTo: readonly string[] = ['*'],
): MergedRule | undefined {
  const registry = { services: [], serviceEntries: [], workloadEntries: [], destinationRules: rules, peerAuthentications: [] };
  const index = compileDestinationRules(registry, { rootNamespace: 'istio-system', defaultDestinationRuleExportTo });
  return findDestinationRule(index, { namespace: client, serviceAccount: 'a', labels: { app } }, { host, namespace: 'shop' });
}

describe('the DestinationRule of a call', () => {
  it('is looked for in the namespace of the client, then of the service, then of the root', () => {
    const rules = [rule('istio-system/root'), rule('shop/service'), rule('ops/client')];
    expect(find(rules, 'ops')?.name).toBe('ops/client');
    expect(find(rules, 'billing')?.name).toBe('shop/service');
    expect(find(rules.slice(0, 1), 'billing')?.name).toBe('istio-system/root');
    expect(find([], 'billing')).toBeUndefined();
  });

  it('is not a private one of another namespace, nor one exported elsewhere', () => {
    expect(find([rule('shop/own', { exportTo: ['.'] })], 'shop')?.name).toBe('shop/own');
    expect(find([rule('shop/own', { exportTo: ['.'] })], 'ops')).toBeUndefined();
    expect(find([rule('shop/own', { exportTo: ['shop'] })], 'ops')).toBeUndefined();
    expect(find([rule('shop/lent', { exportTo: ['ops'] })], 'ops')?.name).toBe('shop/lent');
    expect(find([rule('shop/lent', { exportTo: ['ops'] })], 'shop')).toBeUndefined();
  });

  it('is private without exportTo where the mesh says so, which of all that it may say makes the only difference', () => {
    const rules = [rule('shop/p', policy('SIMPLE'))];
    const nameFor = (client: string, exportTo: readonly string[], given = rules): string | undefined =>
      find(given, client, undefined, undefined, exportTo)?.name;
    expect([nameFor('ops', ['.']), nameFor('shop', ['.']), nameFor('ops', ['shop'])]).toEqual([undefined, 'shop/p', 'shop/p']);
    expect(nameFor('ops', ['.'], [rule('shop/p', { exportTo: ['*'] })])).toBe('shop/p');
  });

  it('is private only, in the first step, for clients of the root namespace', () => {
    const rules = [rule('istio-system/public'), rule('shop/service')];
    expect(find(rules, 'istio-system')?.name).toBe('shop/service');
    expect(find([...rules, rule('istio-system/own', { exportTo: ['.'] })], 'istio-system')?.name).toBe('istio-system/own');
  });

  it('is the one of the most specific host, also where that ends the search for others', () => {
    const rules = [rule('ops/all', { host: '*' }), rule('ops/some', { host: '*.shop.svc.cluster.local' })];
    expect(find(rules, 'ops')?.name).toBe('ops/some');
    expect(find([...rules, rule('ops/exact')], 'ops')?.name).toBe('ops/exact');
    expect(find([rule('shop/short', { host: 'product' })], 'ops')?.name).toBe('shop/short');
    expect(find([rule('shop/dotted', { host: 'product.shop' })], 'ops')).toBeUndefined();
    const hidden = [rule('shop/exact', { exportTo: ['.'] }), rule('shop/wide', { host: '*' })];
    expect(find(hidden, 'ops')?.name).toBe('shop/wide');
  });

  it('goes to workloads by selector before others, and hides the rest from the other workloads of its namespace', () => {
    const rules = [rule('ops/gateway', selector('gateway')), rule('ops/batch', selector('batch')), rule('shop/service')];
    expect(find(rules, 'ops', 'gateway')?.name).toBe('ops/gateway');
    expect(find(rules, 'ops', 'batch')?.name).toBe('ops/batch');
    expect(find(rules, 'ops', 'other')).toBeUndefined();
    expect(find(rules, 'billing', 'gateway')?.name).toBe('shop/service');
    expect(find([...rules, rule('ops/all')], 'ops', 'other')?.name).toBe('ops/all');
  });

  it('merges rules of one host: the first policy whole, subsets by name, first wins', () => {
    const subset = (name: string, version: string) => ({ name, labels: { version } });
    const merged = find(
      [
        rule('shop/b', { ...policy('SIMPLE'), subsets: [subset('v1', 'late'), subset('v2', '2')] }, 2),
        rule('shop/c', { ...policy('DISABLE') }, 3),
        rule('shop/a', { subsets: [subset('v1', '1')] }, 1),
      ],
      'shop',
    );
    expect(merged).toMatchObject({ name: 'shop/a', ...policy('SIMPLE'), subsets: [subset('v1', '1'), subset('v2', '2')] });
  });

  it('keeps rules of different exportTo apart, of which the last applies', () => {
    const rules = [rule('shop/a', policy('SIMPLE'), 1), rule('shop/b', { ...policy('DISABLE'), exportTo: ['.'] }, 2)];
    expect(find(rules, 'shop')?.name).toBe('shop/b');
    expect(find(rules, 'ops')?.name).toBe('shop/a');
  });

  it('lends a rule that is exported more widely to the narrower one before it', () => {
    const wide = rule('shop/z', { ...policy('SIMPLE'), exportTo: ['.', 'ops'] }, 2);
    const lent = find([rule('shop/gateway', selector('gateway')), wide], 'shop', 'gateway');
    expect(lent).toMatchObject({ name: 'shop/gateway', ...policy('SIMPLE') });
    expect(find([rule('shop/gateway', selector('gateway')), wide], 'shop', 'other')?.name).toBe('shop/z');
    expect(find([rule('shop/a', { exportTo: ['.'] }, 1), wide], 'shop')).toMatchObject({ name: 'shop/a', ...policy('SIMPLE') });
    expect(find([rule('shop/a', { exportTo: ['.'] }, 1), wide], 'ops')?.name).toBe('shop/z');
    expect(
      find([rule('shop/a', { exportTo: ['.', 'ops'] }, 1), { ...wide, spec: { ...wide.spec, exportTo: ['.'] } }], 'ops'),
    ).toEqual(find([rule('shop/a', { exportTo: ['.', 'ops'] }, 1)], 'ops'));
  });

  it('loses a private rule beside one with a selector, as Istio does', () => {
    const rules = [rule('shop/gateway', selector('gateway')), rule('shop/own', { ...policy('SIMPLE'), exportTo: ['.'] })];
    expect(find(rules, 'shop', 'gateway')).toMatchObject({ name: 'shop/gateway', ...policy('SIMPLE') });
    expect(find(rules, 'shop', 'other')).toBeUndefined();
  });
});
