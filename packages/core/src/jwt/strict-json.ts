import { isAscii } from 'node:buffer';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
// Quicker than Object.hasOwn behind `for ... in`.
const hasOwn = Object.prototype.hasOwnProperty;
const loneSurrogate = /\p{Surrogate}/u;
/** The deepest nesting of lists and objects that {@link parseStrictJson} reads. */
export const maxJsonDepth = 32;

/**
 * Parses JSON (RFC 8259) as a security boundary should: UTF-8 without a byte order mark, no member name twice in an object, no number
 * beyond a double, no lone surrogate, at most {@link maxJsonDepth} levels. Throws a `SyntaxError` whose message never quotes the text.
 * With `frozen`, all that is in the value is frozen; itself it is the caller's to freeze.
 */
export function parseStrictJson(source: Uint8Array | string, { frozen = false }: { readonly frozen?: boolean } = {}): unknown {
  let text: string;
  let value: unknown;
  try {
    text = typeof source === 'string' ? source : decode(source);
    value = JSON.parse(text);
  } catch {
    throw new SyntaxError('not JSON');
  }
  if (typeof source === 'string' && loneSurrogate.test(text)) throw new SyntaxError('a lone surrogate');
  // Octets hold none by themselves, only as escapes.
  const members = inspect(value, 1, text.includes('\\'), frozen);
  if (members !== mostNames(text) && members !== countNames(typeof source === 'string' ? Buffer.from(source) : source))
    throw new SyntaxError('a member name stands twice in one object');
  return value;
}

// The decoder costs more than all the rest for what is nearly always ASCII.
function decode(octets: Uint8Array): string {
  if (!isAscii(octets)) return utf8.decode(octets);
  const buffer = Buffer.isBuffer(octets) ? octets : Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
  return buffer.toString('latin1');
}

/** Whether a parsed JSON value is an object, not a list or null. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Walks a parsed value, throws at what JSON.parse lets pass, and answers how many members its objects have. */
function inspect(value: unknown, depth: number, escaped: boolean, frozen: boolean): number {
  if (typeof value === 'string') {
    if (escaped && loneSurrogate.test(value)) throw new SyntaxError('a lone surrogate');
    return 0;
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new SyntaxError('a number out of range');
    return 0;
  }
  if (typeof value !== 'object' || value === null) return 0;
  if (depth > maxJsonDepth) throw new SyntaxError('nested too deeply');
  let members = 0;
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length; at++) members += inspect(value[at], depth + 1, escaped, frozen);
  } else {
    for (const name in value) {
      // Whoever adds to the prototype of all objects adds to no token.
      if (!hasOwn.call(value, name)) continue;
      if (escaped && loneSurrogate.test(name)) throw new SyntaxError('a lone surrogate');
      members += 1 + inspect((value as Record<string, unknown>)[name], depth + 1, escaped, frozen);
    }
  }
  if (frozen && depth > 1) Object.freeze(value);
  return members;
}

/**
 * As many member names as text that is known to be JSON can hold, or more: colons behind a quote or a blank, which in a string are rare. An object has no
 * more members than its text has names, so one with this many misses none. A third of the cost of {@link countNames}.
 */
function mostNames(text: string): number {
  let most = 0;
  for (let at = text.indexOf(':'); at !== -1; at = text.indexOf(':', at + 1)) {
    const before = text.charCodeAt(at - 1);
    if (before === 0x22 || before <= 0x20) most++;
  }
  return most;
}

/**
 * How many member names stand in text that is known to be JSON: colons outside of strings. Where JSON.parse made one of two, or dropped a member with
 * all that was in it, it made fewer.
 */
function countNames(text: Uint8Array): number {
  let names = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const octet = text[at];
    if (octet === 0x22) inString = !inString;
    else if (inString) {
      if (octet === 0x5c) at++;
    } else if (octet === 0x3a) names++;
  }
  return names;
}
