import { describe, expect, it } from 'vitest';
import { densityLimit, documentLimit, findExcess, propertyLimit } from './yaml-budget.js';
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
    ['many short lists', lines(many, (index) => `k${index}: [a, {b: c}]`)],
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
  ])('gives up on a long text of %s, and not on a short one', (_what, make) => {
    expect(findExcess(make(600_000))?.kind).toBe('density');
    expect(findExcess(make(90_000))).toBeUndefined();
  });

  it('gives up where the beginning of a text is too dense, without reading the rest', () => {
    const excess = findExcess(`[${'a,'.repeat(2_000_000)}]`);
    expect(excess?.kind).toBe('density');
    expect(excess?.offset).toBeLessThan(1_000_000);
  });

  it('gives up on more documents than a file may have', () => {
    expect(findExcess('---\n'.repeat(documentLimit + 1))?.kind).toBe('documents');
    expect(findExcess('---\n'.repeat(documentLimit))).toBeUndefined();
  });

  it('has room for the densest rules that mean something, in YAML and in JSON', () => {
    const yaml = lines(many, (index) => `- to: [{operation: {paths: ["/${index % 10}"]}}]`);
    const json = `[${lines(many, (index) => `{"to":[{"operation":{"paths":["/${index % 10}"]}}]},`).replaceAll('\n', '')}{}]`;
    for (const text of [yaml, json]) expect(findExcess(text)).toBeUndefined();
    expect(densityLimit(yaml.length)).toBeGreaterThan(yaml.length / 2);
  });
});
