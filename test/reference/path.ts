/** A request target after 4.1: what is routed, and the path that policies see. Undefined where Envoy answers 400. */
export interface NormalTarget {
  readonly path: string;
  /** With its question mark; empty when there is none. */
  readonly query: string;
  /** Of an absolute-form target: replaces Host. */
  readonly authority: string | undefined;
}

/** `/x` of `http://host/x`; a target in origin form is its own. */
function originForm(target: string): { origin: string; authority: string | undefined } {
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(target);
  if (absolute === null) return { origin: target, authority: undefined };
  const [, authority, rest = ''] = absolute;
  return { origin: rest.startsWith('/') ? rest : `/${rest}`, authority };
}

const isPlain = (code: number): boolean => /^[-.0-9A-Z_a-z~]$/.test(String.fromCharCode(code));

/**
 * Decodes the escapes of unreserved characters, and no others. Where what was decoded makes an escape of a stray `%` before it (`%%32%65`), that `%` is
 * escaped itself (measured on Envoy 1.40): the digit behind it may be one that stood there, and so may the next one.
 */
function decodeUnreserved(text: string): string {
  const pieces = text.match(/%[0-9a-f]{2}|[^]/gi) ?? [];
  const out: string[] = [];
  pieces.forEach((piece, index) => {
    const code = piece.length === 3 ? Number.parseInt(piece.slice(1), 16) : -1;
    if (!isPlain(code)) return void out.push(piece);
    out.push(String.fromCharCode(code));
    const next = pieces[index + 1] ?? '';
    if (out.at(-2) === '%' && /^[0-9a-f]{2}/i.test(`${out.at(-1)}${next.length === 1 ? next : ''}`)) out.splice(-2, 1, '%25');
    else if (out.at(-3) === '%' && /^[0-9a-f]{2}$/i.test(`${out.at(-2)}${out.at(-1)}`)) out.splice(-3, 1, '%25');
  });
  return out.join('');
}

/** Whether a segment is `.` or `..`, by how many levels it climbs; undefined for any other. */
function climbOf(raw: string): number | undefined {
  const decoded = decodeUnreserved(raw);
  if (decoded === '..') return 1;
  if (decoded === '.') return 0;
  return undefined;
}

function canonical(path: string): string {
  const out: string[] = [];
  // What stands behind the semicolon of a dot segment goes first, backslashes too; but not where a backslash stands before the dots.
  const bare = path.replace(/(?<=\/(?:\.|\.\.));[^/]*/g, '');
  const segments = bare.replaceAll('\\', '/').slice(1).split('/');
  segments.forEach((raw, index) => {
    const climb = climbOf(raw);
    if (climb === undefined) return void out.push(decodeUnreserved(raw));
    if (climb === 1) out.pop();
    if (index === segments.length - 1) out.push('');
  });
  return `/${out.join('/')}`.replace(/["<>^`{|}]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Puts a path together from what stands between its slashes, as Envoy does: of a path of slashes alone the first and the last are left. */
function mergeSlashes(path: string): string {
  const parts = path.split('/').filter((part) => part !== '');
  return path.length < 2 ? path : `/${parts.join('/')}${path.endsWith('/') ? '/' : ''}`;
}

/** Normalizes a request target in MeshConfig's mode. */
export function normalize(target: string, mode = 'DEFAULT'): NormalTarget | undefined {
  // Raw bytes beyond ASCII and control bytes are refused by the codec in all modes.
  if (/[^\x21-\x7e]/.test(target)) return undefined;
  const { origin, authority } = originForm(target);
  const [whole = ''] = origin.split('#', 1);
  const at = whole.indexOf('?');
  let path = at === -1 ? whole : whole.slice(0, at);
  const query = at === -1 ? '' : whole.slice(at);
  if (mode === 'DECODE_AND_MERGE_SLASHES') path = path.replace(/%2f/gi, '/').replace(/%5c/gi, '\\');
  if (mode !== 'NONE') {
    if (path.includes('%00')) return undefined;
    if (path.startsWith('/') || path.startsWith('\\')) path = canonical(path);
  }
  if (mode === 'MERGE_SLASHES' || mode === 'DECODE_AND_MERGE_SLASHES') path = mergeSlashes(path);
  return { path, query, authority };
}
