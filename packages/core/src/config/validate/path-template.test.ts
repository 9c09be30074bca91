import { describe, expect, it } from 'vitest';
import { findPathFault } from './path-template.js';

describe('findPathFault', () => {
  it.each([
    '/',
    '/a/b',
    '/a/*',
    '*',
    '*.php',
    '/{*}',
    '/{**}',
    '/a/{*}/b',
    '/a/{*}/{**}',
    '/a/{*}/',
    '/{**}/c.d~e',
    '/[x]',
    '/a b',
  ])('admits %s', (path) => {
    expect(findPathFault(path)).toBeUndefined();
  });

  it.each([
    ['/{id}', 'a whole segment'],
    ['/a{*}', 'a whole segment'],
    ['/{*}.txt', 'a whole segment'],
    ['/{}', 'a whole segment'],
    ['/{', 'a whole segment'],
    ['/a}/b', 'a whole segment'],
    ['/{**}/{*}', 'no operator may follow {**}'],
    ['/{**}/a/{**}', 'no operator may follow {**}'],
    ['/{*}/*', 'literal segments'],
    ['/a b/{*}', 'literal segments'],
    ['/{*}/?x', 'literal segments'],
    ['/a//{*}', 'literal segments'],
    ['/{*}/[x]', 'literal segments'],
    ['{*}', 'must begin with one slash'],
    ['//{*}', 'must begin with one slash'],
    ['a/{*}', 'must begin with one slash'],
  ])('refuses %s', (path, expected) => {
    expect(findPathFault(path)).toContain(expected);
  });
});
