import { describe, expect, it } from 'vitest';
import { compilePaths } from './path.js';

const templates = [
  '/a/{*}',
  '/{*}/b',
  '/a/{**}',
  '/{**}',
  '/a/{*}/b/{**}/c',
  '/{*}/{*}/{**}/b/c',
  '/{**}/',
  '/a/b/{*}/{*}',
  '/{*}//{*}',
  '/{*}/a/b',
  '/a/{*}/',
];

/** Every path of up to six of these pieces. */
const pieces = ['/', 'a', 'b', '/c', '['];
const paths = [1, 2, 3, 4, 5, 6].flatMap((length) =>
  Array.from({ length: pieces.length ** length }, (_, index) =>
    [...index.toString(5).padStart(length, '0')].map((digit) => pieces[Number(digit)]).join(''),
  ),
);

describe('many templates of one field', () => {
  it.each(templates)('match what the templates match one by one, and without %s too', (left) => {
    const others = templates.filter((template) => template !== left);
    const together = compilePaths(others);
    const single = others.map((template) => compilePaths([template]));
    const wrong = paths.filter((path) => together?.(path) !== single.some((matches) => matches?.(path)));
    expect(wrong).toEqual([]);
  });

  it('match each on its own in a field of templates that match nothing', () => {
    const never = ['/x/{*}', '/y/{*}', '/z/{**}', '/{*}/x/y/z', '/{*}/{*}/{*}/{*}/{*}/{*}/{*}/x'];
    for (const template of templates) {
      const among = compilePaths([...never, template]);
      const alone = compilePaths([template]);
      expect(paths.filter((path) => among?.(path) !== alone?.(path))).toEqual([]);
    }
  });
});
