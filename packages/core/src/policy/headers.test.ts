import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compileHeader, compilePathHeader } from './headers.js';

const withLines = (lines: readonly string[] | undefined): RequestAttributes =>
  ({ header: (name: string) => (name === 'x-role' ? lines : undefined) }) as RequestAttributes;

describe('a header condition', () => {
  it.each<readonly [readonly string[] | undefined, string, boolean]>([
    [['admin'], 'admin', true],
    [['user', 'admin'], 'admin', true],
    [['Admin'], 'admin', false],
    [['user,admin'], 'admin', false],
    [['admin-2'], 'admin*', true],
    [[''], '*', true],
    [undefined, '*', false],
    [undefined, 'admin', false],
  ])('finds in the lines %j the value %s: %s', (lines, value, expected) => {
    expect(compileHeader('X-Role', [value], false)(withLines(lines))).toBe(expected);
  });

  it('looks at the items of a line too where a match refuses', () => {
    expect(compileHeader('x-role', ['admin'], true)(withLines(['user, admin ,x']))).toBe(true);
    expect(compileHeader('x-role', ['user, admin'], true)(withLines(['user, admin']))).toBe(true);
    expect(compileHeader('x-role', ['admin'], true)(withLines(['user, administrator']))).toBe(false);
  });

  it("compares text beyond ASCII with Node's bytes", () => {
    expect(compileHeader('x-role', ['é'], false)(withLines([Buffer.from('é').toString('latin1')]))).toBe(true);
  });
});

describe('a condition on :path', () => {
  const request = {
    path: '/admin/',
    pathSpellings: ['/admin'],
    pathIgnoresCase: true,
    header: (name: string) => (name === ':path' ? ['/admin/?x'] : undefined),
  } as unknown as RequestAttributes;

  it.each([
    ['/admin/?x', true, true],
    ['/admin?x', false, true],
    ['/ADMIN/*', false, true],
    ['/Admin?X', false, true],
    ['/other*', false, false],
  ])('%s matches exactly: %s, and where a match refuses: %s', (value, exactly, cautiously) => {
    expect(compilePathHeader([value], false)(request)).toBe(exactly);
    expect(compilePathHeader([value], true)(request)).toBe(cautiously);
  });
});
