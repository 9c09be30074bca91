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

/** The decoded value of the first parameter called `name` in a query (without its `?`), undefined when there is none. `x` alone reads as `x=`. */
export function queryValue(query: string, name: string): string | undefined {
  if (!query.includes('%') && !query.includes(name)) return undefined;
  for (const parameter of query.split('&')) {
    const equals = parameter.indexOf('=');
    const end = equals < 0 ? parameter.length : equals;
    if (percentDecode(parameter.slice(0, end)) === name) return percentDecode(parameter.slice(end + 1));
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
