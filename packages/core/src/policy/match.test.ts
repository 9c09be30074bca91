import { describe, expect, it } from 'vitest';
import { compileText } from './match.js';

describe('values of a text field', () => {
  it.each<readonly [readonly string[], readonly string[], readonly string[]]>([
    [['abc'], ['abc'], ['ABC', 'abcd', '', 'xabc']],
    [['abc*'], ['abc', 'abcd', 'abc/x'], ['ab', 'xabc']],
    [['*abc'], ['abc', 'xabc'], ['abcd', 'bc']],
    [['*abc*'], ['xabc*', 'abc*'], ['abc', 'xabcx']],
    [['a*b'], ['a*b'], ['ab', 'axb']],
    [['a.c'], ['a.c'], ['abc']],
    [['**'], ['*', 'x*'], ['x', '']],
    [
      ['one', 'two', 'th*', '*ee'],
      ['one', 'two', 'thy', 'fee'],
      ['on', 'e'],
    ],
    [[], [], ['', 'x']],
  ])('%j match %j and not %j', (values, matching, others) => {
    const matches = compileText(values, 'some');
    expect(matching.filter((text) => !matches(text))).toEqual([]);
    expect(others.filter((text) => matches(text))).toEqual([]);
  });

  it('ask with a lone * for what the field means by presence', () => {
    const verdicts = (any: 'some' | 'some-line' | 'present'): readonly boolean[] =>
      ['x', '', 'a\nb'].map(compileText(['*'], any));
    expect(verdicts('some')).toEqual([true, false, false]);
    expect(verdicts('some-line')).toEqual([true, false, true]);
    expect(verdicts('present')).toEqual([true, true, true]);
  });
});
