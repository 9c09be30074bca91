import { verify, type KeyObject } from 'node:crypto';
import type { ErrorCode } from '../errors.js';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import { decodeBase64url } from '../jwt/base64url.js';
import { isJsonObject, parseStrictJson } from '../jwt/strict-json.js';
import { findSigned, keepSigned } from './hop-memory.js';
import { hopAlgorithmOf, hopLimits, hopType, parseActClaim } from './hop-token.js';
import type { PropagationPlan } from './plan.js';

/** A user whom a peer speaks for, and the services that carried the user here, that peer first. */
export interface HopUser {
  readonly ok: true;
  readonly user: RequestIdentity;
  readonly actors: readonly string[];
}

/** Why a hop token speaks for nobody; `reason` is for operators and quotes nothing of the token. */
export interface HopRefusal {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly reason: string;
}

/** Against what a token is judged: the connection it came by, who we are, and who may speak for whom. */
export interface HopJudge {
  readonly peer: PeerIdentity;
  /** The public key of that peer's certificate. */
  readonly key: KeyObject;
  /** Our own SPIFFE ID. */
  readonly ownUri: string;
  readonly plan: Pick<PropagationPlan, 'grantFor'>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** How far ahead the clock of a caller may be, in milliseconds. Behind it may be as far as the unused half of a token's life. */
const clockAheadMs = 30_000;

const refuse = (code: ErrorCode, reason: string): HopRefusal => ({ ok: false, code, reason });

const malformed = (reason: string): HopRefusal => refuse('ENMESH_PROPAGATION_HOP_MALFORMED', `the hop token ${reason}`);

/** What a token says once its signature is known to be its peer's. */
export interface SignedToken extends HopUser {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/**
 * Judges a hop token that came on the connection of `peer`: made by that peer's own key for this workload, still living, and by one who may speak for the
 * users of its issuer. A signature is checked once per token and certificate; everything else each time.
 */
export function verifyHopToken(text: string, judge: HopJudge): HopUser | HopRefusal {
  const { peer, plan, now } = judge;
  if (plan.grantFor(peer.principal, '') === 'principal-not-listed')
    return refuse('ENMESH_PROPAGATION_HOP_NOT_ALLOWED', `${peer.uri} is in the principals of no inbound entry`);
  if (text.length > hopLimits.length) return malformed(`is longer than ${hopLimits.length} characters`);
  const signed = signedToken(text, judge);
  if ('code' in signed) return signed;
  // Written so that a clock that is no number refuses.
  if (!(now < signed.expiresAt)) return refuse('ENMESH_PROPAGATION_HOP_EXPIRED', 'the hop token has ended');
  if (!(signed.issuedAt <= now + clockAheadMs))
    return refuse('ENMESH_PROPAGATION_HOP_EXPIRED', 'the hop token was made in the future: the clocks differ');
  if (!signed.audience.includes(judge.ownUri))
    return refuse('ENMESH_PROPAGATION_HOP_AUDIENCE', `the hop token is not for ${judge.ownUri}`);
  const grant = plan.grantFor(peer.principal, signed.issuer);
  if (typeof grant === 'string')
    return refuse('ENMESH_PROPAGATION_HOP_NOT_ALLOWED', `${peer.uri} may not speak for users of this issuer`);
  if (signed.actors.length > grant.maxActors)
    return refuse(
      'ENMESH_PROPAGATION_HOP_CHAIN',
      `${signed.actors.length} services have carried the user; ${grant.maxActors} may`,
    );
  return signed;
}

function signedToken(text: string, { peer, key, now }: HopJudge): SignedToken | HopRefusal {
  const known = findSigned(text, peer);
  if (known !== undefined) return known;
  const token = readToken(text, peer, key);
  if ('code' in token) return token;
  keepSigned(text, token, peer, now);
  return token;
}

function readToken(text: string, peer: PeerIdentity, key: KeyObject): SignedToken | HopRefusal {
  const parts = text.split('.');
  const [header, payload, signature] = parts.map(decodeBase64url);
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined)
    return malformed('is no compact JWS');
  const head = objectOf(header);
  const claims = objectOf(payload);
  if (head === undefined || claims === undefined) return malformed('does not hold JSON objects');
  if (Object.keys(head).length !== 3 || head['typ'] !== hopType) return malformed('has another header than hop tokens have');
  const foreign = objectToMaker(head, claims, peer, key);
  if (foreign !== undefined) return refuse('ENMESH_PROPAGATION_HOP_SIGNATURE', foreign);
  const input = text.slice(0, text.lastIndexOf('.'));
  if (!isSignedBy(key, input, signature))
    return refuse('ENMESH_PROPAGATION_HOP_SIGNATURE', `the key of ${peer.uri} did not sign the hop token`);
  return readClaims(claims, peer);
}

/** What shows without a signature check that the peer of this connection did not make the token. */
function objectToMaker(
  head: Readonly<Record<string, unknown>>,
  claims: Readonly<Record<string, unknown>>,
  peer: PeerIdentity,
  key: KeyObject,
): string | undefined {
  if (head['x5t#S256'] !== Buffer.from(peer.certificateSha256, 'hex').toString('base64url'))
    return `the hop token is bound to another certificate than that of ${peer.uri} on this connection`;
  if (claims['iss'] !== peer.uri) return `the hop token is not by ${peer.uri}`;
  const algorithm = hopAlgorithmOf(key);
  if (algorithm === undefined || head['alg'] !== algorithm.alg)
    return `the hop token is not signed as the key of ${peer.uri} signs`;
  return undefined;
}

function isSignedBy(key: KeyObject, input: string, signature: Uint8Array): boolean {
  try {
    const algorithm = hopAlgorithmOf(key);
    if (algorithm === undefined) return false;
    return verify(algorithm.hash, Buffer.from(input, 'latin1'), { key, dsaEncoding: 'ieee-p1363' }, signature);
  } catch {
    return false;
  }
}

function readClaims(claims: Readonly<Record<string, unknown>>, peer: PeerIdentity): SignedToken | HopRefusal {
  const { aud, sub, user, user_exp: userExp, iat, exp } = claims;
  const actors = parseActClaim(claims['act']);
  const audience = textList(aud);
  if (typeof sub !== 'string' || sub === '' || !isJsonObject(user) || !isName(user['iss'])) return malformed('names no user');
  if (audience === undefined || audience.length > hopLimits.audiences) return malformed('names nobody it is for, or too many');
  if (actors === undefined || actors[0] !== peer.uri) return malformed('has no chain of actors that ends in its maker');
  if (!isSeconds(iat) || !isSeconds(exp) || (userExp !== undefined && !isSeconds(userExp))) return malformed('has no times');
  if (exp - iat > hopLimits.lifeSeconds || exp > (userExp ?? Infinity)) return malformed('lives longer than a hop token may');
  const { iss, ...rest } = user;
  return {
    ok: true,
    user: identityOf(iss as string, sub, rest, userExp === undefined ? Infinity : userExp * 1000),
    actors,
    issuer: iss as string,
    audience,
    issuedAt: iat * 1000,
    expiresAt: exp * 1000,
  };
}

/** The user as policies see one that came with a token of their own, with no more claims than were listed. */
function identityOf(
  issuer: string,
  subject: string,
  listed: Readonly<Record<string, unknown>>,
  expiresAt: number,
): RequestIdentity {
  const claims = deepFreeze({ ...listed, iss: issuer, sub: subject }) as Readonly<Record<string, unknown>>;
  const { azp } = claims;
  return Object.freeze({
    principal: `${issuer}/${subject}`,
    issuer,
    subject,
    audiences: Object.hasOwn(claims, 'aud') ? (textList(claims['aud']) ?? []) : [],
    presenter: typeof azp === 'string' ? azp : undefined,
    claims,
    payload: Buffer.from(JSON.stringify(claims), 'utf8').toString('base64url'),
    expiresAt,
  });
}

function objectOf(octets: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseStrictJson(octets);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isName = (value: unknown): value is string => typeof value === 'string' && value !== '';

const isSeconds = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function textList(value: unknown): readonly string[] | undefined {
  if (typeof value === 'string') return [value];
  return Array.isArray(value) && value.length > 0 && value.every(isName) ? Object.freeze(value as string[]) : undefined;
}

function deepFreeze(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
