import { describe, expect, it } from 'vitest';
import { noChanges, type HeaderAction, type RequestChanges } from '../custom/contract.js';
import { compileStrip } from '../propagation/strip.js';
import { createOverlay } from './header-overlay.js';

const strip = compileStrip(['x-payload']);
const lines: Record<string, string[]> = { 'x-there': ['a', 'b'] };
const base = { header: (name: string) => lines[name], query: 'a=1&b=2&a=3&c' };
const overlay = (changes: Partial<RequestChanges>) => createOverlay({ ...noChanges, ...changes }, base, strip);
const set = (name: string, action: HeaderAction = 'overwrite', isListed = false) => ({ name, value: 'v', action, isListed });

describe('what an authorizer changes', () => {
  it('is nothing where it changes nothing', () => {
    expect(overlay({})).toBeUndefined();
  });

  it.each([
    ['overwrite', 'x-there', 'v'],
    ['overwrite', 'x-new', 'v'],
    ['append', 'x-there', 'a,b,v'],
    ['append', 'x-new', undefined],
  ] as [HeaderAction, string, string | undefined][])('by %s of %s makes it %s', (action, name, value) => {
    expect(overlay({ setHeaders: [set(name, action)] })?.set.get(name)).toBe(value);
  });

  it.each(['host', 'content-length', 'transfer-encoding', 'connection', 'upgrade', ':path', ':authority'])(
    'is never %s',
    (name) => {
      expect(overlay({ setHeaders: [set(name, 'overwrite', true)], removeHeaders: [name] })).toBeUndefined();
    },
  );

  it.each(['x-payload', 'x_payload', 'sec-istio-auth-userinfo', 'x-forwarded-client-cert', 'x_enmesh-any', 'enmesh-hop-token'])(
    'is %s only where the configuration names it',
    (name) => {
      expect(overlay({ setHeaders: [set(name)] })).toBeUndefined();
      expect(overlay({ setHeaders: [set(name, 'overwrite', true)] })?.set.get(name)).toBe('v');
    },
  );

  it('is both removed and set as removed, and appended to what it set itself', () => {
    const both = overlay({
      removeHeaders: ['x-there'],
      setHeaders: [set('x-there'), set('x-there', 'append'), set('x-new', 'append'), set('x-new')],
    });
    expect([...(both?.set ?? [])]).toEqual([['x-new', 'v,v']]);
    expect([...(both?.removed ?? [])]).toEqual(['x-there']);
  });

  it.each([
    [[], ['a'], '?b=2&c'],
    [[], ['a', 'b', 'c'], ''],
    [[['b', 'new']], [], '?a=1&a=3&c&b=new'],
    [[['d', 'x&y=z #ü']], ['c'], '?a=1&b=2&a=3&d=x%26y%3Dz%20%23%C3%BC'],
  ] as [[string, string][], string[], string][])('of the query, set %j and removed %j, is %s', (setQuery, removeQuery, query) => {
    expect(overlay({ setQuery, removeQuery })?.query).toBe(query);
  });
});
