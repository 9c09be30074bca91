import { decodeSlashes, hasDotSegment, withForwardSlashes } from './canonical-path.js';

/** How an application's router reads a path, so that policies judge every spelling of a route (security rule 3). */
export interface RouterSettings {
  /** False when `/Admin` and `/admin` are one route. */
  readonly caseSensitive: boolean;
  /** False when `/admin/` and `/admin` are one route. */
  readonly strictSlash: boolean;
  /** True when the router compares the path after percent-decoding everything but reserved characters (find-my-way). */
  readonly decodesPath: boolean;
  /** True when a run of slashes may be read as one, by the router or by what serves files behind it. */
  readonly mergesSlashes: boolean;
  /** True when what stands behind the router reads the path decoded, `%2f` a slash and dot segments resolved: file servers, parameters. */
  readonly readsDecoded: boolean;
  /** True when the path ends at its first `;`. */
  readonly semicolonDelimiter: boolean;
}

/** A plain node:http listener: it compares `req.url` itself. */
export const bareRouter: RouterSettings = Object.freeze({
  caseSensitive: true,
  strictSlash: true,
  decodesPath: false,
  mergesSlashes: false,
  readsDecoded: false,
  semicolonDelimiter: false,
});

/**
 * Express 4 and 5, whatever `case sensitive routing` and `strict routing` say: a mounted router has its own defaults, answers at its mount
 * path with and without a slash even when strict, and in Express 4 swallows a second slash behind that path (Express 5: at its end).
 */
export const expressRouter: RouterSettings = Object.freeze({
  caseSensitive: false,
  strictSlash: false,
  decodesPath: false,
  mergesSlashes: true,
  readsDecoded: true,
  semicolonDelimiter: false,
});

/** Fastify 5 with its defaults. Its router tells doubled slashes apart, the files behind a wildcard route do not. */
export const fastifyRouter: RouterSettings = Object.freeze({
  caseSensitive: true,
  strictSlash: true,
  decodesPath: true,
  mergesSlashes: true,
  readsDecoded: true,
  semicolonDelimiter: false,
});

const none: readonly string[] = Object.freeze([]);

/** The path as find-my-way compares it: decoded but for reserved characters and `%25`; unchanged when it cannot be decoded (such a target is routed nowhere). */
function decodePath(path: string): string {
  if (!path.includes('%')) return path;
  try {
    return decodeURI(path.replaceAll('%25', '%2525'));
  } catch {
    return path;
  }
}

function beforeSemicolon(path: string): string {
  const at = path.indexOf(';', 1);
  return at === -1 ? path : path.slice(0, at);
}

const encodedSlash = /%2f|%5c/i;

function withSlashes(path: string): string {
  return withForwardSlashes(decodeSlashes(path));
}

/** The path as file servers and parameters give it: every escape decoded, backslashes slashes. */
function readDecoded(path: string): string {
  try {
    return withForwardSlashes(decodeURIComponent(path));
  } catch {
    return withSlashes(path);
  }
}

function toggleSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : `${path}/`;
}

/** What encodeURI escapes, but for the percent itself. */
const toBeEncoded = /[^A-Za-z0-9;/?:@&=+$,#_.!~*'()%-]/;

/** The ways to escape what {@link decodePath} left of a path, so that a policy that spells an escape otherwise still meets it. */
function encodings(decoded: string): readonly string[] {
  const encoded = toBeEncoded.test(decoded) ? encodeURI(decoded).replaceAll('%25', '%') : decoded;
  return [withDigits(encoded, 0x61), withDigits(encoded, 0x41)];
}

/** ASCII with the letters of its escapes in the other case than that of `a`. Octet by octet: a path may be nothing but escapes. */
function withDigits(text: string, a: number): string {
  const octets = Buffer.from(text, 'latin1');
  for (let at = octets.indexOf(0x25); at !== -1 && at + 2 < octets.length;) {
    for (let digit = at + 1; digit < at + 3; digit += 1) {
      const letter = (octets[digit] as number) - a;
      if (letter >= 0 && letter < 26) octets[digit] = (octets[digit] as number) ^ 0x20;
    }
    at = octets[at + 3] === 0x25 ? at + 3 : octets.indexOf(0x25, at + 3);
  }
  return octets.toString('latin1');
}

/**
 * Every other spelling of the normalized `path` that the router treats as the same route, without `path` itself: cut at `;`, decoded (and
 * escaped anew, and wholly), slashes merged, and each of these with its trailing slash toggled. Case is not spelled out:
 * `RequestAttributes.pathIgnoresCase` says it.
 */
export function pathSpellings(path: string, settings: RouterSettings): readonly string[] {
  const spellings = [path];
  if (settings.semicolonDelimiter && path.includes(';', 1)) spellings.push(beforeSemicolon(path));
  if ((settings.decodesPath || settings.readsDecoded) && path.includes('%')) {
    const decoded = spellings.map(decodePath);
    const read = settings.readsDecoded ? spellings.map(readDecoded) : none;
    spellings.push(...decoded, ...decoded.flatMap(encodings), ...read);
  }
  if (settings.mergesSlashes && spellings.some((spelling) => spelling.includes('//')))
    spellings.push(...spellings.map((spelling) => spelling.replace(/\/{2,}/g, '/')));
  if (!settings.strictSlash) spellings.push(...spellings.map(toggleSlash));
  if (spellings.length === 1) return none;
  return spellings.length === 2 && spellings[1] !== path ? spellings.slice(1) : [...new Set(spellings)].slice(1);
}

function countSlashes(text: string): number {
  let count = 0;
  for (let at = text.indexOf('/'); at !== -1; at = text.indexOf('/', at + 1)) count += 1;
  return count;
}

/** Whether an encoded slash hides a dot segment (`..%2fadmin`): no router resolves it, file servers and handlers that decode do. */
function hidesDotSegment(path: string): boolean {
  return path.split('/').some((segment) => encodedSlash.test(segment) && leadsElsewhere(segment));
}

function leadsElsewhere(path: string): boolean {
  return hasDotSegment(withSlashes(path));
}

/**
 * Whether the router's own decoding turns the normalized `path` into something that {@link pathSpellings} cannot stand for: a dot segment,
 * a slash, `?` or `#` that was not there, or a control byte; whether a dot segment that normalization left would lead files elsewhere; or
 * whether, whatever the router, the path holds `%00` or an encoded slash hides a dot segment. Such a target is refused with 400 (security
 * rule 3). A path that cannot be decoded at all is not ambiguous: the router refuses it itself.
 */
export function isAmbiguousForRouter(path: string, settings: RouterSettings): boolean {
  // Only without normalization (mode NONE) do plain dot segments come this far.
  if (settings.readsDecoded && (path.includes('/.') || path.includes('%') || path.includes('\\')) && leadsElsewhere(path))
    return true;
  if (!path.includes('%')) return false;
  if (path.includes('%00') || (!settings.readsDecoded && hidesDotSegment(path))) return true;
  if (!settings.decodesPath) return false;
  const decoded = decodePath(path);
  if (decoded === path) return false;
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f?#]/.test(decoded) || countSlashes(decoded) !== countSlashes(path)) return true;
  const kept = path.split('/');
  return decoded.split('/').some((segment, index) => (segment === '.' || segment === '..') && segment !== kept[index]);
}
