import { describe, expect, it } from 'vitest';
import { compilePropagation, fullName, type PropagationPlan } from './plan.js';
import type { TokenPropagation, TokenPropagationSpec } from './resource.js';

const policy = (name: string, spec: TokenPropagationSpec, namespace = 'shop', creationTimestamp = 0): TokenPropagation => ({
  meta: {
    ...{ kind: 'TokenPropagation', namespace, name, creationTimestamp, labels: {}, annotations: {} },
    source: { file: 'p.yaml', line: 1, column: 1 },
  },
  spec,
});

const compile = (policies: readonly TokenPropagation[], aliases: readonly string[] = []): PropagationPlan =>
  compilePropagation(
    policies,
    { namespace: 'shop', labels: { app: 'gateway' } },
    { rootNamespace: 'istio-system', trustDomain: 'mesh.example', trustDomainAliases: aliases },
  );

const hop = (...hosts: string[]): TokenPropagationSpec => ({ outbound: [{ hosts, mode: 'HOP' }] });

describe('what calls carry', () => {
  it('is found by full name, short name of the own namespace, or the longest wildcard', () => {
    const plan = compile([
      policy('a', {
        outbound: [
          { hosts: ['product', 'b.test.'], mode: 'HOP' },
          { hosts: ['*.test', '*.deep.test'], mode: 'FORWARD' },
        ],
      }),
      policy('b', { outbound: [{ hosts: ['*.deep.test'], mode: 'NONE' }] }, 'shop', 1),
    ]);
    const mode = (host: string): string | undefined => plan.outboundFor(host)?.mode;
    expect(mode('product.shop.svc.cluster.local')).toBe('HOP');
    expect(mode('product.other.svc.cluster.local')).toBeUndefined();
    expect(mode('b.test')).toBe('HOP');
    expect(mode('a.test')).toBe('FORWARD');
    expect(mode('x.deep.test')).toBe('FORWARD');
    expect(mode('test')).toBeUndefined();
    expect(mode('xtest')).toBeUndefined();
  });

  it('is said by the own namespace before the root namespace, and by the older before the younger', () => {
    const none = (host: string): TokenPropagationSpec => ({ outbound: [{ hosts: [host] }] });
    const plan = compile([
      policy('root', none('a.test'), 'istio-system'),
      policy('young', hop('a.test', 'b.test'), 'shop', 2),
      policy('old', none('b.test'), 'shop', 1),
      policy('foreign', hop('c.test'), 'bank'),
    ]);
    expect(plan.outboundFor('a.test')).toMatchObject({ mode: 'HOP', policy: 'shop/young' });
    expect(plan.outboundFor('b.test')).toMatchObject({ mode: 'NONE', policy: 'shop/old' });
    expect(plan.outboundFor('c.test')).toBeUndefined();
  });

  it('needs contexts only where some mode is not NONE', () => {
    expect(compile([]).needsContext).toBe(false);
    expect(compile([policy('a', { outbound: [{ hosts: ['a'] }, { hosts: ['b'], mode: 'NONE' }] })]).needsContext).toBe(false);
    expect(compile([policy('a', { ...hop('a'), selector: { matchLabels: { app: 'other' } } })]).needsContext).toBe(false);
    expect(compile([policy('a', hop('a'))]).needsContext).toBe(true);
  });
});

describe('who may speak for users', () => {
  const plan = compile(
    [
      policy('a', { inbound: [{ principals: ['cluster.local/ns/shop/sa/edge'], issuers: ['i'], maxActors: 1 }] }),
      policy('b', { inbound: [{ principals: ['mesh.example/ns/shop/sa/edge', 'far.example/ns/a/sa/b'], issuers: ['i', 'j'] }] }),
    ],
    ['old.example'],
  );

  it('is who is listed for that issuer, in the trust domain of the mesh and its aliases', () => {
    expect(plan.mayActFor('mesh.example/ns/shop/sa/edge', 'i')).toBe(true);
    expect(plan.mayActFor('old.example/ns/shop/sa/edge', 'j')).toBe(true);
    expect(plan.mayActFor('far.example/ns/a/sa/b', 'j')).toBe(true);
    expect(plan.mayActFor('far.example/ns/a/sa/bb', 'j')).toBe(false);
    expect(plan.mayActFor('mesh.example/ns/shop/sa/edge', 'I')).toBe(false);
    expect(plan.mayActFor('', '')).toBe(false);
  });

  it('says why not, and how long the chain may be: the longest that any entry allows', () => {
    expect(plan.grantFor('mesh.example/ns/shop/sa/edge', 'i')).toEqual({ maxActors: 4 });
    expect(plan.grantFor('mesh.example/ns/shop/sa/edge', 'k')).toBe('issuer-not-listed');
    expect(plan.grantFor('mesh.example/ns/shop/sa/nobody', 'i')).toBe('principal-not-listed');
    expect(compile([]).acceptsHop).toBe(false);
    expect(plan.acceptsHop).toBe(true);
  });
});

describe('a host of an entry', () => {
  it.each([
    ['product', 'product.shop.svc.cluster.local'],
    ['Product.Bank.svc.cluster.local.', 'product.bank.svc.cluster.local'],
    ['*', '*'],
    ['*.test', '*.test'],
  ])('%s means %s', (host, name) => {
    expect(fullName(host, 'shop')).toBe(name);
  });
});
