import { canonicalizePath, decodeSlashes, mergeSlashes } from './canonical-path.js';

/** How request paths are normalized before any policy looks at them (MeshConfig `pathNormalization.normalization`). Istio's DEFAULT is BASE. */
export type PathNormalization = 'NONE' | 'BASE' | 'MERGE_SLASHES' | 'DECODE_AND_MERGE_SLASHES';

/** A request target after normalization: what policies judge, the router routes and the handler sees. */
export interface RequestTarget {
  readonly ok: true;
  /** Without query and fragment; begins with `/`, or is `*` as in `OPTIONS *`. */
  readonly path: string;
  /** Empty, or `?` and what follows, never normalized. */
  readonly query: string;
  /** Host and port of an absolute-form target as sent: it replaces the Host header. */
  readonly authority: string | undefined;
  /** Whether the target as sent differs from `path + query`. */
  readonly changed: boolean;
  /** Whether the path was sent without escapes, backslashes, doubled slashes and dots behind slashes: no decoder reads it otherwise. */
  readonly plain: boolean;
}

/** A target that is refused with 400; `reason` is for operators and quotes nothing of the target. */
export interface TargetProblem {
  readonly ok: false;
  readonly reason: string;
}

const problem = (reason: string): TargetProblem => Object.freeze({ ok: false, reason });
const empty = problem('the request target is empty');
const forbiddenByte = problem('the request target contains a space, a control byte or a raw byte above 0x7e');
const unknownScheme = problem('the request target has a scheme other than http and https');
const badAuthority = problem('the authority of the request target is empty or contains characters that do not belong into one');
const authorityForm = problem('the request target is no path; the authority form belongs to CONNECT alone');

/** 1: needs a closer look in a path; 2: in a query too. Everything else of ASCII is left alone by every mode. */
const suspicious = new Uint8Array(256).fill(2);
for (let code = 0x21; code < 0x7f; code += 1) suspicious[code] = 0;
for (const character of '%\\"<>^`{|}') suspicious[character.charCodeAt(0)] = 1;
suspicious[0x23] = 2;

const slash = 0x2f;
const dot = 0x2e;
const questionMark = 0x3f;

/** Where the query begins, the length of the target when it has none, or -1 when the target is not plainly in normal form. */
function scanPlainTarget(target: string): number {
  const length = target.length;
  if (target.charCodeAt(0) !== slash) return -1;
  let query = length;
  let afterSlash = true;
  for (let at = 1; at < length; at += 1) {
    const code = target.charCodeAt(at);
    const level = code < 256 ? suspicious[code] : 2;
    if (query !== length) {
      if (level === 2) return -1;
      continue;
    }
    if (level !== 0) return -1;
    if (afterSlash && (code === slash || code === dot)) return -1;
    if (code === questionMark) query = at;
    afterSlash = code === slash;
  }
  return query;
}

function hasForbiddenByte(target: string): boolean {
  for (let at = 0; at < target.length; at += 1) {
    const code = target.charCodeAt(at);
    if (code < 0x21 || code > 0x7e) return true;
  }
  return false;
}

/** Path and query of an origin-form target, its fragment dropped (istio-semantics 4.1 step 1). `query` is empty or begins with `?`. */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const hash = target.indexOf('#');
  const kept = hash === -1 ? target : target.slice(0, hash);
  const mark = kept.indexOf('?');
  return mark === -1 ? { path: kept, query: '' } : { path: kept.slice(0, mark), query: kept.slice(mark) };
}

function normalizePath(path: string, mode: PathNormalization): string | TargetProblem {
  if (mode === 'NONE') return path;
  const canonical = canonicalizePath(mode === 'DECODE_AND_MERGE_SLASHES' ? decodeSlashes(path) : path);
  if (typeof canonical !== 'string' || mode === 'BASE') return canonical;
  return mergeSlashes(canonical);
}

const hostPattern = /^(?:[A-Za-z0-9._~!$&'()*+,;=@%-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?$/;
let lastHost = '';

/**
 * Whether the value of a Host header is a host and port (RFC 3986 section 3.2) that every reader takes apart alike. A `/`, `?` or `#` in it would
 * give an application that puts a URL together another path than the one that was judged. Empty is a host here, as in Istio.
 */
export function isHost(text: string): boolean {
  // Nearly every request asks for the same one.
  if (text === lastHost) return true;
  if (!hostPattern.test(text)) return false;
  lastHost = text;
  return true;
}

/** The characters of a host and port (RFC 3986 section 3.2) without userinfo, which no request may carry. */
const authorityPattern = /^[A-Za-z0-9._~!$&'()*+,;=:[\]%-]+$/;

/** Takes an absolute-form target apart (RFC 9112 section 3.2.2). */
function splitAbsoluteForm(target: string): { readonly authority: string; readonly rest: string } | TargetProblem {
  const end = target.indexOf('://');
  if (end === -1) return authorityForm;
  const scheme = target.slice(0, end).toLowerCase();
  if (scheme !== 'http' && scheme !== 'https') return unknownScheme;
  const start = end + 3;
  const length = target.slice(start).search(/[/?#]/);
  const authority = length === -1 ? target.slice(start) : target.slice(start, start + length);
  if (!authorityPattern.test(authority)) return badAuthority;
  const rest = length === -1 ? '' : target.slice(start + length);
  return { authority, rest: rest.startsWith('/') ? rest : `/${rest}` };
}

function parseUnusualTarget(target: string, mode: PathNormalization): RequestTarget | TargetProblem {
  if (target === '') return empty;
  if (hasForbiddenByte(target)) return forbiddenByte;
  if (target === '*') return { ok: true, path: '*', query: '', authority: undefined, changed: false, plain: true };
  let authority: string | undefined;
  let origin = target;
  if (!target.startsWith('/')) {
    const absolute = splitAbsoluteForm(target);
    if ('ok' in absolute) return absolute;
    authority = absolute.authority;
    origin = absolute.rest;
  }
  const { path: raw, query } = splitTarget(origin);
  const path = normalizePath(raw, mode);
  if (typeof path !== 'string') return path;
  return { ok: true, path, query, authority, changed: target !== path + query, plain: false };
}

/**
 * Normalizes a request target as Istio's sidecar does (istio-semantics 4.1): the fragment goes, the path is brought to normal form by `mode`,
 * the query stays as it is, an absolute-form target gives its authority. Refuses (400) what routers and policies may read differently
 * (security rule 3): spaces, control bytes, raw non-ASCII, `%00`, encoded dot segments with path parameters, other schemes, userinfo.
 * A plain target costs one scan and one object.
 */
export function parseTarget(target: string, mode: PathNormalization): RequestTarget | TargetProblem {
  const query = scanPlainTarget(target);
  if (query === -1) return parseUnusualTarget(target, mode);
  if (query === target.length) return { ok: true, path: target, query: '', authority: undefined, changed: false, plain: true };
  return {
    ok: true,
    path: target.slice(0, query),
    query: target.slice(query),
    authority: undefined,
    changed: false,
    plain: true,
  };
}
