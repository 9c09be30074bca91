import { describe, expect, it } from 'vitest';
import { parseTarget, splitTarget, type PathNormalization } from './normalize.js';

const NUL = String.fromCharCode(0);

describe('a request target', () => {
  it.each([
    '/',
    '/products/1',
    '/a/b.c/~d-e_f',
    '/a;x=1',
    '/a,b:c@d',
    '/stocks?productId=1',
    "/x?y=/../%2e//&z=%00'",
    '/a.b/c..d',
    '/[x]/(y)',
  ])('that is plain is left alone in every mode: %s', (target) => {
    for (const mode of ['NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const) {
      expect(parseTarget(target, mode)).toEqual({
        ok: true,
        ...splitTarget(target),
        authority: undefined,
        changed: false,
        plain: true,
      });
    }
  });

  it.each<readonly [PathNormalization, string, string, string]>([
    ['BASE', '/x/../admin', '/admin', ''],
    ['BASE', '/%61dmin?%61', '/admin', '?%61'],
    ['BASE', '/a\\b', '/a/b', ''],
    ['BASE', '//a//b', '//a//b', ''],
    ['BASE', '/a#b?c', '/a', ''],
    ['BASE', '/a?b#c', '/a', '?b'],
    ['BASE', '/x/..;v=1/admin', '/admin', ''],
    ['BASE', '/admin/.;', '/admin/', ''],
    ['BASE', '/.;\\admin', '/', ''],
    ['BASE', '/a/..;x\\b/c', '/c', ''],
    ['BASE', '/a;x\\../b', '/b', ''],
    ['BASE', '/...;/a', '/...;/a', ''],
    ['BASE', '/..%3b/a', '/..%3b/a', ''],
    ['BASE', '/a/"<>^`{|}', '/a/%22%3C%3E%5E%60%7B%7C%7D', ''],
    ['BASE', '/%252e%252e/a', '/%252e%252e/a', ''],
    ['BASE', '/a%2', '/a%2', ''],
    ['BASE', '/%c3%a9', '/%c3%a9', ''],
    ['MERGE_SLASHES', '//a///b/?c//d', '/a/b/', '?c//d'],
    ['MERGE_SLASHES', '/a%2f%2fb', '/a%2f%2fb', ''],
    // Measured with Envoy: a path of nothing but slashes keeps two.
    ['MERGE_SLASHES', '//', '//', ''],
    ['MERGE_SLASHES', '////?a=//', '//', '?a=//'],
    ['DECODE_AND_MERGE_SLASHES', '/%2f', '//', ''],
    ['DECODE_AND_MERGE_SLASHES', '/a%2f%5C/..%2fb', '/a/b', ''],
    ['NONE', '/x/%2e%2e;/../a//b\\c#d', '/x/%2e%2e;/../a//b\\c', ''],
    ['NONE', '/%00', '/%00', ''],
  ])('is brought to normal form by %s: %s', (mode, target, path, query) => {
    expect(parseTarget(target, mode)).toEqual({
      ok: true,
      path,
      query,
      authority: undefined,
      changed: target !== path + query,
      plain: false,
    });
  });

  // Measured with Envoy 1.40.0.
  it.each([
    ['/p/%%32%65%%32%65/s', '/p/%252e%252e/s'],
    ['/a%2%65', '/a%252e'],
    ['/a%%65', '/a%e'],
    ['/a%%%32%65', '/a%%252e'],
    ['/a%%32', '/a%2'],
    ['/a%%32f', '/a%252f'],
    ['/a%2%66', '/a%252f'],
    ['/a%%35%63', '/a%255c'],
    ['/a%%32%65b', '/a%252eb'],
    ['/a%%41%42', '/a%25AB'],
    ['/a%%2e%2e', '/a%..'],
    ['/%2%2e/x', '/%2./x'],
    ['/a%zz%32%65', '/a%zz2e'],
    ['/a%25%32%65', '/a%252e'],
    ['/x/%2%35%65', '/x/%2525e'],
    ['/a%x%31', '/a%x1'],
    ['/%%30%30', '/%2500'],
    ['/a%1%32%33%34', '/a%251234'],
    ['/a%%%33%32%65', '/a%%2532e'],
    ['/a%', '/a%'],
  ])('never gets an escape that it did not have: %j', (target, path) => {
    for (const mode of ['BASE', 'DECODE_AND_MERGE_SLASHES'] as const) expect(parseTarget(target, mode)).toMatchObject({ path });
  });

  it.each(['/a b', '/a\tb', `/a${NUL}`, '/a\u007f', '/caf\u00e9', '/a?b c', '/a?\u00e9', '/\ufeff', '/a?\u2028'])(
    'with a space, control byte or raw non-ASCII is refused in every mode: %j',
    (target) => {
      expect(parseTarget(target, 'NONE').ok).toBe(false);
      expect(parseTarget(target, 'BASE').ok).toBe(false);
    },
  );

  it.each(['/a%00', '/%00/../a', '/x/%2e%2e;/admin', '/x/.%2E;a=b', '/%2e;/a', '/x/%2e.;', '/a\\..;/b', '/a\\.;'])(
    'that servers read differently is refused: %s',
    (target) => {
      expect(parseTarget(target, 'BASE').ok).toBe(false);
    },
  );

  it.each([
    ['http://product.shop/x', 'product.shop', '/x', ''],
    ['HTTPS://Product.Shop:8443', 'Product.Shop:8443', '/', ''],
    ['http://product.shop?q=1', 'product.shop', '/', '?q=1'],
    ['http://[::1]:80/a/../b#c', '[::1]:80', '/b', ''],
  ])('in absolute form gives its authority and path: %s', (target, authority, path, query) => {
    expect(parseTarget(target, 'BASE')).toEqual({ ok: true, path, query, authority, changed: true, plain: false });
  });

  it.each([
    '',
    'x',
    'product.shop:443',
    'ftp://host/a',
    'file:///etc',
    'http:///a',
    'http://user@host/',
    'http://ho st/',
    'http://h\\x/',
    '#x',
    '?x',
    '*x',
    'javascript:1',
  ])('that is no path of this server is refused: %j', (target) => {
    expect(parseTarget(target, 'BASE').ok).toBe(false);
  });

  it('may be the asterisk of OPTIONS', () => {
    expect(parseTarget('*', 'BASE')).toEqual({
      ok: true,
      path: '*',
      query: '',
      authority: undefined,
      changed: false,
      plain: true,
    });
  });

  it('is never quoted in a refusal', () => {
    const target = parseTarget('http://secret@host/%00', 'BASE');
    expect(JSON.stringify(target)).not.toContain('secret');
  });

  it('in normal form stays what it is when normalized again', () => {
    const pieces = ['%', '2', 'e', 'E', '%32', '%65', '%2e', '%25', '/', '.', 'f', '%66', '%2f', '\\', ';'];
    const woven = Array.from({ length: 4_000 }, (_, index) =>
      Array.from(
        { length: 7 },
        (_, place) => pieces[(index * 31 + place * place * 7 + ((index * (place + 3)) >> 2)) % pieces.length],
      ),
    );
    const some = ['/a/%2E/%2e%2e/b', '/a/..\\..//c', '/%7B%7d{}', '/x%2F..;/y', '/.%2e/..;q/a/.'];
    for (const target of [...some, ...woven.map((parts) => `/${parts.join('')}`)]) {
      for (const mode of ['BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'] as const) {
        const once = parseTarget(target, mode);
        if (!once.ok) continue;
        expect(parseTarget(once.path, mode)).toMatchObject({ path: once.path, changed: false });
      }
    }
  });
});
