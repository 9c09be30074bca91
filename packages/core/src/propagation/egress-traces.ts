import { decodeBase64url } from '../jwt/base64url.js';

/** By what of a token a value was known: never the value itself. */
export type TraceKind = 'payload' | 'signature';

/** What a token is known by in outgoing values. */
export interface TokenTraces {
  /** The part of the token that stands in `value`, plain or under at most two layers of percent-encoding or base64 (either alphabet); undefined when none does. */
  find(value: string): TraceKind | undefined;
  /** Values that are shorter hold no trace; to be asked first, because most are. */
  readonly shortest: number;
}

/** Shorter parts are words that other values may well hold. */
const shortestPart = 24;

/** How many encodings around one another are taken off. */
const layers = 2;

/**
 * What the compact JWS `token` is known by: its payload segment (and the JSON in it) and its signature segment. The whole token holds both, so it needs no trace of its own;
 * the header segment is the same in all tokens of an issuer and betrays nobody.
 */
export function createTokenTraces(token: string): TokenTraces {
  const [, payload = '', signature = ''] = token.split('.');
  const octets = decodeBase64url(payload);
  const long = (part: string): boolean => part.length >= shortestPart;
  const segments = (
    [
      ['payload', payload],
      ['signature', signature],
    ] as const
  ).filter(([, part]) => long(part));
  // As an application holds it, and as its octets are seen after decoding.
  const plain = [...new Set([octets?.toString('utf8') ?? '', octets?.toString('latin1') ?? ''])].filter(long);
  const shortest = Math.min(...segments.map(([, part]) => part.length), ...plain.map((part) => part.length));
  const found = (value: string, left: number): TraceKind | undefined => {
    if (value.length < shortest) return undefined;
    if (plain.some((part) => value.includes(part))) return 'payload';
    const spelt = asBase64url(value);
    for (const [kind, part] of segments) if (spelt.includes(part)) return kind;
    if (left === 0) return undefined;
    for (const inner of decodingsOf(value, shortest)) {
      const kind = found(inner, left - 1);
      if (kind !== undefined) return kind;
    }
    return undefined;
  };
  return { shortest, find: (value) => found(value, layers) };
}

/** Both alphabets of base64 as one, so that a segment is known in either. */
function asBase64url(value: string): string {
  return value.includes('+') || value.includes('/') ? value.replaceAll('+', '-').replaceAll('/', '_') : value;
}

/** What `value` may be an encoding of, as far as that can hold `shortest` characters. Bytes stand as Latin-1, so nothing that is found depends on a charset. */
function* decodingsOf(value: string, shortest: number): Generator<string> {
  if (value.includes('%')) {
    const decoded = value.replace(/%[0-9a-fA-F]{2}/g, (escape) => String.fromCharCode(Number.parseInt(escape.slice(1), 16)));
    if (decoded !== value) yield decoded;
  }
  const run = new RegExp(`[A-Za-z0-9+/_-]{${Math.ceil((shortest * 4) / 3)},}`, 'g');
  for (const [text] of value.matchAll(run)) {
    // What stands before it in one run shifts it: four ways to begin.
    for (let shift = 0; shift < 4; shift++) yield Buffer.from(text.slice(shift), 'base64').toString('latin1');
  }
}
