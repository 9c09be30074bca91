import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { claimsOf, parseDuration } from './claims.js';
import { publicJwk, readSigningKey, signToken } from './signing-key.js';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-keys-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const pem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' = 'pkcs8'): string =>
  key.export({ type, format: 'pem' }).toString();
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
const ed = generateKeyPairSync('ed25519').privateKey;

describe('a token and a key set of the same key file', () => {
  it.each([
    ['RSA', pem(rsa), undefined, 'RS256'],
    ['RSA (PKCS#1)', pem(rsa, 'pkcs1'), 'RS384', 'RS384'],
    ['RSA', pem(rsa), 'RS512', 'RS512'],
    ['RSA', pem(rsa), 'PS256', 'PS256'],
    ['RSA', pem(rsa), 'PS512', 'PS512'],
    ['P-256', pem(ec('P-256')), undefined, 'ES256'],
    ['P-384 (SEC1)', pem(ec('P-384'), 'sec1'), undefined, 'ES384'],
    ['P-521', pem(ec('P-521')), undefined, 'ES512'],
    ['Ed25519', pem(ed), undefined, 'EdDSA'],
    ['a JWK', JSON.stringify(rsa.export({ format: 'jwk' })), 'PS384', 'PS384'],
    ['a JWK with alg', JSON.stringify({ ...rsa.export({ format: 'jwk' }), alg: 'PS256' }), undefined, 'PS256'],
  ])('fit each other: %s signing %s', async (_, text, alg, expected) => {
    const key = await readSigningKey({ path: write('key', text), ...(alg === undefined ? {} : { alg }) });
    const jwk = publicJwk(key) as JWK;
    expect(jwk).not.toHaveProperty('d');
    expect(jwk).toMatchObject({ alg: expected, use: 'sig', kid: await calculateJwkThumbprint(jwk) });
    const { payload, protectedHeader } = await jwtVerify(
      signToken(key, { iss: 'i', sub: 's' }),
      createLocalJWKSet({ keys: [jwk] }),
    );
    expect(payload).toEqual({ iss: 'i', sub: 's' });
    expect(protectedHeader).toEqual({ alg: expected, kid: jwk.kid, typ: 'JWT' });
  });

  it('takes the key id from the flag before the one of the JWK', async () => {
    const path = write('jwk', JSON.stringify({ ...ed.export({ format: 'jwk' }), kid: 'own' }));
    expect((await readSigningKey({ path })).kid).toBe('own');
    expect((await readSigningKey({ path, kid: 'flag' })).kid).toBe('flag');
  });

  it('makes a key only where it is asked to and there is none, readable by its owner alone', async () => {
    const path = join(directory, 'new.key');
    await expect(readSigningKey({ path })).rejects.toThrow('does not exist');
    const made = await readSigningKey({ path, create: true });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, 'utf8');
    expect((await readSigningKey({ path, create: true })).kid).toBe(made.kid);
    expect(readFileSync(path, 'utf8')).toBe(text);
  });

  it.each([
    ['no key', 'secret-words', undefined],
    ['a symmetric JWK', '{"kty":"oct","k":"c2VjcmV0LXdvcmRz"}', undefined],
    ['an RSA key of 1024 bits', pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey), undefined],
    ['another curve', pem(ec('secp256k1')), undefined],
    ['an algorithm of another key', pem(ed), 'ES256'],
    ['a public key', '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}', undefined],
  ])('refuses %s without a word of the file', async (_, text, alg) => {
    const reading = readSigningKey({ path: write('bad', text), ...(alg === undefined ? {} : { alg }) });
    const error = await reading.then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.name).toBe('MisuseError');
    expect(error?.message).not.toMatch(/secret-words|c2VjcmV0|BEGIN/);
  });
});

describe('claimsOf', () => {
  const now = 1_700_000_000_000;
  it.each([
    [{ expires: '1h' }, { iat: 1_700_000_000, exp: 1_700_003_600 }],
    [
      { expires: 'never', issuer: 'i', subject: 's' },
      { iss: 'i', sub: 's', iat: 1_700_000_000 },
    ],
    [
      { expires: '-1m', notBefore: '-2m' },
      { iat: 1_700_000_000, nbf: 1_699_999_880, exp: 1_699_999_940 },
    ],
    [
      { expires: 'never', audience: ['a'] },
      { aud: 'a', iat: 1_700_000_000 },
    ],
    [
      { expires: 'never', audience: ['a', 'b'] },
      { aud: ['a', 'b'], iat: 1_700_000_000 },
    ],
    [
      { expires: '1h', claim: ['exp=5', 'iat=1'] },
      { exp: 5, iat: 1 },
    ],
    [
      { expires: 'never', claim: ['a=1', 'b=x=y', 'c=["g"]', 'd={"e":true}', 'f=', 'https://x/y="1"'] },
      { a: 1, b: 'x=y', c: ['g'], d: { e: true }, f: '', 'https://x/y': '1', iat: 1_700_000_000 },
    ],
    [{ expires: 'never', claim: ['__proto__=1'] }, JSON.parse('{"__proto__": 1, "iat": 1700000000}')],
  ])('turns %j into %j', (flags, expected) => {
    expect(JSON.stringify(Object.entries(claimsOf(flags, now)).toSorted())).toEqual(
      JSON.stringify(Object.entries(expected as object).toSorted()),
    );
  });

  it.each([
    [{ expires: '1h', claim: ['novalue'] }, 'must be name=value'],
    [{ expires: '1h', claim: ['=1'] }, 'must be name=value'],
    [{ expires: '1h', issuer: 'i', claim: ['iss=j'] }, 'given twice'],
    [{ expires: 'soon' }, 'must be a duration'],
  ])('refuses %j', (flags, message) => {
    expect(() => claimsOf(flags, now)).toThrow(message);
  });

  it.each([
    ['90s', 90],
    ['15m', 900],
    ['2h', 7200],
    ['7d', 604_800],
    ['-5m', -300],
  ])('reads %s as %i seconds', (text, seconds) => {
    expect(parseDuration(text, '--expires')).toBe(seconds);
  });
});
