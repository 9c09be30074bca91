import { describe, expect, it } from 'vitest';
import { fullNames, matchesHost, parseHostName } from './host-name.js';

describe('host names', () => {
  it.each([
    ['Product.Shop', 'product.shop'],
    ['product.shop.', 'product.shop'],
    ['a_b.c-d', 'a_b.c-d'],
    ['127.0.0.1', '127.0.0.1'],
    ['[::1]', '[::1]'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ])('takes %j as %j', (given, name) => expect(parseHostName(given)).toBe(name));

  it.each([
    '',
    '.',
    'product..shop',
    'product.shop..',
    '.product',
    'pro\0duct',
    'prod\u0131ct',
    'product\u3002shop',
    'pro duct',
    'a@b',
    'a:80',
    'a/b',
    '-a',
    'a-',
    '*.shop',
    '::1',
    `${'a'.repeat(254)}`,
    `${'a.'.repeat(200)}b`,
  ])('refuses %j', (given) => expect(parseHostName(given)).toBeUndefined());

  it('knows the full names of short forms', () => {
    expect(fullNames('product', 'shop')).toEqual(['product.shop.svc.cluster.local']);
    expect(fullNames('product.shop', 'ops')).toEqual(['product.shop.svc.cluster.local']);
    expect(fullNames('product.shop.svc', 'ops')).toEqual([
      'product.shop.svc.svc.cluster.local',
      'product.shop.svc.cluster.local',
    ]);
    expect(fullNames('[::1]', 'ops')).toEqual([]);
  });

  it.each([
    ['*', 'anything', true],
    ['*.shop', 'a.b.shop', true],
    ['*.shop', 'shop', false],
    ['*.example', '*.cdn.example', true],
    ['*.cdn.example', '*.example', false],
    ['a.example', 'a.example', true],
    ['a.example', 'b.a.example', false],
  ])('pattern %s and host %s: %s', (pattern, host, matches) => expect(matchesHost(pattern, host)).toBe(matches));
});
