const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const loneSurrogate = /\p{Surrogate}/u;
const numberEnd = /[^-+.0-9eE]/g;

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
    text = typeof source === 'string' ? source : utf8.decode(source);
    value = JSON.parse(text);
  } catch {
    throw new SyntaxError('not JSON');
  }
  inspect(text);
  return value;
}

/** Whether a parsed JSON value is an object, not a list or null. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Walks text that is known to be JSON and throws at what JSON.parse lets pass. */
function inspect(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  let names: Set<string> | undefined;
  let nameNext = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '{' || char === '[') {
      names = char === '{' ? new Set() : undefined;
      nameNext = char === '{';
      if (open.push(names) > maxJsonDepth) throw new SyntaxError('nested too deeply');
    } else if (char === '}' || char === ']') {
      open.pop();
      names = open.at(-1);
      nameNext = false;
    } else if (char === ',') {
      nameNext = names !== undefined;
    } else if (char === '"') {
      const end = closingQuote(text, i);
      const string = readString(text.slice(i, end + 1));
      if (nameNext) addName(names, string);
      nameNext = false;
      i = end;
    } else if (char === '-' || (char !== undefined && char >= '0' && char <= '9')) {
      i = checkNumber(text, i) - 1;
    }
  }
}

function closingQuote(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const char = text[i];
    if (char === '"') return i;
    if (char === '\\') i++;
  }
  throw new SyntaxError('unclosed string');
}

function readString(literal: string): string {
  const string = literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1);
  if (loneSurrogate.test(string)) throw new SyntaxError('a lone surrogate');
  return string;
}

function addName(names: Set<string> | undefined, name: string): void {
  if (names === undefined || names.has(name)) throw new SyntaxError('a member name stands twice in one object');
  names.add(name);
}

function checkNumber(text: string, start: number): number {
  numberEnd.lastIndex = start;
  const end = numberEnd.exec(text)?.index ?? text.length;
  if (!Number.isFinite(Number(text.slice(start, end)))) throw new SyntaxError('a number out of range');
  return end;
}
