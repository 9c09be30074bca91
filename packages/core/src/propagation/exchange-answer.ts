import { EnmeshError } from '../errors.js';
import { decodeBase64url } from '../jwt/base64url.js';
import { maxTokenLength, own, parseObject } from '../jwt/jws.js';
import type { ExchangeSpec, RequestedTokenType } from './resource.js';
import { lacksOfTransactionToken } from './transaction-token.js';

/** The name of a token type in a token request (RFC 8693 section 3; draft-ietf-oauth-transaction-tokens-10). */
export const tokenTypeUrn = (type: RequestedTokenType): string => `urn:ietf:params:oauth:token-type:${type}`;

/** A token that a provider gave in exchange, and until when it may be sent, in milliseconds since the epoch; 0 when the provider said nothing of its end. */
export interface ExchangedToken {
  readonly text: string;
  readonly expiresAt: number;
}

/** The members of a token response (RFC 8693 section 2.2.1) that are looked at; everything else is dropped unread. */
export interface TokenAnswer {
  readonly access_token: string;
  /** In lower case. */
  readonly token_type: string;
  readonly issued_token_type?: unknown;
  readonly expires_in?: number | undefined;
}

interface Jwt {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

const refused = (reason: string): EnmeshError =>
  new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_ANSWER', `the answer of the token endpoint is not used: ${reason}`);

/** RFC 6750 section 2.1, what fits into a header as one word. */
const bearer = /^[A-Za-z0-9\-._~+/]+=*$/;

/**
 * Judges what a token endpoint gave: it is one token of the kind and for the audience asked for, no id_token, not the user's own token again. Of a token that is no JWT
 * only its form and type can be judged. Throws `ENMESH_PROPAGATION_EXCHANGE_ANSWER`.
 */
export function readExchangedToken(answer: TokenAnswer, asked: ExchangeSpec, raw: string, now: number): ExchangedToken {
  const text = answer.access_token;
  if (text.length > maxTokenLength) throw refused('the token is longer than 16 KiB');
  if (!bearer.test(text)) throw refused('the token holds characters that no token holds');
  if (isOfTheUser(text, raw)) throw refused("it is the user's own token");
  checkTypes(answer, asked);
  const jwt = readJwt(text);
  if (jwt === undefined) {
    if (asked.requestedTokenType === 'jwt' || asked.requestedTokenType === 'txn_token') throw refused('the token is no JWT');
  } else checkJwt(jwt, asked, now);
  return { text, expiresAt: endOf(answer.expires_in, jwt, now) };
}

function checkTypes({ token_type, issued_token_type }: TokenAnswer, { requestedTokenType = 'access_token' }: ExchangeSpec): void {
  // N_A is for tokens that open nothing by themselves; an access token with it is none (RFC 8693 section 2.2.1).
  const isNotAccess = requestedTokenType !== 'access_token';
  if (token_type !== 'bearer' && !(token_type === 'n_a' && isNotAccess)) throw refused('its token_type is not Bearer');
  const issued = [tokenTypeUrn(requestedTokenType)];
  if (requestedTokenType === 'access_token') issued.push(tokenTypeUrn('jwt'));
  if (typeof issued_token_type !== 'string' || !issued.includes(issued_token_type))
    throw refused(`its issued_token_type is not that of ${requestedTokenType}`);
}

function checkJwt({ header, claims }: Jwt, asked: ExchangeSpec, now: number): void {
  const type = String(own(header, 'typ') ?? '').toLowerCase();
  const isIdToken = own(claims, 'typ') === 'ID' || own(claims, 'at_hash') !== undefined || own(claims, 'c_hash') !== undefined;
  if (isIdToken) throw refused('it is an id_token');
  const asksForTransaction = asked.requestedTokenType === 'txn_token';
  const isTransaction = type === 'txntoken+jwt';
  if (asksForTransaction !== isTransaction) throw refused(`it is ${isTransaction ? 'a' : 'no'} transaction token`);
  const lack = isTransaction ? lacksOfTransactionToken(claims) : undefined;
  if (lack !== undefined) throw refused(lack);
  const aud = own(claims, 'aud');
  const audiences = typeof aud === 'string' ? [aud] : Array.isArray(aud) ? aud : [];
  // A provider may name a resource by the audience that stands for it, so resources count only where no audience is asked for.
  const wanted = asked.audience ?? asked.resource ?? [];
  if (!wanted.every((audience) => audiences.includes(audience))) throw refused('it is for another audience');
  if (asked.actorToken === 'svid-jwt' && typeof own(claims, 'act') !== 'object') throw refused('it leaves the actor out');
  const exp = own(claims, 'exp');
  if (exp !== undefined && typeof exp !== 'number') throw refused('its exp is no number');
  if (exp !== undefined && !(now < exp * 1000)) throw refused('it has expired');
}

/** Whether it carries the user's own token, whole or by its signed parts. */
function isOfTheUser(text: string, raw: string): boolean {
  const signed = raw.slice(0, raw.lastIndexOf('.'));
  return text === raw || (signed !== '' && text.startsWith(signed));
}

/** Undefined for a token that is none: dots alone do not make a JWT. Throws for one that begins as a JWT and cannot be read as one. */
function readJwt(text: string): Jwt | undefined {
  const segments = text.split('.');
  if (segments.length !== 3) return undefined;
  const header = objectIn(segments[0]);
  if (header === undefined || own(header, 'alg') === undefined) return undefined;
  const claims = objectIn(segments[1]);
  if (claims === undefined) throw refused('the token begins as a JWT and is none');
  return { header, claims };
}

function objectIn(segment = ''): Readonly<Record<string, unknown>> | undefined {
  const octets = decodeBase64url(segment);
  return octets === undefined ? undefined : (parseObject(octets) ?? undefined);
}

function endOf(expiresIn: number | undefined, jwt: Jwt | undefined, now: number): number {
  const exp = jwt === undefined ? undefined : own(jwt.claims, 'exp');
  const said = expiresIn === undefined ? Infinity : now + expiresIn * 1000;
  const end = Math.min(said, typeof exp === 'number' ? exp * 1000 : Infinity);
  return end === Infinity ? 0 : end;
}
