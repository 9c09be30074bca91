import { isAscii } from 'node:buffer';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const loneSurrogate = /\p{Surrogate}/u;
/** The deepest nesting of lists and objects that {@link parseStrictJson} reads. */
export const maxJsonDepth = 32;

/**
 * Parses JSON (RFC 8259) as a security boundary should: UTF-8 without a byte order mark, no member name twice in an object, no number
 * beyond a double, no lone surrogate, at most {@link maxJsonDepth} levels. Throws a `SyntaxError` whose message never quotes the text.
 */
export function parseStrictJson(source: Uint8Array | string): unknown {
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
  const members = inspect(value, 1, text.includes('\\'));
  if (members !== countNames(text)) throw new SyntaxError('a member name stands twice in one object');
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
function inspect(value: unknown, depth: number, escaped: boolean): number {
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
    for (const item of value) members += inspect(item, depth + 1, escaped);
    return members;
  }
  const names = Object.keys(value);
  for (const name of names) {
    if (escaped && loneSurrogate.test(name)) throw new SyntaxError('a lone surrogate');
    members += inspect((value as Record<string, unknown>)[name], depth + 1, escaped);
  }
  return members + names.length;
}

/**
 * How many member names stand in text that is known to be JSON: strings with a colon behind. Where JSON.parse made one of two, or dropped a member with
 * all that was in it, it made fewer.
 */
function countNames(text: string): number {
  let names = 0;
  for (let start = text.indexOf('"'); start >= 0;) {
    let next = closingQuote(text, start) + 1;
    while (isBlank(text.charCodeAt(next))) next++;
    if (text.charCodeAt(next) === 0x3a) names++;
    start = text.indexOf('"', next);
  }
  return names;
}

function closingQuote(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end;
}

/** Whether an odd number of backslashes stands before `at`. */
function isEscaped(text: string, at: number): boolean {
  let before = at - 1;
  while (text.charCodeAt(before) === 0x5c) before--;
  return (at - before) % 2 === 0;
}

// Space, tab, line feed, carriage return.
function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}
