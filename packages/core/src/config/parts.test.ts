import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dismantle, restore } from './parts.js';

function roundTrip(value: unknown, limit: number): unknown {
  const { root, parts } = structuredClone(dismantle(value, limit));
  for (const part of parts) restore(root, part);
  return root;
}

test('any plain data comes back from its parts', () => {
  const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie('tree')),
      fc.dictionary(
        fc.string({ minLength: 1 }).filter((name) => name !== '__proto__'),
        tie('tree'),
      ),
    ),
  }));
  fc.assert(
    fc.property(tree, fc.integer({ min: 1, max: 30 }), (value, limit) => {
      expect(roundTrip([value], limit)).toEqual([value]);
    }),
    { numRuns: 300 },
  );
});

test('no part of a long list is much heavier than the limit', () => {
  const value = { policies: Array.from({ length: 1000 }, (_, at) => ({ name: `p${at}`, paths: ['/a', '/b'] })) };
  const { root, parts } = dismantle(value, 50);
  expect(root).toEqual({ policies: [] });
  expect(parts).toHaveLength(100);
  expect(parts.every((part) => part.items.length === 10)).toBe(true);
});

test('a list within one heavy element is divided too', () => {
  const value = [{ rules: Array.from({ length: 100 }, (_, at) => at) }, 'next'];
  const { parts } = dismantle(value, 10);
  expect(Math.max(...parts.map((part) => part.items.length))).toBeLessThanOrEqual(10);
  expect(roundTrip(value, 10)).toEqual(value);
});
