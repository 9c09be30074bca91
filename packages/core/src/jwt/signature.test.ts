import { constants, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseKeySet } from './jwk.js';
import { refusals, type JwtRefusal } from './outcome.js';
import { checkSignature } from './signature.js';
import { parseJws, type Jws } from './jws.js';

const pairs = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ed: generateKeyPairSync('ed25519'),
};
type Name = keyof typeof pairs;

const signingInput = 'header.payload';
const padding = constants.RSA_PKCS1_PADDING;
const signers: Readonly<Record<string, (key: KeyObject) => Buffer>> = {
  RS256: (key) => sign('sha256', Buffer.from(signingInput), { key, padding }),
  ES256: (key) => sign('sha256', Buffer.from(signingInput), { key, dsaEncoding: 'ieee-p1363' }),
  ES384: (key) => sign('sha384', Buffer.from(signingInput), { key, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (key) => sign(null, Buffer.from(signingInput), key),
};

function tokenOf(alg: string, by: Name, kid = ''): Jws {
  const signature = signers[alg]?.(pairs[by].privateKey) ?? Buffer.alloc(0);
  const text = `${signingInput}.${signature.toString('base64url')}`;
  const rest = { signedLength: signingInput.length, payloadSegment: 'payload', claims: {}, objection: undefined };
  return { ok: true, alg, kid, text, ...rest };
}

function check(token: Jws, ...keys: readonly (readonly [Name, object?])[]): JwtRefusal | undefined {
  const set = { keys: keys.map(([name, more]) => ({ ...pairs[name].publicKey.export({ format: 'jwk' }), ...more })) };
  return checkSignature(token, parseKeySet(JSON.stringify(set)).keys);
}

// Measured with Envoy 1.40.0.
describe('the keys of a set', () => {
  it.each([
    ['RS256', 'rsa'],
    ['ES384', 'p384'],
  ] as const)('are tried in their order for %s until an Ed25519 one ends it by the length of its signatures', (alg, by) => {
    expect(check(tokenOf(alg, by), [by], ['ed'])).toBeUndefined();
    expect(check(tokenOf(alg, by), ['p256'], [by], ['ed'])).toBeUndefined();
    expect(check(tokenOf(alg, by), ['ed'], [by])).toBe(refusals.ed25519Length);
    expect(check(tokenOf(alg, by, 'k'), ['ed', { kid: 'k' }], [by, { kid: 'k' }])).toBe(refusals.ed25519Length);
  });

  it('are ended by an Ed25519 key for another use too, which itself verifies nothing', () => {
    expect(check(tokenOf('RS256', 'rsa'), ['ed', { use: 'enc' }], ['rsa'])).toBe(refusals.ed25519Length);
    expect(check(tokenOf('EdDSA', 'ed'), ['ed', { use: 'enc' }], ['rsa'])).toBe(refusals.signature);
    expect(check(tokenOf('EdDSA', 'ed'), ['ed', { use: 'enc' }])).toBe(refusals.noUsableKey);
  });

  it('go on behind an Ed25519 key that is for another kid or alg, or whose signatures are as long', () => {
    expect(check(tokenOf('RS256', 'rsa', 'k'), ['ed', { kid: 'other' }], ['rsa', { kid: 'k' }])).toBeUndefined();
    expect(check(tokenOf('RS256', 'rsa'), ['ed', { alg: 'EdDSA' }], ['rsa'])).toBeUndefined();
    expect(check(tokenOf('ES256', 'p256'), ['ed'], ['p256'])).toBeUndefined();
    expect(check(tokenOf('EdDSA', 'ed'), ['rsa'], ['p256'], ['ed'])).toBeUndefined();
  });

  it('say whether one was tried or none was meant', () => {
    expect(check(tokenOf('RS256', 'rsa'), ['p256'])).toBe(refusals.signature);
    expect(check(tokenOf('RS256', 'rsa'), ['p256', { alg: 'ES256' }])).toBe(refusals.keyUnknown);
    expect(check(tokenOf('RS256', 'rsa', 'k'), ['rsa', { kid: 'other' }])).toBe(refusals.keyUnknown);
  });
});

describe('the signature of a token', () => {
  const header = (alg: string): string => Buffer.from(JSON.stringify({ alg })).toString('base64url');
  const signed = (by: KeyObject, claims: object): string => {
    const input = `${header('RS256')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    return `${input}.${sign('sha256', Buffer.from(input), by).toString('base64url')}`;
  };
  const read = (text: string): Jws => {
    const jws = parseJws(text, () => ({}));
    if (!jws.ok) throw new Error(jws.reason);
    return jws;
  };
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const text = signed(pairs.rsa.privateKey, { sub: 'alice' });

  it.each([
    ['another token', signed(other.privateKey, { sub: 'bob' })],
    ['one of no signature', `${text.slice(0, text.lastIndexOf('.') + 1)}A`],
    ['one whose signature ends in another alphabet', `${signed(other.privateKey, { sub: 'bob' }).slice(0, -1)}!`],
    ['no token', 'junk'],
  ])('is its own although %s was read in between', (_, between) => {
    const token = read(text);
    expect(check(token, ['rsa'])).toBeUndefined();
    parseJws(between, () => ({}));
    expect(check(token, ['rsa'])).toBeUndefined();
    expect(check(read(signed(other.privateKey, { sub: 'bob' })), ['rsa'])).toBe(refusals.signature);
    expect(check(token, ['rsa'])).toBeUndefined();
  });
});
