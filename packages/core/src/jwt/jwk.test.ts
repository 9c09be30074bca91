import { generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { calculateJwkThumbprint, importJWK } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { createTestIssuer } from '../testing/issuer.js';
import { parseKeySet } from './jwk.js';
import { isRocaModulus } from './roca.js';

const setOf = (...keys: readonly unknown[]) => parseKeySet(JSON.stringify({ keys }));
const exported = (
  kind: 'public' | 'private',
  pair: { publicKey: { export(o: { format: 'jwk' }): JsonWebKey }; privateKey: { export(o: { format: 'jwk' }): JsonWebKey } },
) => (kind === 'public' ? pair.publicKey : pair.privateKey).export({ format: 'jwk' });
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const rsa = (modulusLength: number, publicExponent = 65537) => generateKeyPairSync('rsa', { modulusLength, publicExponent });

const rsaKey = exported('public', rsa(2048));
const p256 = exported('public', ec('P-256'));
const ed = exported('public', generateKeyPairSync('ed25519'));

describe('keys that are used', () => {
  it.each([
    ['RSA without alg', rsaKey, ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
    ['RSA for PS512', { ...rsaKey, alg: 'PS512' }, ['PS512']],
    ['RSA with exponent 3', exported('public', rsa(2048, 3)), ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
    ['EC P-256', p256, ['ES256']],
    ['EC P-384', exported('public', ec('P-384')), ['ES384']],
    ['EC P-521', exported('public', ec('P-521')), ['ES512']],
    ['EC without crv', { kty: 'EC', x: p256.x, y: p256.y }, ['ES256']],
    ['Ed25519', ed, ['EdDSA']],
    ['one for signatures', { ...p256, use: 'sig', key_ops: ['verify'], kid: '', extra: 1 }, ['ES256']],
  ])('%s', async (_, jwk, algorithms) => {
    const { keys, skipped } = setOf(jwk);
    expect(skipped).toBe(0);
    expect(keys.map((key) => [...key.algorithms])).toEqual([algorithms]);
    const imported = await importJWK({ crv: 'P-256', ...(jwk as Record<string, string>), alg: algorithms[0] ?? '' });
    expect(imported).toBeDefined();
    const thumbprint = await calculateJwkThumbprint({ crv: 'P-256', ...(jwk as Record<string, string>) });
    expect(await calculateJwkThumbprint(keys[0]?.key.export({ format: 'jwk' }) as Record<string, string>)).toBe(thumbprint);
  });
});

describe('keys that are skipped', () => {
  const zeroPoint = { ...p256, x: Buffer.alloc(32).toString('base64url') };
  it.each([
    ['a symmetric key', { kty: 'oct', k: 'AAAA' }],
    ['a private key', exported('private', ec('P-256'))],
    ['a public key with k', { ...p256, k: 'AAAA' }],
    ['a key for encryption', { ...p256, use: 'enc' }],
    ['a use that is no string', { ...p256, use: null }],
    ['a key for other operations', { ...p256, key_ops: ['sign'] }],
    ['key_ops that is no list', { ...p256, key_ops: 'verify' }],
    ['RSA of 1024 bits', exported('public', rsa(1024))],
    [
      'RSA of 2040 bits in 256 octets',
      { ...rsaKey, n: Buffer.concat([Buffer.alloc(1), Buffer.alloc(255, 0xff)]).toString('base64url') },
    ],
    ['RSA with another exponent', { ...rsaKey, e: 'Aw8' }],
    ['RSA with exponent 1', { ...rsaKey, e: 'AQ' }],
    ['RSA of 16 384 bits', { ...rsaKey, n: Buffer.alloc(2048, 0xff).toString('base64url') }],
    ['RSA without n', { kty: 'RSA', e: 'AQAB' }],
    ['RSA with padded n', { ...rsaKey, n: `${rsaKey.n}==` }],
    ['RSA for ES256', { ...rsaKey, alg: 'ES256' }],
    ['RSA for encryption by alg', { ...rsaKey, alg: 'RSA-OAEP' }],
    ['a point off the curve', zeroPoint],
    ['a coordinate cut short', { ...p256, x: p256.x?.slice(0, 40) }],
    ['P-256 coordinates on P-384', { ...p256, crv: 'P-384' }],
    ['P-256 for ES384', { ...p256, alg: 'ES384' }],
    ['secp256k1', exported('public', ec('secp256k1'))],
    ['a curve called constructor', { ...p256, crv: 'constructor' }],
    ['a curve that is no string', { ...p256, crv: 7 }],
    ['X25519', exported('public', generateKeyPairSync('x25519'))],
    ['Ed448', exported('public', generateKeyPairSync('ed448'))],
    ['a short Ed25519 key', { ...ed, x: ed.x?.slice(0, 40) }],
    ['Ed25519 for ES256', { ...ed, alg: 'ES256' }],
    ['a kid that is no string', { ...p256, kid: 1 }],
    ['an alg that is no string', { ...p256, alg: 1 }],
    ['no kty', { crv: p256.crv, x: p256.x, y: p256.y }],
    ['a string', 'key'],
    ['null', null],
    ['a list', []],
  ])('%s', (_, jwk) => {
    expect(setOf(jwk, ed)).toMatchObject({ skipped: 1, keys: [{ kid: '' }] });
  });
});

describe('a key set', () => {
  it.each([
    ['HTML', '<html>'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no keys', '{}'],
    ['keys that are no list', '{"keys":{}}'],
    ['two lists of keys', '{"keys":[],"keys":[]}'],
    ['text after the end', '{"keys":[]} x'],
    ['the form of certificates by kid', '{"kid":"-----BEGIN CERTIFICATE-----"}'],
    ['101 keys', JSON.stringify({ keys: Array.from({ length: 101 }, () => 0) })],
  ])('is not %s', (_, text) => {
    expect(() => parseKeySet(text)).toThrow(expect.objectContaining({ code: 'ENMESH_JWT_KEY_SET_INVALID' }));
  });

  it('may be empty, or hold 100 keys', () => {
    expect(setOf()).toEqual({ keys: [], skipped: 0, privateKeys: 0 });
    expect(setOf(...Array.from({ length: 100 }, () => ed)).keys).toHaveLength(100);
  });
});

describe('the ROCA fingerprint', () => {
  let sound: readonly JsonWebKey[];
  beforeAll(async () => {
    sound = [...(await createTestIssuer()).jwks.keys, rsaKey];
  });

  it('is on a modulus that is a power of 65537 modulo every small prime', () => {
    const product = [
      3n,
      5n,
      7n,
      11n,
      13n,
      17n,
      19n,
      23n,
      29n,
      31n,
      37n,
      41n,
      43n,
      47n,
      53n,
      59n,
      61n,
      67n,
      71n,
      73n,
      79n,
      83n,
      89n,
      97n,
      101n,
      103n,
      107n,
      109n,
      113n,
      127n,
      131n,
      137n,
      139n,
      149n,
      151n,
      157n,
      163n,
      167n,
    ].reduce((a, b) => a * b);
    const weak = (product << 1900n) + 65537n ** 3n;
    const octets = Buffer.from(weak.toString(16).padStart(600, '0'), 'hex');
    expect(isRocaModulus(octets)).toBe(true);
    expect(
      setOf({ ...rsaKey, n: octets.subarray(octets.findIndex((octet) => octet !== 0)).toString('base64url') }, ed).keys,
    ).toHaveLength(1);
  });

  it('is not on sound keys', () => {
    for (const { n = '' } of sound) expect(isRocaModulus(Buffer.from(n, 'base64url'))).toBe(false);
    expect(isRocaModulus(Buffer.alloc(0))).toBe(false);
  });
});
