import { isUtf8 } from 'node:buffer';
import { isEscape } from '../request/canonical-path.js';

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
    const decoded = decodeSafely(name);
    if (names.includes(decoded)) continue;
    kept.push({ name: decoded, written: `${rewrite(name)}=${rewrite(at < 0 ? '' : piece.slice(at + 1))}` });
  }
  if (kept.length === 0) return '';
  kept.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return `?${kept.map(({ written }) => written).join('&')}`;
}

/** What is not written as it stands: all but printable ASCII without `#`, `%`, `&`, `+` and `=`. */
const rewritten = /[^\x21\x22\x24\x27-\x2a\x2c-\x3c\x3e-\x7e]/;
const everyRewritten = new RegExp(rewritten.source, 'gu');
/** Without an expression for each piece: a query may hold thousands of them. */
function rewrite(text: string): string {
  let out = '';
  let from = 0;
  for (let at = 0; at < text.length;) {
    if (isKept(text.charCodeAt(at))) {
      at += 1;
      continue;
    }
    let end = at;
    while (isEscape(text, end)) end += 3;
    // Escapes next to each other as one, else one character.
    if (end === at) end += (text.codePointAt(at) as number) > 0xffff ? 2 : 1;
    out += text.slice(from, at) + rewritePiece(text.slice(at, end));
    from = at = end;
  }
  return from === 0 ? text : out + text.slice(from);
}

/** What stays in a query as it was sent. A `+` does, for it may stand for a blank; an escaped one stays escaped, for it may not. */
function isKept(code: number): boolean {
  return code > 0x20 && code < 0x7f && code !== 0x23 && code !== 0x25 && code !== 0x26 && code !== 0x3d;
}

/** How an octet is written, by its escape or itself: a query repeats the same few. */
const octets = new Map<string, string>();

function rewritePiece(piece: string): string {
  if (piece.length > 3 || piece > '\x7f') return encodeDelimiters(decodeEscapes(piece));
  let text = octets.get(piece);
  if (text === undefined) octets.set(piece, (text = encodeDelimiters(decodeEscapes(piece))));
  return text;
}

/** Percent-decodes, leaving alone what is not valid UTF-8. Throws nothing on the way: that would cost more than all else. */
function decodeSafely(text: string): string {
  return text.includes('%') ? text.replace(/(?:%[0-9a-f]{2})+/gi, decodeEscapes) : text;
}

function decodeEscapes(escapes: string): string {
  if (escapes.length < 3) return escapes;
  if (escapes.length === 3) {
    const code = Number.parseInt(escapes.slice(1), 16);
    return code < 0x80 ? String.fromCharCode(code) : escapes;
  }
  const bytes = Buffer.from(escapes.replaceAll('%', ''), 'hex');
  return isUtf8(bytes) ? bytes.toString('utf8') : escapes;
}

/** Characters that would change the meaning of the query, or that no request target may hold. */
function encodeDelimiters(text: string): string {
  // Most often what a client escaped, or a stray percent.
  if (text.length === 1 && text < '\x80') return rewritten.test(text) ? encodeURIComponent(text) : text;
  return text.replace(everyRewritten, (character) => encodeURIComponent(character));
}
