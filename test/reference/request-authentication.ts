import { removeLines, valuesOf, type Line } from './headers.js';
import { checkSignature, readToken, TokenFault, type Claims, type Jwk, type Token } from './token.js';
import { oldestFirst, rootOf, selected, type Attached, type Document, type MeshFields, type Target } from './world.js';

export interface JwtRule {
  readonly issuer?: string;
  readonly audiences?: readonly string[];
  readonly jwks?: string;
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix?: string }[];
  readonly fromParams?: readonly string[];
  readonly fromCookies?: readonly string[];
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[];
  readonly forwardOriginalToken?: boolean;
  readonly spaceDelimitedClaims?: readonly string[];
}

export interface RequestAuthentication extends Attached {
  readonly jwtRules?: readonly JwtRule[];
}

/** A request under way: its lines and its query are changed as tokens are verified. */
export interface TokenRequest {
  readonly method: string;
  readonly path: string;
  readonly lines: Line[];
  query: string;
  /** The verified payload with its space-delimited claims as lists. */
  claims: Claims | undefined;
}

const missing = 'Jwt is missing';
const unknownIssuer = 'Jwt issuer is not configured';
const wrongAudience = 'Audiences in Jwt are not allowed';

/** The rules of a workload in the order in which they are tried (2.2). */
export function rulesFor(documents: readonly Document<RequestAuthentication>[], target: Target, mesh: MeshFields): JwtRule[] {
  const mine = oldestFirst(selected(documents, 'RequestAuthentication', target, mesh));
  const root = rootOf(mesh);
  const ordered = [
    ...mine.filter(({ namespace }) => namespace === target.namespace),
    ...mine.filter(({ namespace }) => namespace === root && namespace !== target.namespace),
  ];
  const issuer = (rule: JwtRule): string => rule.issuer ?? '';
  return ordered
    .flatMap(({ spec }) => spec.jwtRules ?? [])
    .sort((a, b) => (issuer(a) < issuer(b) ? -1 : issuer(a) > issuer(b) ? 1 : 0));
}

interface Location {
  readonly header?: string;
  readonly param?: string;
}

function locationsOf(rule: JwtRule): Required<Pick<JwtRule, 'fromHeaders' | 'fromParams' | 'fromCookies'>> {
  const { fromHeaders = [], fromParams = [], fromCookies = [] } = rule;
  if (fromHeaders.length + fromParams.length + fromCookies.length > 0) return { fromHeaders, fromParams, fromCookies };
  return { fromHeaders: [{ name: 'Authorization', prefix: 'Bearer ' }], fromParams: ['access_token'], fromCookies: [] };
}

function decodePercent(text: string): string {
  const octets = Buffer.from(text, 'utf8').toString('latin1');
  return Buffer.from(
    octets.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8');
}

function parametersOf(query: string): [string, string][] {
  const pairs = query.slice(1).split('&');
  return pairs
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=');
      return at === -1 ? [decodePercent(pair), ''] : [decodePercent(pair.slice(0, at)), decodePercent(pair.slice(at + 1))];
    });
}

function fromHeader(value: string, prefix: string): string[] {
  if (prefix === '') return [value];
  const at = value.indexOf(prefix);
  if (at === -1) return [];
  const rest = value.slice(at + prefix.length).replace(/^[^A-Za-z0-9_.-]+/, '');
  return [rest === '' ? value : rest];
}

/** Every token that a rule finds, headers first (2.4). */
function extract(rule: JwtRule, { lines, path, method, query }: TokenRequest): { text: string; at: Location }[] {
  const { fromHeaders, fromParams, fromCookies } = locationsOf(rule);
  const found: { text: string; at: Location }[] = [];
  const key = ({ name, prefix = '' }: { name: string; prefix?: string }): string => name.toLowerCase() + prefix;
  const headers = new Map(fromHeaders.map((one) => [key(one), one]));
  for (const { name, prefix = '' } of [...headers.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1))) {
    const header = name.toLowerCase();
    // Istio admits the names of pseudo-headers too.
    const pseudo: Readonly<Record<string, string>> = { ':path': path + query, ':method': method };
    const values = pseudo[header] === undefined ? valuesOf(lines, header) : [pseudo[header]];
    for (const value of values) found.push(...fromHeader(value, prefix).map((text) => ({ text, at: { header } })));
  }
  for (const param of [...new Set(fromParams)].sort()) {
    const pair = parametersOf(query).find(([name]) => name === param);
    if (pair !== undefined) found.push({ text: pair[1], at: { param } });
  }
  const cookies = valuesOf(lines, 'cookie').flatMap((line) => line.split(';'));
  for (const name of [...new Set(fromCookies)].sort()) {
    const cookie = cookies.map((one) => one.trim()).find((one) => one.startsWith(`${name}=`));
    if (cookie !== undefined) found.push({ text: cookie.slice(name.length + 1), at: {} });
  }
  return found;
}

const sanitize = (audience: string): string => audience.replace(/^https?:\/\//, '').replace(/\/$/, '');

function verifyToken(rule: JwtRule, text: string, now: number): Token {
  const token = readToken(text);
  const { claims } = token;
  if (rule.issuer && (claims['iss'] ?? '') !== rule.issuer) throw new TokenFault(unknownIssuer);
  const seconds = Math.floor(now / 1000);
  const [nbf, exp] = [Math.trunc(Number(claims['nbf'] ?? 0)), Math.trunc(Number(claims['exp'] ?? 0))];
  if (seconds + 60 < nbf) throw new TokenFault('Jwt not yet valid');
  if (exp !== 0 && seconds > exp + 60) throw new TokenFault('Jwt is expired');
  const wanted = (rule.audiences ?? []).map(sanitize);
  const given = [claims['aud'] ?? []].flat() as string[];
  if (wanted.length > 0 && !given.some((one) => wanted.includes(sanitize(one)))) throw new TokenFault(wrongAudience);
  const { keys } = JSON.parse(rule.jwks ?? '{"keys":[]}') as { keys: readonly Jwk[] };
  checkSignature(token, keys);
  return token;
}

/** As C's `%f` where it is no unsigned integer of 64 bits. */
function numberText(value: number): string {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 64) return BigInt(value).toString();
  return Math.abs(value) < 1e21 ? value.toFixed(6) : `${BigInt(value)}.000000`;
}

function claimText(claims: Claims, path: string): string | undefined {
  let value: unknown = claims;
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return numberText(value);
  return Buffer.from(JSON.stringify(value)).toString('base64');
}

/** Outputs, removal of the token and the payload that policies see (2.7). */
function applyToken(rule: JwtRule, token: Token, at: Location, request: TokenRequest): void {
  if (rule.outputPayloadToHeader !== undefined) request.lines.push([rule.outputPayloadToHeader.toLowerCase(), token.payload]);
  for (const { header, claim } of rule.outputClaimToHeaders ?? []) {
    const value = claimText(token.claims, claim);
    if (value !== undefined) request.lines.push([header.toLowerCase(), value]);
  }
  if (rule.forwardOriginalToken !== true) {
    if (at.header !== undefined) removeLines(request.lines, at.header);
    if (at.param !== undefined) {
      const kept = parametersOf(request.query).filter(([name]) => name !== at.param);
      kept.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      request.query = kept.length === 0 ? '' : `?${kept.map((pair) => pair.join('=')).join('&')}`;
    }
  }
  const lists = new Set(['scope', 'permission', ...(rule.spaceDelimitedClaims ?? [])]);
  const split = ([name, value]: [string, unknown]): [string, unknown] => {
    if (!lists.has(name) || typeof value !== 'string') return [name, value];
    const items = value.split(' ').filter((one) => one !== '');
    // Envoy makes the list with its first item.
    return [name, items.length === 0 ? value : items];
  };
  request.claims = Object.fromEntries(Object.entries(token.claims).map(split));
}

function removeOutputs(rule: JwtRule, { lines }: TokenRequest): void {
  for (const name of [rule.outputPayloadToHeader, ...(rule.outputClaimToHeaders ?? []).map(({ header }) => header)])
    if (name !== undefined) removeLines(lines, name);
}

/** {@link tryRule} on a copy, which replaces the request only when all of its tokens are good. */
function tryAlone(rule: JwtRule, request: TokenRequest, now: number): string {
  const copy = { ...request, lines: request.lines.map(([name, value]): Line => [name, value]) };
  const status = tryRule(rule, copy, now);
  if (status === 'ok') {
    request.lines.splice(0, request.lines.length, ...copy.lines);
    Object.assign(request, { query: copy.query, claims: copy.claims });
  }
  return status;
}

/** `ok`, or the text of what is wrong. */
function tryRule(rule: JwtRule, request: TokenRequest, now: number): string {
  removeOutputs(rule, request);
  const tokens = extract(rule, request);
  if (tokens.length === 0) return missing;
  for (const { text, at } of tokens.toReversed()) {
    try {
      applyToken(rule, verifyToken(rule, text, now), at, request);
    } catch (error) {
      if (error instanceof TokenFault) return error.message;
      throw error;
    }
  }
  return 'ok';
}

/**
 * Authenticates the user of a request by the rules (2.3): undefined, or the answer. With `isCautious` as enmesh is on purpose: a rule that fails
 * changes nothing for the next.
 */
export function authenticate(
  rules: readonly JwtRule[],
  request: TokenRequest,
  now: number,
  isCautious = false,
): { status: number; body: string } | undefined {
  const attempt = isCautious ? tryAlone : tryRule;
  for (const rule of rules) removeOutputs(rule, request);
  const has = (name: string): boolean => valuesOf(request.lines, name).some((value) => value !== '');
  if (rules.length === 0 || (request.method === 'OPTIONS' && has('origin') && has('access-control-request-method')))
    return undefined;
  const statuses: string[] = [];
  for (const rule of rules) {
    const status = attempt(rule, request, now);
    if (status === 'ok') return undefined;
    statuses.push(status);
  }
  if (rules.length === 1 && statuses[0] === missing) return undefined;
  if (rules.length > 1) {
    const failed = rules.map((rule) => attempt(rule, request, now)).find((status) => status !== 'ok' && status !== missing);
    if (failed === undefined) return undefined;
    statuses.push(failed);
  }
  let final = missing;
  for (const status of statuses) if ((status !== missing && status !== unknownIssuer) || final === missing) final = status;
  return { status: final === wrongAudience ? 403 : 401, body: final };
}
