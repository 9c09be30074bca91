import { isEnmeshError } from '../../errors.js';
import { parseKeySet } from '../../jwt/jwk.js';

/** What is wrong with an inline key set. An `error` refuses the document; a `warning` leaves some of its keys unused. */
export interface KeySetFault {
  readonly level: 'error' | 'warning';
  readonly message: string;
  readonly hint?: string;
}

const base64url = /^[A-Za-z0-9_-]+$/;
const curves: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

/**
 * What is wrong with the text of `jwks` (RFC 7517): it must be a JSON object with `keys`, each with the members of its `kty` (RFC 7518 section 6, RFC 8037),
 * and at least one of them must be a public key that `jwt/` verifies tokens with. No message holds key material.
 * Stricter than Istio, which admits sets without a usable key and then refuses every token.
 */
export function findKeySetFaults(jwks: string): KeySetFault[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(jwks);
  } catch {
    return [{ level: 'error', message: 'is not JSON' }];
  }
  const keys = isObject(parsed) ? parsed['keys'] : undefined;
  if (!Array.isArray(keys)) {
    return [{ level: 'error', message: 'must be a JSON object with a list `keys`', hint: 'a single key goes in {"keys":[...]}' }];
  }
  if (keys.length > 100) return [{ level: 'error', message: `holds ${keys.length} keys; at most 100 are read` }];
  const malformed = describeEach(keys, findMalformed);
  if (malformed.length > 0) return malformed.map((message) => ({ level: 'error', message }));
  return findUnusableKeys(jwks, keys as Key[]);
}

function findUnusableKeys(jwks: string, keys: readonly Key[]): KeySetFault[] {
  const unusable = describeEach(keys, findUnusable);
  const { usable, skipped } = countUsable(jwks, keys.length);
  if (usable === 0) {
    const hint = unusable[0] ?? (keys.length === 0 ? 'keys is empty' : 'none of its keys is valid');
    return [{ level: 'error', message: 'holds no usable public key, so every token would be refused', hint }];
  }
  const faults = unusable.map((message): KeySetFault => ({ level: 'warning', message: `${message}, so it is not used` }));
  const others = skipped - unusable.length;
  if (others > 0) faults.push({ level: 'warning', message: `${others} of its keys are not valid and not used` });
  return faults;
}

/** The judgement of the code that verifies tokens: what it cannot use must not pass here. */
function countUsable(jwks: string, total: number): { readonly usable: number; readonly skipped: number } {
  try {
    const set = parseKeySet(jwks);
    return { usable: set.keys.length, skipped: set.skipped };
  } catch (error) {
    if (isEnmeshError(error)) return { usable: 0, skipped: total };
    throw error;
  }
}

function describeEach<T>(keys: readonly T[], describe: (key: T) => string | undefined): string[] {
  return keys.flatMap((key, index) => {
    const fault = describe(key);
    return fault === undefined ? [] : [`keys[${index}] ${fault}`];
  });
}

type Key = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Key {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const members: Readonly<Record<string, readonly string[]>> = { RSA: ['n', 'e'], EC: ['x', 'y'], OKP: ['x'], oct: ['k'] };

function findMalformed(key: unknown): string | undefined {
  if (!isObject(key)) return 'is no object';
  const kty = key['kty'];
  if (typeof kty !== 'string' || !Object.hasOwn(members, kty)) return 'has no known `kty` (RSA, EC, OKP)';
  if (key['kid'] !== undefined && typeof key['kid'] !== 'string') return 'has a `kid` that is no string';
  if (kty !== 'RSA' && kty !== 'oct' && typeof key['crv'] !== 'string') return 'has no `crv`';
  const bad = members[kty]!.find((name) => typeof key[name] !== 'string' || !base64url.test(key[name]));
  return bad === undefined ? undefined : `has no \`${bad}\` in base64url`;
}

function findUnusable(key: Key): string | undefined {
  if (key['kty'] === 'oct') return 'is a symmetric key, which whoever verifies could sign with';
  if (key['d'] !== undefined) return 'is a private key, which does not belong in a configuration';
  if (key['use'] !== undefined && key['use'] !== 'sig') return 'is not for signatures (`use`)';
  const crv = String(key['crv']);
  if (key['kty'] === 'RSA') return byteLength(key['n']) < 256 ? 'is an RSA key of less than 2048 bits' : undefined;
  if (key['kty'] === 'OKP') return crv === 'Ed25519' && byteLength(key['x']) === 32 ? undefined : 'is no Ed25519 key';
  const size = Object.hasOwn(curves, crv) ? curves[crv] : undefined;
  return size !== undefined && byteLength(key['x']) === size && byteLength(key['y']) === size
    ? undefined
    : 'is no point of P-256, P-384 or P-521';
}

function byteLength(member: unknown): number {
  return Buffer.from(String(member), 'base64url').length;
}
