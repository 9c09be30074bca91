type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * The JSON reader of Envoy's JWT filter (2.5): a trailing comma and 'single quotes' pass; duplicate names, numbers beyond double, lone surrogates
 * and a hundred levels do not. Throws.
 */
export function readJson(text: string): Json {
  const reader = { text, at: 0 };
  const value = readValue(reader, 1);
  skip(reader);
  if (reader.at !== text.length) throw new SyntaxError('text after the value');
  return value;
}

interface Reader {
  readonly text: string;
  at: number;
}

function take(reader: Reader, pattern: RegExp): string | undefined {
  pattern.lastIndex = reader.at;
  const found = pattern.exec(reader.text)?.[0];
  reader.at += found?.length ?? 0;
  return found;
}

const skip = (reader: Reader): unknown => take(reader, /[ \t\r\n]*/y);

function expectText(reader: Reader, pattern: RegExp): string {
  skip(reader);
  const found = take(reader, pattern);
  if (found === undefined) throw new SyntaxError('unexpected text');
  return found;
}

const literals: Readonly<Record<string, Json>> = { true: true, false: false, null: null };

function readValue(reader: Reader, depth: number): Json {
  if (depth >= 100) throw new SyntaxError('too deep');
  const found = expectText(reader, /[{[]|true|false|null|(?=["'])|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y);
  if (found === '{') return readObject(reader, depth);
  if (found === '[') return readList(reader, depth);
  if (found === '') return readString(reader);
  if (found in literals) return literals[found] as Json;
  const number = Number(found);
  if (!Number.isFinite(number)) throw new SyntaxError('number out of range');
  return number;
}

function readString(reader: Reader): string {
  const found = expectText(reader, /"([^"\\\u0000-\u001f]|\\.)*"|'([^'\\\u0000-\u001f]|\\.)*'/y);
  const inner = found
    .slice(1, -1)
    .replace(/\\'/g, "'")
    .replace(/(\\.)|"/g, (_, escape: string | undefined) => escape ?? '\\"');
  const value = JSON.parse(`"${inner}"`) as string;
  if (/\p{Surrogate}/u.test(value)) throw new SyntaxError('lone surrogate');
  return value;
}

function readObject(reader: Reader, depth: number): Json {
  const out: { [name: string]: Json } = Object.create(null) as { [name: string]: Json };
  for (;;) {
    skip(reader);
    if (take(reader, /\}/y)) return out;
    const name = readString(reader);
    if (Object.hasOwn(out, name)) throw new SyntaxError('duplicate name');
    expectText(reader, /:/y);
    out[name] = readValue(reader, depth + 1);
    skip(reader);
    if (!take(reader, /,/y)) return (expectText(reader, /\}/y), out);
  }
}

function readList(reader: Reader, depth: number): Json {
  const out: Json[] = [];
  for (;;) {
    skip(reader);
    if (take(reader, /\]/y)) return out;
    out.push(readValue(reader, depth + 1));
    skip(reader);
    if (!take(reader, /,/y)) return (expectText(reader, /\]/y), out);
  }
}
