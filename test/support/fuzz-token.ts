import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { Dice } from '../reference/random-values.js';

interface SigningKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: KeyObject;
  readonly jwk: object;
}

function createKey(kid: string, alg: string): SigningKey {
  const pair =
    alg === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid, alg, privateKey: pair.privateKey, jwk: { ...pair.publicKey.export({ format: 'jwk' }), kid } };
}

let made: { readonly mine: readonly SigningKey[]; readonly foreign: SigningKey } | undefined;
/** Made once a process: no verdict depends on which they are. */
const keys = (): NonNullable<typeof made> =>
  (made ??= { mine: [createKey('ec', 'ES256'), createKey('rsa', 'RS256')], foreign: createKey('ec', 'ES256') });

/** A key set for `jwks`, of one of the keys that sign random tokens, or of all. */
export function randomKeySet(dice: Dice): string {
  const { mine } = keys();
  const chosen = dice.isOneIn(3) ? mine.slice(0, 1) : mine;
  return JSON.stringify({ keys: chosen.map(({ jwk }) => jwk) });
}

/** Signs claims with the key that every key set has. */
export function signToken(claims: object): string {
  const [{ kid, alg, privateKey }] = keys().mine as [SigningKey];
  const signed = `${encode({ alg, kid })}.${encode(claims)}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/**
 * Signs claims, mostly well. With `isPlain` nothing is made that only some readers refuse: beside other rules it would be a matter of which of two users
 * a request is taken for.
 */
export function randomToken(dice: Dice, claims: object, isPlain: boolean): string {
  const { mine, foreign } = keys();
  const key = dice.isOneIn(12) ? foreign : dice.pick(mine);
  const header = { alg: key.alg, typ: 'JWT', ...(!dice.isOneIn(4) && { kid: dice.isOneIn(15) ? 'other' : key.kid }) };
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(signed), { key: key.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  const token = `${signed}.${signature}`;
  if (!dice.isOneIn(12)) return token;
  const tail = signature.length - 20;
  return dice.pick([
    () => token.slice(0, -1 - tail),
    () => `${signed}.`,
    () => signed,
    () => (isPlain ? signed : `${token}x`),
    () => (isPlain ? token : ` ${token}`),
    () => `${encode({ ...header, alg: 'none' })}.${encode(claims)}.`,
    () => `${signed}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
    () => 'garbage',
    () => '',
  ])();
}
