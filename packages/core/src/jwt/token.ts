import { own, parseJws, parseObject, type Jws } from './jws.js';
import { refusals, type JwtRefusal } from './outcome.js';

/** Clock skew that Istio grants, in milliseconds. */
const skew = 60_000;

/** A JWT (RFC 7519) in compact form whose parts were read strictly. Nothing of it is verified yet. */
export type Token = Jws<TokenClaims>;

/** The claims that rules compare, of the right types. */
export interface TokenClaims {
  /** What is in it is frozen, because the verified claims are shared by all requests with this token; whoever hands out the whole freezes that. */
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

/** Reads a JWT: a strict compact JWS whose payload is a JSON object with claims of the right types (istio-semantics 2.5). */
export function parseToken(text: string): Token | JwtRefusal {
  const token = readToken(text);
  return token.ok && token.objection !== undefined ? token.objection : token;
}

/**
 * Reads a JWT for whoever looks at {@link Jws.objection} once everything else is known to be good, because Istio would tell of that first. Nobody else
 * may: without that look a token with `crit` or a key of its own passes.
 */
export function readToken(text: string): Token | JwtRefusal {
  return parseJws(text, readClaims);
}

function readClaims(octets: Uint8Array): TokenClaims | JwtRefusal {
  const payload = parseObject(octets);
  // Envoy reads null as an object without claims, then misses the issuer.
  if (payload === null) return refusals.issuer;
  if (payload === undefined) return refusals.payloadJson;
  return parseClaims(payload);
}

/** An audience as it is compared: without a leading `http://` or `https://` and without one trailing slash (Envoy's CheckAudience). */
export function sanitizeAudience(audience: string): string {
  const start = audience.startsWith('http://') ? 7 : audience.startsWith('https://') ? 8 : 0;
  return audience.slice(start, audience.endsWith('/') ? -1 : undefined);
}

const isSanitized = (audience: string): boolean => sanitizeAudience(audience) === audience;

function parseClaims(payload: Readonly<Record<string, unknown>>): TokenClaims | JwtRefusal {
  const issuer = own(payload, 'iss');
  const subject = own(payload, 'sub');
  if (!isOptionalString(issuer)) return refusals.issType;
  if (!isOptionalString(subject)) return refusals.subType;
  const issuedAt = secondsOf(payload, 'iat');
  if (typeof issuedAt !== 'number') return issuedAt;
  const notBefore = secondsOf(payload, 'nbf');
  if (typeof notBefore !== 'number') return notBefore;
  const expiry = secondsOf(payload, 'exp');
  if (typeof expiry !== 'number') return expiry;
  if (!isOptionalString(own(payload, 'jti'))) return refusals.jtiType;
  const audiences = Object.hasOwn(payload, 'aud') ? stringList(payload['aud']) : [];
  if (audiences === undefined) return refusals.audType;
  const presenter = own(payload, 'azp');
  return {
    payload,
    issuer,
    subject,
    audiences,
    comparedAudiences: audiences.every(isSanitized) ? audiences : audiences.map(sanitizeAudience),
    presenter: typeof presenter === 'string' ? presenter : undefined,
    // Zero means no expiry, as in Envoy.
    expiresAt: expiry === 0 ? Infinity : expiry * 1000,
    validFrom: notBefore === 0 ? -Infinity : notBefore * 1000 - skew,
    // Envoy compares whole seconds: a token still counts during the second `exp + 60`.
    validUntil: expiry === 0 ? Infinity : expiry * 1000 + skew + 1000,
  };
}

/** A time in whole seconds, zero when there is none, or why it is none. */
function secondsOf(payload: Readonly<Record<string, unknown>>, name: 'iat' | 'nbf' | 'exp'): number | JwtRefusal {
  if (!Object.hasOwn(payload, name)) return 0;
  const value = payload[name];
  if (typeof value !== 'number') return refusals[`${name}Type`];
  return value >= 0 && value < 2 ** 64 ? Math.trunc(value) : refusals[`${name}Range`];
}

const isOptionalString = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string';

function stringList(value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return Object.freeze([value]);
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? (value as string[]) : undefined;
}
