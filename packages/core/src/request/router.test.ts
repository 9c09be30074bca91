import { describe, expect, it } from 'vitest';
import { bareRouter, expressRouter, fastifyRouter, isAmbiguousForRouter, pathSpellings } from './router.js';

describe('the spellings of a path', () => {
  it.each([
    ['/admin', bareRouter, []],
    ['/a%20b//c;d/', bareRouter, []],
    ['/admin', fastifyRouter, []],
    ['/admin/', fastifyRouter, []],
    ['/a%20b', fastifyRouter, ['/a b']],
    ['/a%2fb', bareRouter, []],
    ['/a%2fb', fastifyRouter, ['/a%2Fb', '/a/b']],
    ['/a%2Fb', fastifyRouter, ['/a%2fb', '/a/b']],
    ['/%2fa%2cb', { ...expressRouter, strictSlash: true }, ['/%2Fa%2Cb', '//a,b', '/a,b']],
    ['/a%5cb', { ...fastifyRouter, decodesPath: false }, ['/a\\b', '/a%5Cb', '/a/b']],
    ['//a', fastifyRouter, ['/a']],
    ['/a%21b%3f', fastifyRouter, ['/a!b%3f', '/a!b%3F', '/a!b?']],
    ['/caf%c3%a9', fastifyRouter, ['/café', '/caf%C3%A9']],
    ['/a%2541', fastifyRouter, ['/a%41']],
    ['/items/a%40b', expressRouter, ['/items/a@b', '/items/a%40b/', '/items/a@b/']],
    ['/a%zz', fastifyRouter, ['/a%ZZ']],
    ['/a;b/c', { ...bareRouter, semicolonDelimiter: true }, ['/a']],
    ['/admin', expressRouter, ['/admin/']],
    ['/admin/', expressRouter, ['/admin']],
    ['/', expressRouter, ['//']],
    ['/api//admin', expressRouter, ['/api/admin', '/api//admin/', '/api/admin/']],
  ])('%s with %o are %j', (path, settings, spellings) => {
    expect(pathSpellings(path, settings)).toEqual(spellings);
  });

  it('cost nothing for a plain path of a strict router', () => {
    expect(pathSpellings('/products/1', fastifyRouter)).toBe(pathSpellings('/stocks', fastifyRouter));
  });
});

describe('a path', () => {
  it.each(['/a%0d%0ab', '/a%7f', '/a%23%01'])('that a decoding router turns into another route is ambiguous: %s', (path) => {
    expect(isAmbiguousForRouter(path, fastifyRouter)).toBe(true);
    expect(isAmbiguousForRouter(path, expressRouter)).toBe(false);
  });

  it.each(['/x/../admin', '/./a', '/x/%2e%2e/admin', '/%2e/a', '/x/..', '/x\\..\\admin', '/x/..;a/admin'])(
    'with a dot segment left in it is ambiguous where files are served: %s',
    (path) => {
      expect(isAmbiguousForRouter(path, fastifyRouter)).toBe(true);
      expect(isAmbiguousForRouter(path, expressRouter)).toBe(true);
      expect(isAmbiguousForRouter(path, bareRouter)).toBe(false);
    },
  );

  it.each([
    '/x/..%2fadmin',
    '/x%2F..',
    '/x/%2e%2e%2Fadmin',
    '/x/.%5cadmin',
    '/x%2f..;a=b',
    '/..%5c',
    '/x%2f%2e%2e%2f%2e%2e/admin',
  ])('in which an encoded slash hides a dot segment is ambiguous to every router: %s', (path) => {
    for (const settings of [bareRouter, expressRouter, fastifyRouter]) expect(isAmbiguousForRouter(path, settings)).toBe(true);
  });

  it('that holds %00 is ambiguous to every router, for normalization refuses it in all modes but NONE', () => {
    for (const settings of [bareRouter, expressRouter, fastifyRouter])
      expect(isAmbiguousForRouter('/a%00b', settings)).toBe(true);
  });

  it.each([
    '/admin',
    '/a%2f...%2fb',
    '/a..%2fb',
    '/a%2f..b',
    '/x/..%252fadmin',
    '/a%20b',
    '/a%2fb',
    '/a%3f',
    '/a%23',
    '/a%252e',
    '/.well-known/x',
    '/%zz',
    '/%c0%af',
    '/caf%C3%A9',
    '/..%20/a',
  ])('that has spellings for all its readings is not ambiguous: %s', (path) => {
    expect(isAmbiguousForRouter(path, fastifyRouter)).toBe(false);
  });
});
