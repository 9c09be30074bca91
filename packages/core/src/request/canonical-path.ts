import type { TargetProblem } from './normalize.js';

const encodedNul: TargetProblem = Object.freeze({ ok: false, reason: 'the path contains %00' });
const ambiguousDots: TargetProblem = Object.freeze({
  ok: false,
  reason:
    'the path has a dot segment with a path parameter and an encoded dot or a backslash before it, which servers read differently',
});

/** What a raw path segment stands for once its dots are decoded. */
type SegmentKind = 'plain' | 'current' | 'parent' | 'ambiguous';

/** A segment may begin with up to two dots, encoded or not; path parameters (`;...`) that everybody reads alike are gone by now. */
function kindOfSegment(segment: string): SegmentKind {
  let dots = 0;
  let at = 0;
  while (dots < 3) {
    if (segment.charCodeAt(at) === 0x2e) at += 1;
    else if (isEscape(segment, at) && escapedByte(segment, at) === 0x2e) at += 3;
    else break;
    dots += 1;
  }
  if (dots === 0 || dots > 2) return 'plain';
  const rest = segment.charCodeAt(at);
  if (rest === 0x3b) return 'ambiguous';
  if (at < segment.length) return 'plain';
  return dots === 1 ? 'current' : 'parent';
}

const dotSegment = /(?:^|\/)(?:\.|%2e){1,2}(?:[;/]|$)/i;

/** Whether a segment of the path stands for its own or its parent folder, in any spelling: dots encoded or not, with or without a path parameter. */
export function hasDotSegment(path: string): boolean {
  return dotSegment.test(path);
}

/** What a hexadecimal digit stands for; -1 for any other character, and behind the end of the text. */
function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Whether `%` and two hexadecimal digits stand at `at`. */
export function isEscape(text: string, at: number): boolean {
  return text.charCodeAt(at) === 0x25 && digitOf(text.charCodeAt(at + 1)) >= 0 && digitOf(text.charCodeAt(at + 2)) >= 0;
}

function escapedByte(text: string, at: number): number {
  return digitOf(text.charCodeAt(at + 1)) * 16 + digitOf(text.charCodeAt(at + 2));
}

/** Whether a segment can stand for a folder above or its own: nearly none can. */
function mayBeDots(segment: string): boolean {
  const first = segment.charCodeAt(0);
  return first === 0x2e || first === 0x25;
}

/** ALPHA, DIGIT, `-`, `.`, `_`, `~` (RFC 3986 section 2.3). */
function isUnreserved(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x41 && code <= 0x5a) ||
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x5f ||
    code === 0x7e
  );
}

/** The characters that Envoy's canonicalizer escapes. */
const escaped: Readonly<Record<string, string>> = {
  '"': '%22',
  '<': '%3C',
  '>': '%3E',
  '^': '%5E',
  '`': '%60',
  '{': '%7B',
  '|': '%7C',
  '}': '%7D',
};

/**
 * Keeps decoding from making a new escape out of a stray `%`, as Chromium does: `%%32%65` would become `%2e`, which the application decodes once more.
 * `open` is a `%` that began no escape, with one or two characters behind it of which the last was decoded; `next` is what follows in the path.
 */
function makesEscape(open: string, next: string): boolean {
  return isEscape(open.length === 2 ? open + next : open, 0);
}

const unusual = /[%"<>^`{|}]/;
const isUnusual = new Uint8Array(128);
for (const character of '%"<>^`{|}') isUnusual[character.charCodeAt(0)] = 1;

/** Where the next character stands that canonicalization may change, from `at` on. */
function nextUnusual(text: string, at: number): number {
  let next = at;
  while (next < text.length && isUnusual[text.charCodeAt(next)] !== 1) next += 1;
  return next;
}

function canonicalizeSegment(segment: string): string {
  if (!unusual.test(segment)) return segment;
  let out = '';
  /** A stray `%` and what stands behind it, as long as that could become an escape. */
  let open = '';
  for (let at = 0; at < segment.length; at += 1) {
    if (open === '') {
      const next = nextUnusual(segment, at);
      out += segment.slice(at, next);
      if (next === segment.length) return out;
      at = next;
    }
    const character = segment[at] as string;
    const isEscaped = isEscape(segment, at);
    const byte = isEscaped ? escapedByte(segment, at) : 0;
    if (isEscaped) at += 2;
    const isDecoded = isEscaped && isUnreserved(byte);
    const text = isDecoded
      ? String.fromCharCode(byte)
      : isEscaped
        ? segment.slice(at - 2, at + 1)
        : (escaped[character] ?? character);
    if (open !== '' && text.length === 1 && text !== '%') {
      open += text;
      if (isDecoded && makesEscape(open, segment[at + 1] ?? '')) open = `%25${open.slice(1)}`;
      if (open.length < 3) continue;
      out += open;
      open = '';
    } else {
      out += open;
      open = text === '%' ? text : '';
      if (open === '') out += text;
    }
  }
  return out + open;
}

/**
 * Envoy's `normalize_path` (istio-semantics 4.1 step 3) on a path without query: backslashes become slashes, escaped unreserved characters
 * are decoded once, dot segments (with or without path parameters) are resolved, a few delimiters are escaped. Double slashes stay.
 * Refuses `%00`, and dot segments with a path parameter that Envoy leaves alone but some applications resolve: with an encoded dot, or after a backslash.
 */
export function canonicalizePath(path: string): string | TargetProblem {
  if (path.includes('%00')) return encodedNul;
  const text = withForwardSlashes(withoutDotParameters(path));
  const mayChange = unusual.test(text);
  if (!mayChange && text.startsWith('/') && !text.includes('/.')) return text;
  const segments = (text.startsWith('/') ? text.slice(1) : text).split('/');
  const kept: string[] = [];
  for (let index = 0; index < segments.length; index += 1) {
    const segment = segments[index] as string;
    const kind = mayBeDots(segment) ? kindOfSegment(segment) : 'plain';
    if (kind === 'ambiguous') return ambiguousDots;
    if (kind === 'plain') {
      kept.push(mayChange ? canonicalizeSegment(segment) : segment);
      continue;
    }
    if (kind === 'parent') kept.pop();
    if (index === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}

const dotParameter = /(\/\.\.?);[^/]*/g;

/** Envoy first takes the path parameters of raw dot segments away: those after a slash, up to the next slash, whatever backslashes are in them. */
function withoutDotParameters(path: string): string {
  return path.includes('/.') && path.includes(';') ? path.replace(dotParameter, '$1') : path;
}

/**
 * Istio's MERGE_SLASHES (istio-semantics 4.1 step 4) on a path without query: runs of slashes become one. Envoy puts a path together from what
 * stands between its slashes, so of one that is nothing but slashes the first and the last remain: `//` and `////` are `//`.
 */
export function mergeSlashes(path: string): string {
  if (!path.includes('//')) return path;
  const merged = path.replace(/\/{2,}/g, '/');
  return merged === '/' ? '//' : merged;
}

/** Text with its backslashes as slashes. */
export function withForwardSlashes(text: string): string {
  // Half the price of replacing them, where there are thousands.
  return text.includes('\\') ? text.split('\\').join('/') : text;
}

/** The first step of DECODE_AND_MERGE_SLASHES (istio-semantics 4.1 step 2) on a path without query: `%2f` and `%5c` become what they stand for. */
export function decodeSlashes(path: string): string {
  if (!path.includes('%')) return path;
  return path.replaceAll('%2f', '/').replaceAll('%2F', '/').replaceAll('%5c', '\\').replaceAll('%5C', '\\');
}
