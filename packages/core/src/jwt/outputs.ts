import type { RequestIdentity } from '../identity/caller.js';
import type { JwtEffects } from './outcome.js';
import { utf8AsLatin1 } from './parameters.js';
import type { JwtRule } from './rules.js';
import type { Token } from './token.js';
import type { TokenLocation } from './locations.js';

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const controls = /[\x00-\x08\x0a-\x1f\x7f]/;
// A request that is given one of these is another request, or none.
const untouchable = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'keep-alive',
  'proxy-connection',
  'expect',
]);

/** Whether a rule may write this header (lower case): a field name of RFC 9110 that does not frame or route the request. */
export function isOutputHeader(name: string): boolean {
  return fieldName.test(name) && !untouchable.has(name);
}

/**
 * The verified user of a token. In `claims`, the string members `scope`, `permission` and the rule's `spaceDelimitedClaims` are lists
 * (istio-semantics 2.7), and what policies ask for by another name follows them: `iss`, `sub` or `azp` that is a list is no issuer, subject or presenter,
 * and `aud` is several audiences. Everything is frozen: handlers see the very object that later requests are judged by.
 */
export function requestIdentity(token: Token, rule: JwtRule): RequestIdentity {
  const claims = claimsOf(token.claims.payload, rule);
  const { presenter, audiences, expiresAt } = token.claims;
  const issuer = Array.isArray(claims['iss']) ? undefined : token.claims.issuer;
  const subject = Array.isArray(claims['sub']) ? undefined : token.claims.subject;
  const user: RequestIdentity = {
    principal: issuer === undefined || subject === undefined ? undefined : `${issuer}/${subject}`,
    issuer,
    subject,
    presenter: Array.isArray(claims['azp']) ? undefined : presenter,
    audiences: Array.isArray(claims['aud']) ? (claims['aud'] as readonly string[]) : audiences,
    claims,
    payload: token.payloadSegment,
    expiresAt,
  };
  return Object.freeze(Proof.put(user, token));
}

/**
 * Frozen. The payload itself, unless it has a claim that is a list only because the rule says so; then a copy, unless nobody but this rule reads it: a
 * copy costs as much as all the rest.
 */
function claimsOf(payload: Readonly<Record<string, unknown>>, rule: JwtRule): Readonly<Record<string, unknown>> {
  let claims: Record<string, unknown> | undefined;
  for (const name of rule.listClaims) {
    const value = Object.hasOwn(payload, name) ? payload[name] : undefined;
    if (typeof value !== 'string') continue;
    const list = listOf(value);
    if (list === value) continue;
    claims ??= rule.ownsPayload ? payload : { ...payload };
    claims[name] = list;
  }
  return Object.freeze(claims ?? payload);
}

// A class whose instances are the users themselves: what its constructor calls answers with the user instead of a new object.
function itself(user: object): object {
  return user;
}
const Itself = itself as unknown as new (user: object) => object;

/** Keeps a token in the user that it proved, where only this class finds it. A WeakMap of them would be walked by every collection of garbage. */
class Proof extends Itself {
  readonly #token: Token;
  private constructor(user: RequestIdentity, token: Token) {
    super(user);
    this.#token = token;
  }
  static put<User extends RequestIdentity>(user: User, token: Token): User {
    return new Proof(user, token) as Proof & User;
  }
  static of(user: RequestIdentity): Token | undefined {
    return #token in user ? (user as unknown as Proof).#token : undefined;
  }
}

/** The token that proved a user, as it stood in the request; undefined for a user that no token of a rule proved. To be kept from logs and properties. */
export function tokenTextOf(user: RequestIdentity): string | undefined {
  return Proof.of(user)?.text;
}

/** The items of a space-delimited text. Envoy makes the list with its first item, so a text of nothing but blanks stays one. */
function listOf(text: string): string | readonly string[] {
  const parts = text.split(' ');
  const items = parts.includes('') ? parts.filter((item) => item !== '') : parts;
  return items.length === 0 ? text : Object.freeze(items);
}

const nothing: JwtEffects['setHeaders'] = Object.freeze([]);

/** What output headers are made from. */
export interface PayloadOf {
  readonly claims: { readonly payload: Readonly<Record<string, unknown>> };
  readonly payloadSegment: string;
}

/**
 * The header lines that a rule makes of a token, its payload first as in Envoy (istio-semantics 2.7), or undefined when one of them cannot be written:
 * its name is refused by {@link isOutputHeader} or its value has control characters.
 */
export function outputHeaders(token: PayloadOf, rule: JwtRule): JwtEffects['setHeaders'] | undefined {
  if (rule.payloadHeader === undefined && rule.claimHeaders.length === 0) return nothing;
  const lines: [string, string][] = [];
  if (rule.payloadHeader !== undefined) lines.push([rule.payloadHeader, token.payloadSegment]);
  for (const { header, path } of rule.claimHeaders) {
    const value = claimText(claimAt(token.claims.payload, path));
    if (value !== '') lines.push([header, utf8AsLatin1(value)]);
  }
  return lines.every(([name, value]) => isOutputHeader(name) && !controls.test(value)) ? lines : undefined;
}

/** What accepting a token from `location` does to the request; undefined when nothing. `location` is one of the rule's. */
export function effectsOf(rule: JwtRule, location: TokenLocation, setHeaders: JwtEffects['setHeaders']): JwtEffects | undefined {
  if (rule.forwardOriginalToken) return setHeaders.length === 0 ? undefined : Object.freeze({ ...unchanged, setHeaders });
  const removed = removalOf(location);
  if (setHeaders.length > 0) return Object.freeze({ ...removed, setHeaders });
  return removed === unchanged ? undefined : removed;
}

const unchanged: JwtEffects = Object.freeze({ removeHeaders: [], removeParams: [], setHeaders: [] });
/** All tokens of one place share what is all that most of them do. */
const removals = new WeakMap<TokenLocation, JwtEffects>();

function removalOf(location: TokenLocation): JwtEffects {
  const known = removals.get(location);
  if (known !== undefined) return known;
  const { kind, name } = location;
  // A pseudo-header is no field of the request, and a token in the cookie stays there as in Istio.
  const removeHeaders = kind === 'header' && !name.startsWith(':') ? [name] : [];
  const removeParams = kind === 'param' ? [name] : [];
  const isNothing = removeHeaders.length + removeParams.length === 0;
  const removal = isNothing ? unchanged : Object.freeze({ removeHeaders, removeParams, setHeaders: [] });
  removals.set(location, removal);
  return removal;
}

function claimAt(payload: Readonly<Record<string, unknown>>, path: readonly string[]): unknown {
  let value: unknown = payload;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** A claim as Envoy writes it in a header; empty for what it leaves out. */
function claimText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'object' && value !== null) return Buffer.from(JSON.stringify(value), 'utf8').toString('base64');
  return '';
}

// C's %f writes every digit; toFixed turns to exponents at 1e21.
function numberText(value: number): string {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 64) return BigInt(value).toString();
  return Math.abs(value) < 1e21 ? value.toFixed(6) : `${BigInt(value)}.000000`;
}
