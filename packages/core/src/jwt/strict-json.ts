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
  inspect(text);
  return value;
}

// The decoder costs more than all the rest for what is nearly always ASCII.
function decode(octets: Uint8Array): string {
  if (!isAscii(octets)) return utf8.decode(octets);
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('latin1');
}

/** Whether a parsed JSON value is an object, not a list or null. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const quote = 0x22;
const comma = 0x2c;

/** Walks text that is known to be JSON and throws at what JSON.parse lets pass. */
function inspect(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let names: Set<string> | undefined;
  let nameNext = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) {
      const end = closingQuote(text, i);
      const string = readString(text, i, end, nameNext);
      if (nameNext) addName(names, string);
      nameNext = false;
      i = end;
    } else if (code === comma) {
      nameNext = names !== undefined;
    } else if (code === 0x7b || code === 0x5b) {
      // { or [
      nameNext = code === 0x7b;
      names = nameNext ? new Set() : undefined;
      if (open.push(names) > maxJsonDepth) throw new SyntaxError('nested too deeply');
    } else if (code === 0x7d || code === 0x5d) {
      open.pop();
      names = open.at(-1);
      nameNext = false;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      i = checkNumber(text, i) - 1;
    }
  }
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

/** Checks a string; its value is only made where it is needed. */
function readString(text: string, start: number, end: number, wanted: boolean): string {
  const literal = text.slice(start, end + 1);
  if (!literal.includes('\\')) return wanted ? literal.slice(1, -1) : '';
  const string = JSON.parse(literal) as string;
  if (loneSurrogate.test(string)) throw new SyntaxError('a lone surrogate');
  return string;
}

function addName(names: Set<string> | undefined, name: string): void {
  if (names === undefined || names.has(name)) throw new SyntaxError('a member name stands twice in one object');
  names.add(name);
}

function checkNumber(text: string, start: number): number {
  let end = start + 1;
  while (isNumberPart(text.charCodeAt(end))) end++;
  if (!Number.isFinite(Number(text.slice(start, end)))) throw new SyntaxError('a number out of range');
  return end;
}

// Digits, + - . E e
function isNumberPart(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2b || code === 0x2d || code === 0x2e || code === 0x45 || code === 0x65;
}
