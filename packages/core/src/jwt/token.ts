import { decodeBase64url } from './base64url.js';
import { refusals, type JwtRefusal } from './outcome.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** Longest token, in characters, that is looked at. */
export const maxTokenLength = 16 * 1024;

/** Clock skew that Istio grants, in milliseconds. */
const skew = 60_000;

/** A JWT (RFC 7519) in compact form whose parts were read strictly. Nothing of it is verified yet. */
export interface Token {
  readonly ok: true;
  readonly alg: string;
  /** Empty when the header names no key. */
  readonly kid: string;
  readonly signingInput: string;
  readonly signature: Uint8Array;
  /** The payload as it stands in the token. */
  readonly payloadSegment: string;
  /** Deeply frozen, because the verified claims are shared by all requests with this token. */
  readonly payload: Readonly<Record<string, unknown>>;
  readonly issuer: string | undefined;
  readonly subject: string | undefined;
  readonly audiences: readonly string[];
  /** The audiences as {@link sanitizeAudience} leaves them. */
  readonly comparedAudiences: readonly string[];
  readonly presenter: string | undefined;
  /** `exp` in milliseconds since the epoch, Infinity without one. */
  readonly expiresAt: number;
  /** The times, in milliseconds since the epoch and with 60 seconds of skew, between which the token counts: from inclusive, until exclusive. */
  readonly validFrom: number;
  readonly validUntil: number;
}

// HS* parse because Istio's answer to them is that of a failed verification; no key here ever fits one.
const knownAlgorithms = new Set(
  ['RS', 'PS', 'ES', 'HS'].flatMap((family) => [256, 384, 512].map((size) => `${family}${size}`)).concat('EdDSA'),
);
const refusedMembers = ['crit', 'b64', 'jku', 'x5u', 'jwk', 'zip', 'enc'];

/**
 * Reads a token strictly, in the order and with the answers of Envoy's parser (istio-semantics 2.5 step 1 and 2.6), and refuses what that
 * parser lets pass: other spellings of base64url, extra dots, lax JSON, `crit` and its kin, more than 16 KiB.
 */
export function parseToken(text: string): Token | JwtRefusal {
  if (text.length > maxTokenLength) return refusals.tooLong;
  const parts = text.split('.', 4);
  const [head, body, tail] = parts;
  if (parts.length !== 3 || !head || !body || !tail) return refusals.form;
  const header = parseHeader(head);
  if ('ok' in header) return header;
  const octets = decodeBase64url(body);
  if (octets === undefined) return refusals.payloadBase64;
  const payload = parseObject(octets);
  if (payload === undefined) return refusals.payloadJson;
  const claims = parseClaims(payload);
  if ('ok' in claims) return claims;
  const signature = decodeBase64url(tail);
  if (signature === undefined) return refusals.signatureBase64;
  const signingInput = text.slice(0, head.length + 1 + body.length);
  return { ok: true, ...header, ...claims, signingInput, signature, payloadSegment: body, payload: deepFreeze(payload) };
}

/** An audience as it is compared: without a leading `http://` or `https://` and without one trailing slash (Envoy's CheckAudience). */
export function sanitizeAudience(audience: string): string {
  const start = audience.startsWith('http://') ? 7 : audience.startsWith('https://') ? 8 : 0;
  return audience.slice(start, audience.endsWith('/') ? -1 : undefined);
}

function parseHeader(segment: string): Pick<Token, 'alg' | 'kid'> | JwtRefusal {
  const octets = decodeBase64url(segment);
  if (octets === undefined) return refusals.headerBase64;
  const header = parseObject(octets);
  if (header === undefined) return refusals.headerJson;
  const alg = own(header, 'alg');
  if (typeof alg !== 'string') return refusals.algMissing;
  if (!knownAlgorithms.has(alg)) return refusals.algUnsupported;
  const kid = own(header, 'kid') ?? '';
  if (typeof kid !== 'string' || (kid === '' && own(header, 'kid') === null)) return refusals.kidType;
  if (refusedMembers.some((name) => Object.hasOwn(header, name))) return refusals.headerMember;
  return { alg, kid };
}

type Claims = Pick<
  Token,
  'issuer' | 'subject' | 'audiences' | 'comparedAudiences' | 'presenter' | 'expiresAt' | 'validFrom' | 'validUntil'
>;

function parseClaims(payload: Readonly<Record<string, unknown>>): Claims | JwtRefusal {
  const issuer = own(payload, 'iss');
  const subject = own(payload, 'sub');
  if (!isOptionalString(issuer)) return refusals.issType;
  if (!isOptionalString(subject)) return refusals.subType;
  const seconds: number[] = [];
  for (const name of ['iat', 'nbf', 'exp'] as const) {
    const value = own(payload, name) ?? (Object.hasOwn(payload, name) ? null : 0);
    if (typeof value !== 'number') return refusals[`${name}Type`];
    if (!(value >= 0 && value < 2 ** 64)) return refusals[`${name}Range`];
    seconds.push(Math.trunc(value));
  }
  const [, notBefore = 0, expiry = 0] = seconds;
  if (!isOptionalString(own(payload, 'jti'))) return refusals.jtiType;
  const audiences = Object.hasOwn(payload, 'aud') ? stringList(payload['aud']) : [];
  if (audiences === undefined) return refusals.audType;
  const presenter = own(payload, 'azp');
  return {
    issuer,
    subject,
    audiences,
    comparedAudiences: audiences.map(sanitizeAudience),
    presenter: typeof presenter === 'string' ? presenter : undefined,
    // Zero means no expiry, as in Envoy.
    expiresAt: expiry === 0 ? Infinity : expiry * 1000,
    validFrom: notBefore === 0 ? -Infinity : notBefore * 1000 - skew,
    // Envoy compares whole seconds: a token still counts during the second `exp + 60`.
    validUntil: expiry === 0 ? Infinity : expiry * 1000 + skew + 1000,
  };
}

function parseObject(octets: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseStrictJson(octets);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

// JSON objects inherit from Object.prototype; a claim must be the token's own.
const own = (object: Readonly<Record<string, unknown>>, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;

const isOptionalString = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string';

function stringList(value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return Object.freeze([value]);
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? (value as string[]) : undefined;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) deepFreeze(member);
    Object.freeze(value);
  }
  return value;
}
