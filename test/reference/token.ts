import { constants, createPublicKey, verify, type JsonWebKey, type KeyObject } from 'node:crypto';
import { readJson } from './json.js';

export type Claims = Readonly<Record<string, unknown>>;

export interface Token {
  readonly header: Claims;
  readonly claims: Claims;
  /** The payload's segment as it stood in the token. */
  readonly payload: string;
  readonly signed: string;
  readonly signature: Buffer;
}

/** What is wrong, in the words of Envoy's answer (2.6). */
export class TokenFault extends Error {}

function fail(message: string): never {
  throw new TokenFault(message);
}

/** Base64url as Envoy's library reads it: white space is passed over, padding is optional but right. */
function decodeBase64(text: string, part: string): Buffer {
  let bare = text.replace(/[ \t\r\n\f\v]/g, '');
  if (bare.endsWith('=') && bare.length % 4 === 0) bare = bare.replace(/={1,2}$/, '');
  if (bare === '' || /[^A-Za-z0-9_-]/.test(bare) || bare.length % 4 === 1) fail(`Jwt ${part} is an invalid Base64url encoded`);
  return Buffer.from(bare, 'base64url');
}

function decodeObject(text: string, part: string): Claims {
  const bytes = decodeBase64(text, part);
  let value: unknown;
  try {
    value = readJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)) ?? {};
  } catch {
    fail(`Jwt ${part} is an invalid JSON`);
  }
  if (typeof value !== 'object' || Array.isArray(value)) fail(`Jwt ${part} is an invalid JSON`);
  return value as Claims;
}

const algorithms = /^((ES|HS|RS|PS)(256|384|512)|EdDSA)$/;

function checkClaims(claims: Claims): void {
  const text = (name: string): void => {
    if (claims[name] !== undefined && typeof claims[name] !== 'string') fail(`Jwt payload [${name}] field is not a string`);
  };
  text('iss');
  text('sub');
  for (const name of ['iat', 'nbf', 'exp']) {
    const value = claims[name];
    if (value === undefined) continue;
    if (typeof value !== 'number') fail(`Jwt payload [${name}] field is not an integer`);
    if (value < 0 || value >= 2 ** 64) fail(`Jwt payload [${name}] field is not a positive 64 bit integer`);
  }
  text('jti');
  const aud = claims['aud'];
  const isList = Array.isArray(aud) && aud.every((one) => typeof one === 'string');
  if (aud !== undefined && typeof aud !== 'string' && !isList) fail('Jwt payload [aud] field is not a string or string list');
}

/** Reads a token without verifying anything (2.5 step 1). Throws {@link TokenFault}. */
export function readToken(text: string): Token {
  const parts = text.split('.').filter((part) => part !== '');
  if (parts.length !== 3) fail('Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections');
  const [head = '', payload = '', tail = ''] = parts;
  const header = decodeObject(head, 'header');
  if (typeof header['alg'] !== 'string') fail('Jwt header [alg] field is required and must be a string');
  if (!algorithms.test(header['alg'])) fail('Jwt header [alg] is not supported');
  if (header['kid'] !== undefined && typeof header['kid'] !== 'string') fail('Jwt header [kid] field is not a string');
  const claims = decodeObject(payload, 'payload');
  checkClaims(claims);
  return { header, claims, payload, signed: `${head}.${payload}`, signature: decodeBase64(tail, 'signature') };
}

export type Jwk = JsonWebKey & { readonly kid?: string; readonly alg?: string };

function importKey(jwk: Jwk): KeyObject | undefined {
  try {
    if (jwk.kty === 'RSA') {
      if (!['AQAB', 'Aw'].includes(jwk.e ?? '') || !/^([RP]S|$)/.test(jwk.alg ?? '')) return undefined;
    }
    const crv = jwk.kty === 'EC' ? (jwk.crv ?? 'P-256') : jwk.crv;
    if (jwk.kty === 'OKP' && crv !== 'Ed25519') return undefined;
    const wanted: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
    if (jwk.kty === 'EC' && jwk.alg !== undefined && wanted[jwk.alg] !== crv) return undefined;
    return createPublicKey({ key: { ...jwk, ...(crv === undefined ? {} : { crv }) }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

const hashOf = (alg: string, family: RegExp): string => (family.test(alg) ? `sha${alg.slice(2)}` : 'sha256');

/** Whether a key verifies the token: the key's type decides, not the token's `alg` (2.5 step 5). */
function isSignedBy(key: KeyObject, { header, signed, signature }: Token): boolean {
  const alg = header['alg'] as string;
  const data = Buffer.from(signed);
  if (key.asymmetricKeyType === 'ed25519') {
    if (signature.length !== 64) fail('Jwt ED25519 signature is wrong length');
    return verify(null, data, key, signature);
  }
  if (key.asymmetricKeyType === 'ec') {
    // A signature with one byte too many is cut.
    const even = signature.subarray(0, signature.length - (signature.length % 2));
    return verify(hashOf(alg, /^ES(384|512)$/), data, { key, dsaEncoding: 'ieee-p1363' }, even);
  }
  const hash = hashOf(alg, /^[RP]S(384|512)$/);
  if (alg.startsWith('RS')) return verify(hash, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature);
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  return alg.startsWith('PS') && verify(hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature);
}

/** Throws {@link TokenFault} unless a key of the set verifies the token, or when an Ed25519 key comes first whose signatures have another length. */
export function checkSignature(token: Token, keys: readonly Jwk[]): void {
  const usable = keys.map((jwk) => ({ jwk, key: importKey(jwk) })).filter(({ key }) => key !== undefined);
  if (usable.length === 0) fail("Jwks doesn't have any valid public key");
  const { kid, alg } = token.header;
  const fitting = usable.filter(({ jwk }) => (!kid || !jwk.kid || jwk.kid === kid) && (!jwk.alg || jwk.alg === alg));
  if (fitting.length === 0) fail("Jwks doesn't have key to match kid or alg from Jwt");
  if (!fitting.some(({ key }) => isSignedBy(key as KeyObject, token))) fail('Jwt verification fails');
}
