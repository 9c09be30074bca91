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
  const claims: Record<string, unknown> = { ...token.claims.payload };
  for (const name of rule.listClaims) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    if (typeof value === 'string') claims[name] = listOf(value);
  }
  const { issuer, subject, presenter, audiences, expiresAt } = token.claims;
  const isText = (name: string): boolean => !Array.isArray(claims[name]);
  const known = {
    issuer: isText('iss') ? issuer : undefined,
    subject: isText('sub') ? subject : undefined,
    presenter: isText('azp') ? presenter : undefined,
  };
  const principal = known.issuer === undefined || known.subject === undefined ? undefined : `${known.issuer}/${known.subject}`;
  const user: RequestIdentity = Object.freeze({
    principal,
    ...known,
    audiences: Array.isArray(claims['aud']) ? (claims['aud'] as readonly string[]) : audiences,
    claims: Object.freeze(claims),
    payload: token.payloadSegment,
    expiresAt,
  });
  tokens.set(user, token);
  return user;
}

const tokens = new WeakMap<RequestIdentity, Token>();

/** The token that proved a user, as it stood in the request; undefined for a user that no token of a rule proved. To be kept from logs and properties. */
export function tokenTextOf(user: RequestIdentity): string | undefined {
  const token = tokens.get(user);
  // Strict parsing leaves one spelling only, so the parts make the whole again.
  return token && `${token.signingInput}.${Buffer.from(token.signature).toString('base64url')}`;
}

/** The items of a space-delimited text. Envoy makes the list with its first item, so a text of nothing but blanks stays one. */
function listOf(text: string): string | readonly string[] {
  const items = text.split(' ').filter((part) => part !== '');
  return items.length === 0 ? text : Object.freeze(items);
}

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
  const lines: [string, string][] = [];
  if (rule.payloadHeader !== undefined) lines.push([rule.payloadHeader, token.payloadSegment]);
  for (const { header, path } of rule.claimHeaders) {
    const value = claimText(claimAt(token.claims.payload, path));
    if (value !== '') lines.push([header, utf8AsLatin1(value)]);
  }
  return lines.every(([name, value]) => isOutputHeader(name) && !controls.test(value)) ? lines : undefined;
}

/** What accepting a token from `location` does to the request; undefined when nothing. */
export function effectsOf(rule: JwtRule, location: TokenLocation, setHeaders: JwtEffects['setHeaders']): JwtEffects | undefined {
  const { kind, name } = location;
  const removes = !rule.forwardOriginalToken;
  // A pseudo-header is no field of the request, and a token in the cookie stays there as in Istio.
  const removeHeaders = removes && kind === 'header' && !name.startsWith(':') ? [name] : [];
  const removeParams = removes && kind === 'param' ? [name] : [];
  if (removeHeaders.length + removeParams.length + setHeaders.length === 0) return undefined;
  return Object.freeze({ removeHeaders, removeParams, setHeaders });
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
