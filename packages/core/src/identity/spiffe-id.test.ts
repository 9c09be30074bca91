import { describe, expect, it } from 'vitest';
import { formatIstioId, istioParts, parseSpiffeId } from './spiffe-id.js';

const invalid = expect.objectContaining({ code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID' });

describe('parseSpiffeId', () => {
  it('takes an ID apart and keeps its text', () => {
    const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';
    expect(parseSpiffeId(uri)).toEqual({ uri, trustDomain: 'cluster.local', path: '/ns/shop/sa/gateway' });
    expect(parseSpiffeId('spiffe://td_1.x')).toEqual({ uri: 'spiffe://td_1.x', trustDomain: 'td_1.x', path: '' });
  });

  it.each([
    ['a port', 'spiffe://td:80/a'],
    ['user information', 'spiffe://user@td/a'],
    ['a query', 'spiffe://td/a?b'],
    ['a fragment', 'spiffe://td/a#b'],
    ['upper case in the trust domain', 'spiffe://TD/a'],
    ['upper case in the scheme', 'SPIFFE://td/a'],
    ['percent encoding', 'spiffe://td/%61'],
    ['a dot segment', 'spiffe://td/a/../b'],
    ['an empty segment', 'spiffe://td//a'],
    ['a slash at the end', 'spiffe://td/a/'],
    ['a NUL', 'spiffe://td/a\0b'],
    ['a line feed at the end', 'spiffe://td/a\n'],
    ['a letter beyond ASCII', 'spiffe://td/\u00e4'],
    ['a trust domain of 256 bytes', `spiffe://${'a'.repeat(256)}/a`],
    ['2049 bytes', `spiffe://td/${'a'.repeat(2037)}`],
  ])('refuses %s', (_, text) => {
    expect(() => parseSpiffeId(text)).toThrow(invalid);
  });

  it('takes 2048 bytes, which every implementation must', () => {
    expect(parseSpiffeId(`spiffe://td/${'a'.repeat(2036)}`).uri).toHaveLength(2048);
  });
});

describe('Istio identities', () => {
  const parts = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'gateway' };

  it('are written and read back', () => {
    const uri = formatIstioId(parts);
    expect(uri).toBe('spiffe://cluster.local/ns/shop/sa/gateway');
    expect(istioParts(parseSpiffeId(uri))).toEqual({ namespace: 'shop', serviceAccount: 'gateway' });
  });

  it.each(['spiffe://td/ns/a', 'spiffe://td/ns/a/sa/b/c', 'spiffe://td/a/ns/a/sa/b', 'spiffe://td/NS/a/sa/b', 'spiffe://td'])(
    'are not seen in %s',
    (uri) => {
      expect(istioParts(parseSpiffeId(uri))).toBeUndefined();
    },
  );

  it.each([
    { ...parts, namespace: '' },
    { ...parts, namespace: 'a/sa/b', serviceAccount: 'c' },
    { ...parts, serviceAccount: 'a/b' },
    { ...parts, serviceAccount: '..' },
    { ...parts, trustDomain: 'td/ns/x/sa/y' },
  ])('are not written for parts that would name somebody else: %o', (bad) => {
    expect(() => formatIstioId(bad)).toThrow(invalid);
  });
});
