import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePaths, compileRequestPaths } from './path.js';

describe('a path template', () => {
  it.each<readonly [string, readonly string[], readonly string[]]>([
    ['/a/{*}', ['/a/b', '/a/b=c', '/a/%20', '/a/*'], ['/a', '/a/', '/a/b/', '/a/b/c', '/a/[b]', '/a/b"', '/x/b', '/a/é']],
    ['/a/{*}/c', ['/a/b/c'], ['/a//c', '/a/b/c/', '/a/b/d', '/a/b/cc', '/a/b']],
    ['/{*}', ['/a'], ['/', '/a/b', 'a']],
    ['/a/{**}', ['/a/', '/a/b', '/a//b/', '/a/b/c'], ['/a', '/ab', '/a/[b]', '/a/b/|']],
    ['/{**}', ['/', '/a', '/a/b'], ['', 'a']],
    ['/a/{**}/z', ['/a//z', '/a/b/z', '/a/b/c/z', '/a/z/z'], ['/a/z', '/a/b/zz', '/a/b/z/', '/a/b']],
    ['/a/{*}/{**}/y/z', ['/a/b//y/z', '/a/b/c/y/z'], ['/a/b/y/z', '/a//c/y/z']],
    ['/a/{*}/', ['/a/b/'], ['/a/b']],
    ['/a.b/{*}', ['/a.b/c'], ['/axb/c']],
  ])('%s matches %j and not %j', (template, matching, others) => {
    const matches = compilePaths([template]);
    expect(matching.filter((path) => matches?.(path) !== true)).toEqual([]);
    expect(others.filter((path) => matches?.(path) !== false)).toEqual([]);
  });

  it.each(['{*}', 'a/{*}', '/a{*}', '/{x}', '/a/{', '/a/}', '/{**}/{*}', '/{**}/{**}', '/{***}', '/{*}{*}'])(
    'that Envoy would not load cannot be judged: %s',
    (value) => {
      expect(compilePaths(['/ok', value])).toBeUndefined();
    },
  );
});

describe('path templates', () => {
  it("agree with Envoy's pattern (istio-semantics 3.7)", () => {
    const literal = fc.constantFrom('a', 'b', 'a.b', 'ab');
    const head = fc.array(fc.oneof(literal, fc.constant('{*}')), { minLength: 1, maxLength: 3 });
    const tail = fc.option(fc.array(literal, { maxLength: 2 }), { nil: undefined });
    const path = fc.array(fc.constantFrom('/', 'a', 'b', '.', '[', '/ab'), { maxLength: 9 }).map((parts) => `/${parts.join('')}`);
    const set = "[A-Za-z0-9._~%!$&'()+,;:@=*-]";
    const slashSet = set.replace('[', '[/');
    fc.assert(
      fc.property(head, tail, path, (segments, rest, text) => {
        const template = [...segments, ...(rest === undefined ? [] : ['{**}', ...rest])];
        const parts = template.map(
          (segment) => ({ '{*}': `${set}+`, '{**}': `${slashSet}*` })[segment] ?? segment.replaceAll('.', '\\.'),
        );
        expect(compilePaths([`/${template.join('/')}`])?.(text)).toBe(
          segments.includes('{*}') || rest !== undefined
            ? new RegExp(`^/${parts.join('/')}$`).test(text)
            : text === `/${template.join('/')}`,
        );
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the paths of a rule', () => {
  const request = (path: string, pathSpellings: readonly string[], pathIgnoresCase: boolean): RequestAttributes =>
    ({ path, pathSpellings, pathIgnoresCase }) as RequestAttributes;

  it('match any spelling of the route only where a match refuses', () => {
    const spelled = request('/admin/', ['/admin'], false);
    expect(compileRequestPaths(['/admin'], true)?.(spelled)).toBe(true);
    expect(compileRequestPaths(['/admin'], false)?.(spelled)).toBe(false);
  });

  it('ignore case only where a match refuses and the router ignores it', () => {
    for (const value of ['/Admin', '/ADMIN/{*}', '/aDm*', '*N']) {
      const path = value.includes('{') ? '/admin/x' : '/admin';
      expect(compileRequestPaths([value], true)?.(request(path, [], true))).toBe(true);
      expect(compileRequestPaths([value], true)?.(request(path, [], false))).toBe(false);
      expect(compileRequestPaths([value], false)?.(request(path, [], true))).toBe(false);
    }
    expect(compileRequestPaths(['/admin'], true)?.(request('/x', ['/ADMIN'], true))).toBe(true);
  });
});
