import { describe, expect, it } from 'vitest';
import { createMissBudget } from './miss-budget.js';

const start = Date.UTC(2026, 0, 1);
/** How often the kids, one every `every` milliseconds, cause a fetch, and at which of them. */
function causes(kids: Iterable<string>, every: number): number[] {
  const budget = createMissBudget();
  let now = start;
  const at: number[] = [];
  for (const kid of kids) {
    if (budget.allows(kid, now)) at.push(now - start);
    now += every;
  }
  return at;
}

describe('fetches that unknown keys may cause', () => {
  it('are two a minute for 10 000 new names a second', () => {
    const flood = Array.from({ length: 599_000 }, (_, index) => `kid-${index % 2 === 0 ? index : Math.floor(index / 7)}`);
    expect(causes(flood, 0.1)).toHaveLength(2);
  });

  it('are two a minute for one name again and again, half a minute apart', () => {
    expect(
      causes(
        Array.from({ length: 120_000 }, () => 'a'),
        1,
      ),
    ).toEqual([0, 30_000, 60_000, 90_000]);
  });

  it('leave one for a name that comes again, whatever new ones come between', () => {
    const budget = createMissBudget();
    let now = start;
    for (let index = 0; index < 50_000; index++) budget.allows(`attack-${index}`, (now += 0.1));
    expect(budget.allows('new', (now += 0.1))).toBe(false);
    for (let index = 0; index < 9_000; index++) budget.allows(`more-${index}`, (now += 0.1));
    expect(budget.allows('new', (now += 0.1))).toBe(true);
    expect(budget.allows('new', (now += 0.1))).toBe(false);
  });

  it('do not come of a name of more than 128 characters twice', () => {
    const long = 'x'.repeat(129);
    expect(causes([long, long, long], 1)).toEqual([0]);
  });

  it('are not held up by a clock that went back', () => {
    const budget = createMissBudget();
    expect([budget.allows('a', start), budget.allows('b', start - 3_600_000)]).toEqual([true, true]);
  });
});
