import { generateKeyPairSync, sign, constants, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseJwtBundle, readJwtSvid, verifyJwtSvid, type JwtBundleSet } from './jwt-svid.js';

const now = Date.UTC(2026, 10, 22);
const seconds = now / 1000;
const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const jwk = (key: KeyObject, members: object = {}) => ({ ...key.export({ format: 'jwk' }), ...members });
const setOf = (...keys: object[]): string => JSON.stringify({ keys });

const bundles: JwtBundleSet = new Map([
  ['td.test', parseJwtBundle('td.test', setOf(jwk(ec.publicKey, { kid: 'e' }), jwk(rsa.publicKey, { kid: 'r' })))],
  ['other.test', parseJwtBundle('other.test', setOf(jwk(other.publicKey, { kid: 'e' })))],
]);

interface Change {
  readonly header?: object;
  readonly claims?: object;
  readonly key?: KeyObject;
}

const write = ({ header = {}, claims = {}, key = ec.privateKey }: Change = {}): string => {
  const full = { alg: 'ES256', kid: 'e', typ: 'JWT', ...header };
  const payload = { sub: 'spiffe://td.test/web', aud: ['stock', 'product'], exp: seconds + 300, iat: seconds, ...claims };
  const input = [full, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const padding = full.alg.startsWith('PS') ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : {};
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363', ...padding });
  return `${input}.${signature.toString('base64url')}`;
};
const verify = (change: Change = {}, audience = 'stock', at = now) =>
  verifyJwtSvid({ token: write(change), audience, bundles, now: at });

describe('a JWT-SVID', () => {
  it('is taken for one of its audiences, with a signature of its own trust domain', () => {
    expect(verify()).toEqual({
      spiffeId: { uri: 'spiffe://td.test/web', trustDomain: 'td.test', path: '/web' },
      audiences: ['stock', 'product'],
      expiresAt: now + 300_000,
      claims: { sub: 'spiffe://td.test/web', aud: ['stock', 'product'], exp: seconds + 300, iat: seconds },
    });
    expect(verify({ claims: { aud: 'stock' } }).audiences).toEqual(['stock']);
    expect(verify({ header: { typ: 'JOSE' } }).spiffeId.path).toBe('/web');
    expect(verify({ header: { typ: undefined } }).spiffeId.path).toBe('/web');
    expect(verify({ header: { alg: 'RS256', kid: 'r' }, key: rsa.privateKey }).spiffeId.path).toBe('/web');
    expect(verify({ header: { alg: 'PS256', kid: 'r' }, key: rsa.privateKey }).spiffeId.path).toBe('/web');
  });

  it.each<[string, string, Change]>([
    [
      'of another trust domain, signed by a key of this one with the same kid',
      'no key of',
      { claims: { sub: 'spiffe://other.test/web' } },
    ],
    ['of a trust domain without a bundle', 'no JWT bundle', { claims: { sub: 'spiffe://third.test/web' } }],
    ['signed by a stranger', 'no key of', { key: other.privateKey }],
    ['with a kid that nobody has', 'no key of', { header: { kid: 'x' } }],
    ['with the kid of another key', 'no key of', { header: { kid: 'r' } }],
    ['without a kid', 'names no key', { header: { kid: undefined } }],
    ['with another typ', 'typ is neither', { header: { typ: 'at+jwt' } }],
    ['with a typ that is no text', 'typ is neither', { header: { typ: null } }],
    ['without an algorithm', 'no JWT', { header: { alg: 'none' } }],
    ['of a symmetric algorithm', 'its algorithm', { header: { alg: 'HS256' } }],
    ['of EdDSA', 'its algorithm', { header: { alg: 'EdDSA' } }],
    ['whose algorithm its key does not fit', 'no key of', { header: { alg: 'ES384' } }],
    ['with a key of its own in the header', 'no JWT', { header: { jwk: jwk(ec.publicKey) } }],
    ['with crit', 'no JWT', { header: { crit: ['exp'] } }],
    ['without a subject', 'no SPIFFE ID', { claims: { sub: undefined } }],
    ['whose subject is no SPIFFE ID', 'no SPIFFE ID', { claims: { sub: 'https://td.test/web' } }],
    ['without an audience', 'no audience', { claims: { aud: undefined } }],
    ['with an empty list of audiences', 'no audience', { claims: { aud: [] } }],
    ['with an audience that is no text', 'no JWT', { claims: { aud: [1] } }],
    ['for others', 'another audience', { claims: { aud: ['product', 'stock.example'] } }],
    ['without an end', 'it has no end', { claims: { exp: undefined } }],
    ['that ends at zero', 'it has expired', { claims: { exp: 0 } }],
    ['that ends now', 'it has expired', { claims: { exp: seconds } }],
    ['whose end is a text', 'no JWT', { claims: { exp: String(seconds + 300) } }],
    ['that begins in two minutes', 'not valid yet', { claims: { nbf: seconds + 120 } }],
  ])('%s is refused', (_, reason, change) => {
    const message = expect.stringContaining(reason) as unknown;
    expect(() => verify(change)).toThrow(expect.objectContaining({ code: 'ENMESH_JWT_SVID_INVALID', message }));
  });

  it('is refused without an audience to compare with, and where it cannot be read', () => {
    expect(() => verify({ claims: { aud: [''] } }, '')).toThrow(/another audience/);
    for (const token of ['', 'a.b', 'a.b.c', `${write()}=`, `${write()}.x`, 'x'.repeat(20_000)])
      expect(() => verifyJwtSvid({ token, audience: 'stock', bundles, now })).toThrow(/no JWT that can be read/);
  });

  it('is never quoted in what refuses it', () => {
    const token = write({ claims: { sub: 'spiffe://third.test/secret' } });
    expect.assertions(2);
    try {
      verifyJwtSvid({ token, audience: 'stock', bundles, now });
    } catch (error) {
      expect(String(error)).not.toContain('secret');
      expect(JSON.stringify(error)).not.toContain(token.slice(0, 20));
    }
  });

  it('can be read by its owner without keys', () => {
    expect(readJwtSvid(write({ key: other.privateKey }))).toMatchObject({
      audiences: ['stock', 'product'],
      expiresAt: now + 300_000,
    });
    expect(() => readJwtSvid(write({ claims: { sub: 'web' } }))).toThrow(/no SPIFFE ID/);
  });
});

describe('a JWT bundle', () => {
  const key = jwk(ec.publicKey, { kid: 'e' });
  const count = (text: string, isUseRequired = false): number => parseJwtBundle('td.test', text, { isUseRequired }).keys.length;

  it('holds keys for JWT-SVIDs, and in a SPIFFE bundle those with that use alone', () => {
    const text = setOf(key, { ...key, use: 'jwt-svid' }, { ...key, use: 'x509-svid' }, { ...key, use: 'sig' });
    expect([count(text), count(text, true)]).toEqual([2, 1]);
  });

  it('may be empty, and passes over what is no public key', () => {
    const secret = { kid: 's', kty: 'oct', k: 'AAAA' };
    expect([count('{"keys": []}'), count(setOf(secret, jwk(ec.privateKey, { kid: 'p' })))]).toEqual([0, 0]);
  });

  it.each([
    ['a key without kid', setOf(jwk(ec.publicKey))],
    ['text that is no JSON', 'keys'],
    ['no list of keys', '{"keys": {}}'],
    ['a member twice', '{"keys": [], "keys": []}'],
  ])('is refused with %s', (_, text) => {
    expect(() => count(text)).toThrow(expect.objectContaining({ code: 'ENMESH_JWT_KEY_SET_INVALID' }));
  });
});
