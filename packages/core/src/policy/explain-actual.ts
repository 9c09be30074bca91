import type { RequestAttributes } from '../request/attributes.js';
import { claimAt, parseBrackets } from './claims.js';
import { isSecretHeader, isTokenLike, shownText } from './explain-text.js';

const present = 'present';

type Show = (request: RequestAttributes, listed: readonly string[]) => string | undefined;

/** What is shown of a request for each key of a rule; `listed` are the values that the policy itself names. */
const attributes: Readonly<Record<string, Show>> = {
  'source.principal': ({ peer }) => peer?.principal,
  'source.namespace': ({ peer }) => peer?.namespace,
  'source.serviceAccount': ({ peer }) =>
    peer?.namespace === undefined || peer.serviceAccount === undefined ? undefined : `${peer.namespace}/${peer.serviceAccount}`,
  'source.trustDomain': ({ peer }) => peer?.trustDomain,
  'source.ip': (request) => request.sourceIp,
  'remote.ip': (request) => request.remoteIp,
  'destination.ip': (request) => request.destinationIp,
  'destination.port': (request) => String(request.destinationPort),
  'connection.sni': (request) => request.sni,
  'operation.method': (request) => request.method,
  // A client may write user:password@ before the host.
  'operation.host': (request) => request.host.slice(request.host.lastIndexOf('@') + 1),
  'operation.path': (request) => (request.path.includes('eyJ') ? present : request.path),
  'request.auth.principal': showPrincipal,
  'request.auth.audiences': ({ user }, listed) => showClaim(user?.audiences.length === 0 ? undefined : user?.audiences, listed),
  'request.auth.presenter': ({ user }, listed) => showClaim(user?.presenter ?? user?.claims['azp'], listed),
};

/**
 * What may be shown of the attribute that a field or `when` key is about: bounded and escaped, undefined when the request has none. Of secret
 * headers only that they are there, of claims their type and those values that `listed`, the policy's own, already names.
 */
export function actualOf(key: string, request: RequestAttributes, listed: readonly string[]): string | undefined {
  const show = Object.hasOwn(attributes, key) ? attributes[key] : undefined;
  const text = show === undefined ? showNamed(key, request, listed) : show(request, listed);
  return text === undefined ? undefined : shownText(text);
}

/** The values of a field as they may be shown: those that a secret header is compared with are as secret as the header. */
export function expectedOf(key: string, values: readonly string[]): readonly string[] {
  const header = headerOf(key);
  if (header === undefined) return values.map(shownText);
  return values.map((value) => (isSecretHeader(header) || isTokenLike(value) ? '(hidden)' : shownText(value)));
}

function headerOf(key: string): string | undefined {
  const name = /^request\.headers\[(.+)\]$/.exec(key)?.[1];
  return name?.toLowerCase();
}

function showNamed(key: string, request: RequestAttributes, listed: readonly string[]): string | undefined {
  const header = headerOf(key);
  if (header !== undefined) return showHeader(header, request);
  const path = parseBrackets(key.slice('request.auth.claims'.length));
  if (!key.startsWith('request.auth.claims[') || path === undefined) return undefined;
  return showClaim(request.user && claimAt(request.user.claims, path), listed);
}

function showHeader(name: string, request: RequestAttributes): string | undefined {
  const lines = request.header(name);
  if (lines === undefined) return undefined;
  if (isSecretHeader(name) || lines.length > 8) return present;
  const shown = lines.map(withoutSecrets);
  return shown.some(isTokenLike) ? present : shown.join(', ');
}

/** Tokens travel in queries, of the request's own path and of any address that a header holds, and passwords before an `@`. */
function withoutSecrets(line: string): string {
  const start = line.slice(0, 300);
  return start.replace(/[?#].*$/s, '?...').replace(/[^\s/]+@/g, '...@');
}

function typeOf(claim: unknown): string {
  if (Array.isArray(claim)) return `a list of ${claim.length}`;
  if (claim === null) return 'null';
  return typeof claim === 'object' ? 'an object' : `a ${typeof claim}`;
}

function showClaim(claim: unknown, listed: readonly string[]): string | undefined {
  if (claim === undefined) return undefined;
  const values: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  const known = listed.filter((value) => values.includes(value));
  return `${present}, ${typeOf(claim)}${known.length === 0 ? '' : ` with ${known.slice(0, 3).join(', ')}`}`;
}

/** Issuer and subject are claims: shown as far as the policy names them itself. */
function showPrincipal({ user }: RequestAttributes, listed: readonly string[]): string | undefined {
  if (user === undefined) return undefined;
  const { issuer, subject } = user;
  if (issuer === undefined || subject === undefined) return `${present}, without ${issuer === undefined ? 'iss' : 'sub'}`;
  const whole = `${issuer}/${subject}`;
  if (listed.includes(whole)) return whole;
  return listed.some((value) => value.startsWith(`${issuer}/`)) ? `${issuer}/(another subject)` : `${present}, of another issuer`;
}
