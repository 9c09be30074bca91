import { cookieValue, queryValue, utf8AsLatin1 } from './parameters.js';
import type { JwtRuleSpec } from './resource.js';

/**
 * What the token step may read of a request. `header` gives the lines of a header by lower-case name, the names that Istio joins already
 * joined (istio-semantics 3.9), undefined when absent; `query` is empty or what stands after the `?`.
 */
export interface TokenSource {
  header(name: string): readonly string[] | undefined;
  readonly query: string;
}

/**
 * One place where a rule looks for tokens. Names of headers are in lower case, of parameters and cookies as written;
 * `octets` is such a name as it is compared, one character per octet of its UTF-8 form.
 */
export type TokenLocation =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'param' | 'cookie'; readonly name: string; readonly octets: string };

const defaultHeaders = [{ name: 'authorization', prefix: 'Bearer ' }];
const defaultParams = ['access_token'];

/**
 * The places of a jwtRule in the order in which Envoy verifies what it finds there: cookies first, headers last, each kind from the end of
 * its sorted list (istio-semantics 2.3, 2.4). Without any place given, `Authorization: Bearer` and `access_token` are.
 */
export function compileLocations(rule: JwtRuleSpec): readonly TokenLocation[] {
  const { fromHeaders = [], fromParams = [], fromCookies = [] } = rule;
  const given = fromHeaders.length > 0 || fromParams.length > 0 || fromCookies.length > 0;
  const headers = (given ? fromHeaders : defaultHeaders).map(({ name, prefix = '' }) => ({ name: name.toLowerCase(), prefix }));
  const byKey = new Map(headers.map((header) => [header.name + header.prefix, { kind: 'header' as const, ...header }]));
  const named = (kind: 'param' | 'cookie', names: readonly string[]): TokenLocation[] =>
    [...new Set(names)].sort().map((name) => ({ kind, name, octets: utf8AsLatin1(name) }));
  const sortedHeaders = [...byKey.keys()]
    .sort()
    .map((key) => byKey.get(key))
    .filter((header) => header !== undefined);
  const params = named('param', given ? fromParams : defaultParams);
  return [...sortedHeaders, ...params, ...named('cookie', fromCookies)].reverse();
}

/**
 * The token in one header line: what follows `prefix`, wherever in the line it stands, and any characters that no token has
 * (istio-semantics 2.4). Undefined without the prefix. Only the first character is searched for, so trailing junk stays and is refused.
 */
export function tokenInLine(line: string, prefix: string): string | undefined {
  if (prefix === '') return line;
  const found = line.indexOf(prefix);
  if (found < 0) return undefined;
  for (let i = found + prefix.length; i < line.length; i++) if (isTokenCharacter(line.charCodeAt(i))) return line.slice(i);
  return line;
}

/** The token in the query or in a cookie, undefined when there is none. */
export function namedToken(source: TokenSource, kind: 'param' | 'cookie', octets: string): string | undefined {
  if (kind === 'param') return source.query === '' ? undefined : queryValue(source.query, octets);
  const lines = source.header('cookie');
  return lines && cookieValue(lines, octets);
}

/**
 * Whether a request brings anything where a rule would look for a token, or a bearer token where none does. Nothing is read of it: this is for who must
 * know that no other token stands beside theirs.
 */
export function bringsToken(
  { rules }: { readonly rules: readonly { readonly locations: readonly TokenLocation[] }[] },
  source: TokenSource,
): boolean {
  if (source.header('authorization')?.some((line) => /^\s*bearer\b/i.test(line)) === true) return true;
  return rules.some(({ locations }) =>
    locations.some((location) => {
      if (location.kind !== 'header') return namedToken(source, location.kind, location.octets) !== undefined;
      return source.header(location.name)?.some((line) => tokenInLine(line, location.prefix) !== undefined) === true;
    }),
  );
}

// [A-Za-z0-9_.-]
function isTokenCharacter(code: number): boolean {
  const lower = code | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x2d || code === 0x2e || code === 0x5f;
}
