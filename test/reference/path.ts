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

/** Decodes the escapes of unreserved characters, and no others. */
function decodeUnreserved(text: string): string {
  return text.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const code = Number.parseInt(escape.slice(1), 16);
    return isPlain(code) ? String.fromCharCode(code) : escape;
  });
}

/** Whether a segment is `.` or `..`, by how many levels it climbs; undefined for any other. */
function climbOf(raw: string): number | undefined {
  const decoded = decodeUnreserved(raw);
  // A path parameter behind the dots counts only where no dot is escaped.
  if (decoded === '..' || raw.startsWith('..;')) return 1;
  if (decoded === '.' || raw.startsWith('.;')) return 0;
  return undefined;
}

function canonical(path: string): string {
  const out: string[] = [];
  const segments = path.replaceAll('\\', '/').slice(1).split('/');
  segments.forEach((raw, index) => {
    const climb = climbOf(raw);
    if (climb === undefined) return void out.push(decodeUnreserved(raw));
    if (climb === 1) out.pop();
    if (index === segments.length - 1) out.push('');
  });
  return `/${out.join('/')}`.replace(/["<>^`{|}]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
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
  if (mode === 'MERGE_SLASHES' || mode === 'DECODE_AND_MERGE_SLASHES') path = path.replace(/\/{2,}/g, '/');
  return { path, query, authority };
}
