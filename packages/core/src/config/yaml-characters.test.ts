import { describe, expect, it } from 'vitest';
import { findForbiddenCharacter } from './yaml-characters.js';

describe('findForbiddenCharacter', () => {
  it.each([
    ['LF, CRLF and tabs', 'a: 1\r\nb:\t2\n'],
    ['a byte order mark at the beginning', '\ufeffa: 1\n'],
    ['letters, symbols and emoji of every plane', 'a: "é ÿ 漢 😀 \ud7ff \ue000 \ufffd \u{10ffff}"\n'],
    ['no-break spaces', 'a:\u00a0b\n'],
  ])('admits %s', (_what, text) => {
    expect(findForbiddenCharacter(text)).toBeUndefined();
  });

  it.each([
    ['a bare carriage return', '# a\rb: 1', 3, 'a carriage return without a line feed'],
    ['a carriage return at the end', 'a: 1\r', 4, 'a carriage return without a line feed'],
    ['a next line', '# a\u0085b: 1', 3, 'U+0085'],
    ['a line separator', '# a\u2028b: 1', 3, 'U+2028'],
    ['a paragraph separator', '# a\u2029b: 1', 3, 'U+2029'],
  ])('calls %s a line end that only Kubernetes sees', (_what, text, offset, name) => {
    const found = findForbiddenCharacter(text);
    expect(found).toMatchObject({ offset, message: expect.stringContaining('ends a line for Kubernetes') });
    expect(found?.message).toContain(name);
  });

  it.each([
    ['NUL', 'a: \0', 'U+0000'],
    ['an escape', 'a: \u001b[31m', 'U+001B'],
    ['delete', 'a: \u007f', 'U+007F'],
    ['a C1 control', 'a: \u0090', 'U+0090'],
    ['a byte order mark inside', 'a: \ufeff', 'U+FEFF'],
    ['a non-character', 'a: \uffff', 'U+FFFF'],
    ['half of a surrogate pair', 'a: \udc00', 'U+DC00'],
  ])('refuses %s by its number', (_what, text, name) => {
    expect(findForbiddenCharacter(text)).toMatchObject({ offset: 3, message: expect.stringContaining(name) });
  });
});
