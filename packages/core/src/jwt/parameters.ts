const escaped = /%([0-9A-Fa-f]{2})/g;

/** Text as Node shows the octets of its UTF-8 form in a header or request target: one character per octet. */
export function utf8AsLatin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Decodes percent escapes to one character per octet; what is no escape stays, and so does `+` (Envoy's PercentEncoding::decode). */
function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(escaped, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** The value of a hexadecimal digit, or NaN. */
function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : Number.NaN;
}

/** Whether what stands from `start` to `end` is `name` once it is decoded. In place: a query may hold thousands of other names. */
function isNamed(query: string, start: number, end: number, name: string): boolean {
  const length = end - start;
  if (length < name.length || length > name.length * 3) return false;
  let at = start;
  for (let index = 0; index < name.length; index += 1) {
    if (at >= end) return false;
    let code = query.charCodeAt(at);
    at += 1;
    if (code === 0x25 && at + 1 < end) {
      const octet = digit(query.charCodeAt(at)) * 16 + digit(query.charCodeAt(at + 1));
      if (!Number.isNaN(octet)) {
        code = octet;
        at += 2;
      }
    }
    if (code !== name.charCodeAt(index)) return false;
  }
  return at === end;
}

/** The decoded value of the first parameter called `name` in a query (without its `?`), undefined when there is none. `x` alone reads as `x=`. */
export function queryValue(query: string, name: string): string | undefined {
  if (!query.includes('%') && !query.includes(name)) return undefined;
  const { length } = query;
  let start = 0;
  let equals = -1;
  for (let at = 0; at <= length; at += 1) {
    const code = at === length ? 0x26 : query.charCodeAt(at);
    if (code === 0x3d && equals === -1) equals = at;
    if (code !== 0x26) continue;
    const end = equals === -1 ? at : equals;
    if (isNamed(query, start, end, name)) return percentDecode(query.slice(end + 1, at));
    start = at + 1;
    equals = -1;
  }
  return undefined;
}

/** The value of the first cookie called `name` in the Cookie lines, without its quotes (Envoy's forEachCookie); undefined when there is none. */
export function cookieValue(lines: readonly string[], name: string): string | undefined {
  for (const line of lines) {
    if (!line.includes(name)) continue;
    for (const cookie of line.split(';')) {
      const equals = cookie.indexOf('=');
      if (equals < 0 || cookie.slice(0, equals).trimStart() !== name) continue;
      const value = cookie.slice(equals + 1);
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  }
  return undefined;
}
