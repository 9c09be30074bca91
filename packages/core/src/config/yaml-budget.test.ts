import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { densityLimit, documentLimit, documentSizeLimit, findExcess, listSizeLimit, propertyLimit } from './yaml-budget.js';
import { seemingDepthLimit } from './yaml-depth.js';

const many = 50_000;
const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');

describe('findExcess', () => {
  it.each([
    ['brackets', '['.repeat(many)],
    ['braces', '{a: '.repeat(many)],
    ['lists in lists on one line', '- '.repeat(many)],
    ['explicit keys', '? '.repeat(many)],
    ['maps on one line', 'a: '.repeat(many)],
    ['indentation', lines(1000, (index) => `${' '.repeat(index)}a:`)],
    ['brackets after many shallow documents', `${'a: 1\n---\n'.repeat(1000)}${'['.repeat(many)}`],
    ['brackets over several lines', '[\n'.repeat(many)],
  ])('gives up on too deep %s', (_what, text) => {
    expect(findExcess(text)?.kind).toBe('depth');
  });

  it.each([
    ['60 brackets', `${'['.repeat(60)}${']'.repeat(60)}`],
    ['60 indentations', lines(60, (index) => `${'  '.repeat(index)}a:`)],
    ['60 lists of maps', lines(60, (index) => `${'    '.repeat(index)}- a:`)],
    ['many brackets in a quoted scalar', `a: "${'['.repeat(many)}"`],
    ['many brackets in a block scalar', `a: |\n  ${'['.repeat(many)}\nb: 1`],
    ['many brackets in a plain scalar', `a: x${'['.repeat(many)}`],
    ['many brackets in a comment', `a: 1 # ${'['.repeat(many)}`],
    ['many short lists', lines(many / 4, (index) => `k${index}: [a, {b: c}]`)],
    ['many documents', 'a:\n  b:\n    c: [d]\n---\n'.repeat(5000)],
    ['many open brackets, one a document', '[\n---\n'.repeat(2 * seemingDepthLimit)],
  ])('reads %s', (_what, text) => {
    expect(findExcess(text)).toBeUndefined();
  });

  it.each([
    ['aliases', `- &a x\n- [${'*a, '.repeat(propertyLimit)}]`],
    ['anchors', lines(propertyLimit + 1, (index) => `- &a${index} x`)],
    ['tags', lines(propertyLimit + 1, () => '- !!str x')],
  ])('gives up on a document of too many %s, and not on many with a few', (_what, text) => {
    expect(findExcess(text)?.kind).toBe('properties');
    expect(findExcess(`a: "${'&a *b !c '.repeat(propertyLimit)}"`)).toBeUndefined();
    expect(findExcess('- &a x\n- *a\n---\n'.repeat(propertyLimit))).toBeUndefined();
  });

  it.each([
    ['one-letter values', (length: number) => `[${'a,'.repeat(length / 2)}`],
    ['empty lists', (length: number) => `[${'[],'.repeat(length / 3)}`],
    ['commas', (length: number) => `[${','.repeat(length)}`],
    ['blank lines', (length: number) => '\n'.repeat(length)],
    ['pairs of letters', (length: number) => `[${'ab,'.repeat(length / 3)}`],
    ['short entries', (length: number) => '- abc\n'.repeat(length / 6)],
    ['short keys', (length: number) => lines(length / 8, (index) => `a${index}: b`)],
    ['comments', (length: number) => '# a\n'.repeat(length / 4)],
  ])('gives up on a long text of %s, and not on a short one', (_what, make) => {
    expect(findExcess(make(3_000_000))?.kind).toMatch(/density|size/);
    expect(findExcess(make(90_000))).toBeUndefined();
  });

  it('gives up on a document longer than Kubernetes would store, and reads as much in several, or in a List', () => {
    const rule = '  - to:\n    - operation:\n        paths: ["/items/of/the/shop/*"]\n';
    const policy = (rules: number): string => `kind: AuthorizationPolicy\nspec:\n  rules:\n${rule.repeat(rules)}`;
    const tooLong = Math.ceil(documentSizeLimit / 20);
    expect(findExcess(policy(tooLong))?.kind).toBe('size');
    expect(findExcess(`${policy(tooLong / 2)}---\n${policy(tooLong / 2)}`)).toBeUndefined();
    const item =
      '- kind: AuthorizationPolicy\n  spec:\n    rules:\n    - to:\n      - operation:\n          paths: ["/items/of/the/shop/*"]\n';
    const list = (count: number): string => `apiVersion: v1\nitems:\n${item.repeat(count)}kind: List\n`;
    expect(findExcess(list(Math.floor(listSizeLimit / 50)))).toBeUndefined();
    expect(findExcess(list(Math.ceil(listSizeLimit / 30)))?.kind).toBe('size');
  });

  it('has room for 8 MiB of policies, as documents of YAML and of JSON', () => {
    const policy = (index: number): object => ({
      ...{ apiVersion: 'security.istio.io/v1', kind: 'AuthorizationPolicy', metadata: { name: `p${index}`, namespace: 'a' } },
      spec: {
        rules: [{ to: [{ operation: { methods: ['GET'], paths: ['/a'] } }], from: [{ source: { namespaces: ['b', 'c'] } }] }],
      },
    });
    for (const write of [stringify, JSON.stringify] as ((value: unknown) => string)[]) {
      const one = `${write(policy(1))}\n---\n`;
      expect(findExcess(one.repeat((8 * 1024 * 1024) / one.length))).toBeUndefined();
    }
  });

  it('gives up where the beginning of a text is too dense, without reading the rest', () => {
    const excess = findExcess(`[${'a,'.repeat(2_000_000)}]`);
    expect(excess?.kind).toBe('size');
    expect(excess?.offset).toBeLessThan(1_100_000);
  });

  it('gives up on more documents than a file may have', () => {
    expect(findExcess('---\n'.repeat(documentLimit + 1))?.kind).toBe('documents');
    expect(findExcess('---\n'.repeat(documentLimit))).toBeUndefined();
  });

  it('has room for the densest rules that mean something, in YAML and in JSON', () => {
    const rules = (index: number): string =>
      `- to: [{operation: {paths: ["/${index % 10}"]}}]${index % 500 === 0 ? '\n---' : ''}`;
    const yaml = lines(many, rules);
    const json = lines(many / 500, () => `[${`{"to":[{"operation":{"paths":["/1"]}}]},`.repeat(500)}{}]\n---`);
    for (const text of [yaml, json]) expect(findExcess(text)).toBeUndefined();
    expect(densityLimit(yaml.length)).toBeGreaterThan(yaml.length / 2);
  });
});
