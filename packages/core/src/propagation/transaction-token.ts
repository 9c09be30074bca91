import { decodeBase64url } from '../jwt/base64url.js';
import { own, parseObject } from '../jwt/jws.js';
import type { JwtRuleSet } from '../jwt/rules.js';
import { currentContext, rawTokenOf } from './context.js';

/** Where a transaction token stands in a request, and goes on unchanged (draft-ietf-oauth-transaction-tokens-10 section 5). */
export const transactionTokenHeader = 'txn-token';

const type = 'txntoken+jwt';

const takers = new WeakMap<JwtRuleSet, boolean>();

/** Whether a rule looks for tokens in the header `Txn-Token`, so that one may have to go on. Asked on every request: worked out once. */
export function takesTransactionTokens(set: JwtRuleSet): boolean {
  let takes = takers.get(set);
  if (takes === undefined) {
    takes = set.rules.some(({ locations }) => locations.some(({ name }) => name === transactionTokenHeader));
    takers.set(set, takes);
  }
  return takes;
}

/**
 * Whether a token says that it is a transaction token (its `typ`, without regard to case) and holds what one must. Its signature is not looked at: this is for tokens that a
 * RequestAuthentication has verified.
 */
function isTransactionToken(text: string): boolean {
  const [header, payload] = text.split('.', 2).map((segment) => objectIn(segment));
  if (header === undefined || payload === undefined) return false;
  const typ = own(header, 'typ');
  return typeof typ === 'string' && typ.toLowerCase() === type && lacksOfTransactionToken(payload) === undefined;
}

const known = new WeakMap<object, string | undefined>();

/** The transaction token that the user of the request being handled came with; undefined where they came with anything else, or there is no request. */
export function currentTransactionToken(): string | undefined {
  const context = currentContext();
  const user = context?.user;
  if (context === undefined || user === undefined) return undefined;
  if (!known.has(user)) {
    const raw = rawTokenOf(context);
    known.set(user, raw !== undefined && isTransactionToken(raw.text) ? raw.text : undefined);
  }
  return known.get(user);
}

/** What a transaction token must have and this one has not (section 4.2 of the draft), in words; undefined when nothing is missing. */
export function lacksOfTransactionToken(claims: Readonly<Record<string, unknown>>): string | undefined {
  const texts = ['aud', 'txn', 'sub', 'scope', 'req_wl'].filter((name) => !isText(own(claims, name)));
  const times = ['iat', 'exp'].filter((name) => !Number.isFinite(own(claims, name)));
  const missing = [...texts, ...times];
  return missing.length === 0 ? undefined : `a transaction token must have ${missing.join(', ')}`;
}

// One trust domain is its audience, so a list of several is none.
function isText(value: unknown): boolean {
  const single: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
  return typeof single === 'string' && single !== '';
}

function objectIn(segment: string): Readonly<Record<string, unknown>> | undefined {
  const octets = decodeBase64url(segment);
  return octets === undefined ? undefined : (parseObject(octets) ?? undefined);
}
