import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { EnmeshError } from '../errors.js';
import { decodeBase64url } from './base64url.js';
import { isRocaModulus } from './roca.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** A public key that tokens may be verified with. `kid` and `alg` are empty when the JWK has none; `algorithms` are those that the key fits; without any it verifies nothing. */
export interface JwtKey {
  readonly kid: string;
  readonly alg: string;
  readonly algorithms: ReadonlySet<string>;
  readonly key: KeyObject;
}

/** A parsed key set, how many of its members are no usable keys, and how many of those hold a private key. */
export interface ParsedKeySet {
  readonly keys: readonly JwtKey[];
  readonly skipped: number;
  readonly privateKeys: number;
}

const maxKeys = 100;
const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'];
const curves: Readonly<Record<string, { readonly algorithm: string; readonly octets: number }>> = {
  'P-256': { algorithm: 'ES256', octets: 32 },
  'P-384': { algorithm: 'ES384', octets: 48 },
  'P-521': { algorithm: 'ES512', octets: 66 },
};

/**
 * Parses a JSON Web Key Set (RFC 7517 section 5). Members that are no usable public signature keys are skipped: symmetric and private keys,
 * `use: enc`, RSA under 2048 bits or with the ROCA flaw or an exponent other than 3 and 65537, unknown curves, an `alg` that does not fit.
 * Throws `ENMESH_JWT_KEY_SET_INVALID` when it is no object with a list `keys` of at most 100.
 */
export function parseKeySet(text: Uint8Array | string): ParsedKeySet {
  const members = keySetMembers(text);
  if (members.length > maxKeys) throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', `the key set has more than ${maxKeys} keys`);
  const keys = members.map(importKey).filter((key) => key !== undefined);
  const usable = keys.filter(({ algorithms }) => algorithms.size > 0);
  const privateKeys = members.filter(isPrivate).length;
  return { keys: usable.length === 0 ? [] : keys, skipped: members.length - usable.length, privateKeys };
}

/** The members of a JSON Web Key Set as they stand there. Throws `ENMESH_JWT_KEY_SET_INVALID` when it is no object with a list `keys`. */
export function keySetMembers(text: Uint8Array | string): readonly unknown[] {
  let set: unknown;
  try {
    set = parseStrictJson(text);
  } catch {
    throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', 'the key set is not JSON');
  }
  const members = isJsonObject(set) ? set['keys'] : undefined;
  if (!Array.isArray(members))
    throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', 'the key set is no JSON object with a list "keys"');
  return members;
}

const isPrivate = (member: unknown): boolean => isJsonObject(member) && member['kty'] !== 'oct' && 'd' in member;

function importKey(member: unknown): JwtKey | undefined {
  if (!isJsonObject(member)) return undefined;
  const isUsable = isForVerifying(member);
  // Envoy asks neither for the use of a key nor whether it is private, and an Ed25519 key may end its search: such a one stays in its place.
  if (!isUsable && member['kty'] !== 'OKP') return undefined;
  const { kid = '', alg = '' } = member;
  if (typeof kid !== 'string' || typeof alg !== 'string') return undefined;
  const material = member['kty'] === 'RSA' ? rsaKey(member) : member['kty'] === 'EC' ? ecKey(member) : edKey(member);
  if (material === undefined) return undefined;
  if (alg !== '' && !material.algorithms.includes(alg)) return undefined;
  return { kid, alg, algorithms: new Set(!isUsable ? [] : alg === '' ? material.algorithms : [alg]), key: material.key };
}

function isForVerifying(member: Readonly<Record<string, unknown>>): boolean {
  if ('d' in member || 'k' in member) return false;
  if (member['use'] !== undefined && member['use'] !== 'sig') return false;
  const operations = member['key_ops'];
  return operations === undefined || (Array.isArray(operations) && operations.includes('verify'));
}

interface KeyMaterial {
  readonly key: KeyObject;
  readonly algorithms: readonly string[];
}

function rsaKey(member: Readonly<Record<string, unknown>>): KeyMaterial | undefined {
  const n = octetsOf(member['n']);
  const e = octetsOf(member['e']);
  // Verification costs grow with the square of the size: a bound keeps one token from stopping the service.
  if (n === undefined || e === undefined || n.length < 256 || n.length > 1025 || isRocaModulus(n)) return undefined;
  const key = publicKey({ kty: 'RSA', n: member['n'] as string, e: member['e'] as string });
  const details = key?.asymmetricKeyDetails;
  if (key === undefined || details === undefined || (details.modulusLength ?? 0) < 2048) return undefined;
  return details.publicExponent === 3n || details.publicExponent === 65537n ? { key, algorithms: rsaAlgorithms } : undefined;
}

function ecKey(member: Readonly<Record<string, unknown>>): KeyMaterial | undefined {
  // Envoy takes an absent crv for P-256.
  const crv = member['crv'] ?? 'P-256';
  if (typeof crv !== 'string' || !Object.hasOwn(curves, crv)) return undefined;
  const curve = curves[crv];
  const { x, y } = member;
  if (curve === undefined || octetsOf(x)?.length !== curve.octets || octetsOf(y)?.length !== curve.octets) return undefined;
  const key = publicKey({ kty: 'EC', crv, x: x as string, y: y as string });
  return key && { key, algorithms: [curve.algorithm] };
}

function edKey(member: Readonly<Record<string, unknown>>): KeyMaterial | undefined {
  const { kty, crv, x } = member;
  if (kty !== 'OKP' || crv !== 'Ed25519' || octetsOf(x)?.length !== 32) return undefined;
  const key = publicKey({ kty, crv, x: x as string });
  return key && { key, algorithms: ['EdDSA'] };
}

const octetsOf = (value: unknown): Buffer | undefined => (typeof value === 'string' ? decodeBase64url(value) : undefined);

/** OpenSSL refuses what is no key, such as a point off its curve. */
function publicKey(key: JsonWebKey): KeyObject | undefined {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    return undefined;
  }
}
