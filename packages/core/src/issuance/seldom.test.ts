import { describe, expect, it } from 'vitest';
import { createSeldom } from './seldom.js';

const minute = 60_000;

/** At which of the minutes from 0 to `minutes` a sentence that is true all the time is told. */
const told = (isDue: (sentence: string, now: number) => boolean, minutes: number): readonly number[] =>
  Array.from({ length: minutes + 1 }, (_, at) => at).filter((at) => isDue('it is broken', at * minute));

describe('createSeldom', () => {
  it('tells a sentence at once, and again after pauses that double up to the longest', () => {
    const seldom = createSeldom({ firstMs: minute, longestMs: 5 * minute });
    expect(told(seldom.isDue, 25)).toEqual([0, 1, 3, 7, 12, 17, 22]);
  });

  it('tells it again at even distances where there is no longest pause', () => {
    expect(told(createSeldom({ firstMs: 5 * minute }).isDue, 16)).toEqual([0, 5, 10, 15]);
  });

  it('tells another sentence at once, without forgetting the first', () => {
    const seldom = createSeldom({ firstMs: minute });
    expect(['a', 'b', 'a', 'b'].map((sentence, at) => seldom.isDue(sentence, at))).toEqual([true, true, false, false]);
  });

  it('takes what comes after the end of a trouble for news', () => {
    const seldom = createSeldom({ firstMs: minute, longestMs: 5 * minute });
    told(seldom.isDue, 10);
    seldom.forget();
    expect([seldom.isDue('it is broken', 0), seldom.isDue('it is broken', minute)]).toEqual([true, true]);
  });

  it('is not silenced by a clock that is set back', () => {
    const seldom = createSeldom({ firstMs: minute });
    expect([seldom.isDue('a', 100 * minute), seldom.isDue('a', 0)]).toEqual([true, true]);
  });

  it('remembers a bounded number of sentences', () => {
    const seldom = createSeldom({ firstMs: minute });
    for (let at = 0; at < 1_000; at++) expect(seldom.isDue(`reason ${at}`, 0)).toBe(true);
    expect([seldom.isDue('reason 999', 0), seldom.isDue('reason 0', 0)]).toEqual([false, true]);
  });
});
