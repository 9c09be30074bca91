import { beforeAll, describe, expect, it } from 'vitest';
import { createTestAuthority } from '../testing/authority.js';
import { parsePem } from '../x509/pem.js';
import { verifyServerIdentity } from './secure-naming.js';

const stock = 'spiffe://cluster.local/ns/shop/sa/stock';
let leaf: Uint8Array;

beforeAll(async () => {
  const authority = await createTestAuthority();
  const { chain } = await authority.issue({ namespace: 'shop', serviceAccount: 'stock' });
  leaf = parsePem(chain, 'CERTIFICATE')[0] ?? Buffer.alloc(0);
});

describe('verifyServerIdentity', () => {
  it('gives the identity of a server that may be the service', () => {
    expect(verifyServerIdentity({ service: 'stock.shop', expected: ['spiffe://old/ns/shop/sa/stock', stock], leaf }).uri).toBe(
      stock,
    );
  });

  it.each<[string, readonly string[]]>([
    ['nobody', []],
    ['another service account', ['spiffe://cluster.local/ns/shop/sa/product']],
    ['another trust domain', ['spiffe://td2/ns/shop/sa/stock']],
    ['a prefix of the identity', ['spiffe://cluster.local/ns/shop/sa/sto']],
    ['a longer identity', [`${stock}-2`]],
    ['another case', [stock.toUpperCase()]],
    ['the principal without its scheme', ['cluster.local/ns/shop/sa/stock']],
    ['a wildcard', ['spiffe://cluster.local/ns/shop/sa/*', '*']],
    ['an empty name', ['']],
  ])('refuses it where %s is expected', (_title, expected) => {
    expect(() => verifyServerIdentity({ service: 'stock.shop', expected, leaf })).toThrow(
      expect.objectContaining({ code: 'ENMESH_TLS_SECURE_NAMING', status: 502 }),
    );
  });

  it('names the service, what was expected and what was presented, briefly', () => {
    const expected = [1, 2, 3, 4, 5].map((number) => `spiffe://cluster.local/ns/shop/sa/s${number}`);
    expect(() => verifyServerIdentity({ service: 'product.shop', expected, leaf })).toThrow(
      `product.shop is not who answers: it may be ${expected.slice(0, 3).join(', ')} and 2 more, and the server is ${stock}`,
    );
  });
});
