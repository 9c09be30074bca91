import { describe, expect, it } from 'vitest';
import { formatProblem, quote, type ConfigProblem } from './problem.js';

const problem: ConfigProblem = {
  level: 'error',
  code: 'ENMESH_CONFIG_FIELD_UNKNOWN',
  message: 'there is no field "principal" here',
  file: 'policies/stock.yaml',
  line: 12,
  column: 9,
  path: 'spec.rules[0].from[0].source.principal',
  hint: 'did you mean "principals"?',
};

describe('formatProblem', () => {
  it('writes file, line, column, path, sentence and hint on one line', () => {
    expect(formatProblem(problem)).toBe(
      'policies/stock.yaml:12:9 spec.rules[0].from[0].source.principal: there is no field "principal" here (did you mean "principals"?)',
    );
  });

  it('leaves out an empty path and an absent hint', () => {
    const { hint: _hint, ...rest } = problem;
    expect(formatProblem({ ...rest, path: '' })).toBe('policies/stock.yaml:12:9: there is no field "principal" here');
  });
});

describe('quote', () => {
  it.each([
    ['a plain word', 'abc', '"abc"'],
    ['a line feed', 'a\nb', '"a\\nb"'],
    ['an escape sequence', '\u001b[2J', '"\\u001b[2J"'],
    ['a right-to-left override', 'a\u202eb', '"a\\u202eb"'],
    ['C1 controls', 'a\u009bb', '"a\\u009bb"'],
  ])('escapes %s', (_what, text, expected) => {
    expect(quote(text)).toBe(expected);
  });

  it('cuts what is long', () => {
    expect(quote('x'.repeat(1000))).toBe(`"${'x'.repeat(57)}..."`);
  });
});
