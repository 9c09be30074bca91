import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import type { AuthorizationPolicy, PolicyRule } from './resource.js';
import { allMatches, compileRuleList, firstMatch, type IndexedRules } from './rule-list.js';
import { finish } from './steps.js';

function policy(name: string, rules: readonly PolicyRule[], namespace = 'shop'): AuthorizationPolicy {
  const meta = { kind: 'AuthorizationPolicy', namespace, name, creationTimestamp: 0, labels: {}, annotations: {} };
  return { meta: { ...meta, source: { file: 'a.yaml', line: 1, column: 1 } }, spec: { action: 'ALLOW', rules } };
}

const listOf = (...policies: AuthorizationPolicy[]): IndexedRules =>
  finish(compileRuleList(policies, { action: 'allow', isDryRun: false }, ['td']));

const request = (path: string, uri?: string): RequestAttributes =>
  ({ method: 'GET', path, host: 'h', peer: uri === undefined ? undefined : { uri } }) as unknown as RequestAttributes;

const paths = (...values: string[]): PolicyRule => ({ to: [{ operation: { paths: values } }] });
const principals = (...values: string[]): PolicyRule => ({ from: [{ source: { principals: values } }] });
const many = (count: number, ruleOf: (i: number) => PolicyRule): PolicyRule[] =>
  Array.from({ length: count }, (_, i) => ruleOf(i));

describe('the rules of a list', () => {
  it.each([1, 9, 10, 11, 99, 100, 101, 1234])('stand in the order of their ids as texts: %i of them in each policy', (count) => {
    const rules = many(count, () => ({}));
    const ids = listOf(policy('b', rules), policy('a-b', rules), policy('a', rules), policy('z', rules, 'a')).rules.map(
      ({ id }) => id,
    );
    expect(ids).toHaveLength(count * 4);
    expect(ids).toEqual([...ids].sort((a, b) => (a < b ? -1 : 1)));
  });

  it('know their policy, their number and their decision, which is one object however often it is asked for', () => {
    const [, second] = listOf(policy('a', [{}, {}])).rules;
    expect(second?.decision).toEqual({ allowed: true, reason: 'allow-matched', policy: 'shop/a', rule: 1 });
    expect(second?.decision).toBe(second?.decision);
    expect(second?.dryRun).toBeUndefined();
  });
});

describe('of the rules that match', () => {
  const { rules, index } = listOf(policy('a', [...many(40, (i) => paths(`/${i}`, '/all')), paths('/3*'), {}]));

  it('the first is found', () => {
    expect(rules[firstMatch(rules, index, request('/31'))]?.rule).toBe(31);
    expect(rules[firstMatch(rules, index, request('/3x'))]?.rule).toBe(40);
    expect(rules[firstMatch(rules, index, request('/none'))]?.rule).toBe(41);
  });

  it.each(['/31', '/3x', '/all', '/none'])('all are found, as a walk finds them: %s', (path) => {
    expect(index).toBeDefined();
    const found = allMatches(rules, index, request(path));
    expect(found).toEqual(rules.filter((rule) => rule.matches(request(path))));
    expect(found.length).toBeGreaterThan(0);
  });
});

describe('what a list remembers of callers', () => {
  const { rules, index } = listOf(
    policy(
      'a',
      many(30, (i) => principals(`td/ns/n/sa/s-${i}`, 'td/ns/all/*')),
    ),
  );
  const found = (uri?: string): number | undefined => rules[firstMatch(rules, index, request('/', uri))]?.rule;

  it('is forgotten and found again as thousands of them come by', () => {
    for (let round = 0; round < 2; round += 1) {
      for (let i = 0; i < 6000; i += 1) expect(found(`spiffe://td/ns/n/sa/s-${i}`)).toBe(i < 30 ? i : undefined);
    }
  });

  it('is not mixed up with a request that has none', () => {
    expect(found('spiffe://td/ns/all/sa/x')).toBe(0);
    expect(found()).toBeUndefined();
  });
});
