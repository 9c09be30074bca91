import { describe, expect, it } from 'vitest';
import { readSyntaxTrees, seemingDepthLimit } from './yaml-depth.js';

/** The offset at which a text was given up, or undefined. */
function tooDeepAt(text: string): number | undefined {
  let offset: number | undefined;
  for (const _tree of readSyntaxTrees(text, (fault) => (offset = fault.offset)));
  return offset;
}

const many = 50_000;
const lines = (count: number, line: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('\n');

describe('readSyntaxTrees', () => {
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
    expect(tooDeepAt(text)).toBeTypeOf('number');
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
    expect(tooDeepAt(text)).toBeUndefined();
  });
});
