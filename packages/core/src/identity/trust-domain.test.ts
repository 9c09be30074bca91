import { describe, expect, it } from 'vitest';
import { parseTrustDomain } from './trust-domain.js';

describe('parseTrustDomain', () => {
  it.each([
    ['cluster.local', 'cluster.local'],
    ['spiffe://cluster.local', 'cluster.local'],
    ['spiffe://td.example/ns/a/sa/b', 'td.example'],
    ['a'.repeat(255), 'a'.repeat(255)],
  ])('reads %s', (text, name) => {
    expect(parseTrustDomain(text)).toBe(name);
  });

  it.each(['', 'Cluster.local', 'a b', 'a/b', 'a:80', 'http://td', 'spiffe://', 'td\n', 'a'.repeat(256)])(
    'refuses %j',
    (text) => {
      expect(() => parseTrustDomain(text)).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_TRUST_DOMAIN_INVALID' }));
    },
  );
});
