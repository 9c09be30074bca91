/** A header that the hand-over adds to a request: its name in lower case, and its value. */
export type AddedHeader = readonly [name: string, value: string];

/**
 * Writes the query of a request anew after a token parameter was taken from it, as Envoy does: names and values percent-decoded, sorted by name,
 * a bare `x` becoming `x=` (istio-semantics 2.7). `query` begins with `?` or is empty; so does the result.
 * What could end the query or split a parameter once decoded stays encoded, so the handler reads the very parameters that were judged.
 */
export function removeQueryParameters(query: string, names: readonly string[]): string {
  if (query.length < 2 || names.length === 0) return query;
  const kept: { readonly name: string; readonly written: string }[] = [];
  for (const piece of query.slice(1).split('&')) {
    if (piece === '') continue;
    const at = piece.indexOf('=');
    const name = at < 0 ? piece : piece.slice(0, at);
    if (names.includes(decodeSafely(name))) continue;
    kept.push({ name: decodeSafely(name), written: `${rewrite(name)}=${rewrite(at < 0 ? '' : piece.slice(at + 1))}` });
  }
  if (kept.length === 0) return '';
  kept.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return `?${kept.map(({ written }) => written).join('&')}`;
}

/** A `+` stays one, for it may stand for a blank; an escaped one stays escaped, for it may not. */
function rewrite(text: string): string {
  return text
    .split('+')
    .map((part) => encodeDelimiters(decodeSafely(part)))
    .join('+');
}

/** Percent-decodes byte by byte, leaving alone what is not valid UTF-8. */
function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Characters that would change the meaning of the query, or that no request target may hold. */
function encodeDelimiters(text: string): string {
  return text.replace(/[&=#%+\s]|[^\x21-\x7e]/gu, (character) => encodeURIComponent(character));
}
