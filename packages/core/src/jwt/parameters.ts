const escaped = /%([0-9A-Fa-f]{2})/g;
// Written out plainly, these would make another query of it.
const unsafeDecoded = /[^\x21-\x7e]|[#&+%=]/;

/** Text as Node shows the octets of its UTF-8 form in a header or request target: one character per octet. */
export function utf8AsLatin1(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Decodes percent escapes to one character per octet; what is no escape stays, and so does `+` (Envoy's PercentEncoding::decode). */
function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(escaped, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function* pairs(query: string): Generator<{ readonly raw: string; readonly name: string; readonly value: string }> {
  for (const raw of query.split('&')) {
    const equals = raw.indexOf('=');
    const name = percentDecode(equals < 0 ? raw : raw.slice(0, equals));
    yield { raw, name, value: equals < 0 ? '' : raw.slice(equals + 1) };
  }
}

/** The decoded value of the first parameter called `name` in a query (without its `?`), undefined when there is none. `x` alone reads as `x=`. */
export function queryValue(query: string, name: string): string | undefined {
  if (!query.includes('%') && !query.includes(name)) return undefined;
  for (const pair of pairs(query)) if (pair.name === name) return percentDecode(pair.value);
  return undefined;
}

/**
 * A query (without its `?`) without the parameters called `names` (decoded, as in `JwtEffects.removeParams`), written as Istio writes it
 * anew (istio-semantics 2.7): decoded, sorted by name, `x` as `x=`. A parameter that would read differently when decoded stays as it was sent.
 */
export function queryWithout(query: string, names: readonly string[]): string {
  if (query === '') return query;
  const kept = [...pairs(query)].filter((pair) => !names.includes(pair.name));
  kept.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return kept.map(writePair).join('&');
}

function writePair(pair: { readonly raw: string; readonly name: string; readonly value: string }): string {
  const value = percentDecode(pair.value);
  const name = pair.name;
  if (unsafeDecoded.test(name) || (value !== '' && unsafeDecoded.test(value)))
    return pair.raw.includes('=') ? pair.raw : `${pair.raw}=`;
  return `${name}=${value}`;
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
