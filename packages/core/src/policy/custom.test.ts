import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePolicies, type PolicySet } from './compile.js';
import { matchCustom } from './custom.js';
import { evaluatePolicies } from './evaluate.js';
import type { ExtensionProvider } from './provider.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec, PolicyRule } from './resource.js';

const provider = (name: string): ExtensionProvider => ({
  kind: 'grpc',
  name,
  service: 'authz',
  port: 1,
  timeoutMs: 1,
  failOpen: false,
  statusOnError: 403,
  body: undefined,
});

const policy = (name: string, spec: AuthorizationPolicySpec, namespace = 'shop'): AuthorizationPolicy => ({
  meta: {
    kind: 'AuthorizationPolicy',
    namespace,
    name,
    creationTimestamp: 0,
    labels: {},
    annotations: {},
    source: { file: 'p.yaml', line: 1, column: 1 },
  },
  spec,
});

const paths = (...values: string[]): PolicyRule => ({ to: [{ operation: { paths: values } }] });
const custom = (name: string, asks: string, ...rules: PolicyRule[]): AuthorizationPolicy =>
  policy(name, { action: 'CUSTOM', provider: { name: asks }, rules });

const compile = (policies: AuthorizationPolicy[], ...names: string[]): PolicySet =>
  compilePolicies(
    policies,
    { namespace: 'shop', labels: { app: 'product' } },
    { trustDomain: 'td', trustDomainAliases: [], rootNamespace: 'istio-system', extensionProviders: names.map(provider) },
  );

const request = (path: string, more: Partial<RequestAttributes> = {}): RequestAttributes => ({
  method: 'GET',
  path,
  pathSpellings: [],
  pathIgnoresCase: false,
  host: 'a',
  sourceIp: '10.0.0.1',
  remoteIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: '',
  peer: undefined,
  user: undefined,
  header: () => undefined,
  ...more,
});

describe('CUSTOM policies', () => {
  it('match nothing, at no cost, where there are none', () => {
    const set = compile([policy('a', { rules: [{}] })], 'x');
    expect(set.custom).toBeUndefined();
    expect(matchCustom(set, request('/a'))).toBeUndefined();
  });

  it('are found among a thousand, each match made once', () => {
    const set = compile([custom('a', 'x', ...Array.from({ length: 1000 }, (_, i) => paths(`/items/${i}`)))], 'x');
    expect(set.custom?.index).toBeDefined();
    expect(matchCustom(set, request('/items/777'))).toMatchObject({ provider: 'x', policy: 'shop/a', rule: 777 });
    expect(matchCustom(set, request('/items/777'))).toBe(matchCustom(set, request('/items/777')));
    expect(matchCustom(set, request('/items/1000'))).toBeUndefined();
  });

  it('name the provider, the policy and the rule that matched first by Istio’s order of ids', () => {
    const rules = Array.from({ length: 11 }, (_, i) => paths(i === 2 || i === 10 ? '/a' : '/other'));
    const set = compile([custom('z', 'x', paths('/a')), custom('b', 'x', ...rules)], 'x');
    expect(matchCustom(set, request('/a'))).toEqual({
      provider: 'x',
      settings: provider('x'),
      policy: 'shop/b',
      rule: 10,
      id: 'istio-ext-authz-x-ns[shop]-policy[b]-rule[10]',
    });
    expect(matchCustom(set, request('/b'))).toBeUndefined();
  });

  it('are no part of what DENY and ALLOW decide', () => {
    const set = compile([custom('c', 'x', {})], 'x');
    expect(evaluatePolicies(set, request('/a'))).toEqual({ allowed: true, reason: 'no-policy' });
  });

  it('hold only where they are selected', () => {
    const elsewhere = policy('s', {
      action: 'CUSTOM',
      provider: { name: 'x' },
      selector: { matchLabels: { app: 'cart' } },
      rules: [{}],
    });
    const foreign = policy('f', { action: 'CUSTOM', provider: { name: 'x' }, rules: [{}] }, 'cart');
    const attached = policy('t', {
      action: 'CUSTOM',
      provider: { name: 'x' },
      targetRef: { kind: 'Gateway', name: 'g' },
      rules: [{}],
    });
    expect(compile([elsewhere, foreign, attached], 'x').custom).toBeUndefined();
    const everywhere = policy('r', { action: 'CUSTOM', provider: { name: 'x' }, rules: [{}] }, 'istio-system');
    expect(matchCustom(compile([everywhere], 'x'), request('/a'))?.policy).toBe('istio-system/r');
  });

  it('count every spelling that the router takes for the path, as DENY does', () => {
    const set = compile([custom('c', 'x', paths('/admin'))], 'x');
    expect(matchCustom(set, request('/ADMIN', { pathIgnoresCase: true }))).toBeDefined();
    expect(matchCustom(set, request('/admin/', { pathSpellings: ['/admin'] }))).toBeDefined();
    expect(matchCustom(set, request('/ADMIN'))).toBeUndefined();
  });

  it.each([
    ['no provider of that name is configured', [custom('c', 'x', paths('/a'))], [], 'unknown-provider'],
    ['the name is only the beginning of one that is', [custom('c', 'x', paths('/a'))], ['x-b'], 'unknown-provider'],
    [
      'a second provider guards this workload too',
      [custom('c', 'x', paths('/a')), custom('d', 'y', paths('/b'))],
      ['x', 'y'],
      'several-providers',
    ],
  ])('deny what they match when %s', (_why, policies, names, fault) => {
    const set = compile(policies, ...names);
    expect(matchCustom(set, request('/a'))).toEqual({
      provider: 'x',
      settings: undefined,
      policy: 'shop/c',
      rule: 0,
      id: 'istio-ext-authz-x-ns[shop]-policy[c]-rule[0]-deny-due-to-bad-CUSTOM-action',
      fault,
    });
    expect(matchCustom(set, request('/c'))).toBeUndefined();
  });
});
