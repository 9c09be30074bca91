import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { createTries } from './index-dimension.js';
import { createSearch, type IndexNode } from './index-search.js';
import type { PolicyRule } from './resource.js';
import { compileRuleList, firstMatch } from './rule-list.js';
import { finish } from './steps.js';

const request = (over: object): RequestAttributes => ({ method: 'GET', path: '/', host: 'h', ...over }) as RequestAttributes;

it('an index remembers a bounded number of callers, and finds the same after it has forgotten them', () => {
  const known: IndexNode['known'] = new Map();
  let asked = 0;
  const collect = (_tries: unknown, uri: string, into: unknown[]): void => {
    asked += 1;
    if (uri === 'spiffe://td/1') into.push(0);
  };
  const node: IndexNode = { collected: [{ collect, tries: createTries() }], visited: [], peerless: [], rest: [], known };
  const index = createSearch(node, [node]);
  const find = (uri: string): number => index.search([{ matches: () => true }], request({ peer: { uri } }), 1);
  for (let i = 0; i < 12_000; i += 1) expect(find(`spiffe://td/${i}`)).toBe(i === 1 ? 0 : 1);
  expect(known.size).toBeLessThanOrEqual(5000);
  expect(asked).toBe(12_000);
  expect([find('spiffe://td/1'), find('spiffe://td/1')]).toEqual([0, 0]);
  expect(asked).toBe(12_001);
});

describe('headers that only rules for some callers look at', () => {
  const rules = Array.from({ length: 20 }, (_, i): PolicyRule => ({
    from: [{ source: { principals: [`td/ns/n/sa/${i % 2}`], notNamespaces: ['x'] } }],
    when: [{ key: `request.headers[x-${i % 3}]`, values: [`v-${i}`] }],
  }));
  const meta = { kind: 'AuthorizationPolicy', namespace: 'n', name: 'p', creationTimestamp: 0, labels: {}, annotations: {} };
  const policy = { meta: { ...meta, source: { file: 'p', line: 1, column: 1 } }, spec: { rules } };
  const list = finish(compileRuleList([policy], { action: 'allow', isDryRun: false }, ['td']));

  const ask = (account: string | undefined, value: string): { readonly rule: number | undefined; readonly headers: number } => {
    let headers = 0;
    const header = (): readonly string[] => {
      headers += 1;
      return [value];
    };
    const peer = account === undefined ? undefined : { uri: `spiffe://td/ns/n/sa/${account}` };
    return { rule: list.rules[firstMatch(list.rules, list.index, request({ peer, header }))]?.rule, headers };
  };

  it('are looked up for those callers', () => {
    expect(ask('1', 'v-7').rule).toBe(7);
    expect(ask('0', 'v-7').rule).toBeUndefined();
    expect(ask('0', 'v-8').headers).toBeGreaterThan(0);
  });

  it.each([['2'], [undefined]])('are not for others: %s', (account) => {
    expect(ask(account, 'v-7')).toEqual({ rule: undefined, headers: 0 });
  });
});
