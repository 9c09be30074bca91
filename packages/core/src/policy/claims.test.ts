import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compileClaim, parseBrackets } from './claims.js';
import { compileText } from './match.js';

describe('the brackets of a claim', () => {
  it.each([
    ['[a]', ['a']],
    ['[a][b]', ['a', 'b']],
    ['[a.b/c]', ['a.b/c']],
    ['[a[b]]', ['a[b]']],
    ['[a][b', undefined],
    ['a', undefined],
    ['[a]x[b]', ['a]x[b']],
  ])('%s name %j', (text, names) => {
    expect(parseBrackets(text)).toEqual(names);
  });
});

describe('a claim', () => {
  const claims = JSON.parse(
    '{"group":"admin","groups":["user","admin",7],"n":7,"yes":true,"none":null,"realm":{"role":["reader"]},"a.b":"dot","__proto__":{"x":"admin"},"empty":""}',
  ) as Record<string, unknown>;
  const request = { user: { claims } } as unknown as RequestAttributes;

  it.each<readonly [readonly string[], string, boolean]>([
    [['group'], 'admin', true],
    [['group'], 'adm*', true],
    [['group'], 'user', false],
    [['groups'], 'admin', true],
    [['groups'], '7', false],
    [['n'], '7', false],
    [['n'], '*', false],
    [['yes'], '*', false],
    [['none'], '*', false],
    [['empty'], '*', false],
    [['realm', 'role'], 'reader', true],
    [['realm'], '*', false],
    [['a.b'], 'dot', true],
    [['a', 'b'], 'dot', false],
    [['groups', '0'], 'user', false],
    [['constructor', 'name'], 'Object', false],
    [['toString'], '*', false],
    [['__proto__', 'x'], 'admin', true],
  ])('%j asked for %s matches: %s', (path, value, expected) => {
    expect(compileClaim(path, compileText([value], 'some'))(request)).toBe(expected);
  });

  it('is never inherited', () => {
    const inherited = {
      user: { claims: { realm: Object.create({ role: 'reader' }) as object } },
    } as unknown as RequestAttributes;
    expect(compileClaim(['realm', 'role'], compileText(['*'], 'some'))(inherited)).toBe(false);
  });

  it('never matches without a user', () => {
    expect(compileClaim(['group'], compileText(['*'], 'some'))({ user: undefined } as RequestAttributes)).toBe(false);
  });
});
