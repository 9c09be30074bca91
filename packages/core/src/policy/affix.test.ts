import { describe, expect, it } from 'vitest';
import { compileAffixes, type AffixEnd } from './affix.js';

/** Every text of up to five of these letters: long enough for values inside values and for both ends to meet. */
const texts = ['']
  .concat(
    ...[1, 2, 3, 4, 5].map((length) =>
      Array.from({ length: 3 ** length }, (_, index) => index.toString(3).padStart(length, '0')),
    ),
  )
  .map((text) => text.replaceAll('2', '\uffff'));

describe('many values at one end of a text', () => {
  it.each<readonly [AffixEnd]>([['start'], ['end']])('are found at its %s exactly where one of them stands', (end) => {
    for (let turn = 1; turn < 60; turn += 1) {
      const values = Array.from(
        { length: (turn % 12) + 1 },
        (_, index) => texts[(index * 37 * turn + turn) % texts.length] ?? '',
      );
      const matches = compileAffixes(values, end);
      const plainly = (text: string): boolean =>
        values.some((value) => (end === 'start' ? text.startsWith(value) : text.endsWith(value)));
      expect(texts.filter((text) => matches(text) !== plainly(text))).toEqual([]);
    }
  });

  it('are none, or the empty one that stands everywhere', () => {
    expect(compileAffixes([], 'start')('a')).toBe(false);
    expect(compileAffixes(['x', '', 'b', 'c', 'd', 'e'], 'end')('a')).toBe(true);
  });
});
