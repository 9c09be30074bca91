import { bareHost } from './host.js';
import type { RequestAttributes } from '../request/attributes.js';
import { compileBlocks } from './address.js';
import { compileClaim, matchesClaim, parseBrackets } from './claims.js';
import { compileHeader, compilePathHeader } from './headers.js';
import { compileText, type AnyMeaning, type TextMatcher } from './match.js';
import { compileRequestPaths } from './path.js';
import {
  compileNamespaces,
  compilePrincipals,
  compileRequestPrincipals,
  compileServiceAccounts,
  compileTrustDomains,
} from './principals.js';
import type { TrustDomainBundle } from './trust-domain.js';

/** Whether a request satisfies a field, a condition or a rule. Synchronous, without clock or network. */
export type RequestMatcher = (request: RequestAttributes) => boolean;

/** What the values of a field are read against. */
export interface FieldContext {
  /** The namespace of the policy: that of a service account written without one. */
  readonly namespace: string;
  readonly bundle: TrustDomainBundle;
  /** True where a match refuses the request: positive values of DENY and CUSTOM, negative values of ALLOW. Every spelling then counts. */
  readonly cautious: boolean;
  /** True for AUDIT, whose match only notes a request: values are then read as Istio reads them, but for the spellings of a route. */
  readonly isAudit?: boolean;
}

type Compile = (values: readonly string[], context: FieldContext) => RequestMatcher | undefined;

const isStrict = ({ cautious, isAudit = false }: FieldContext): boolean => cautious && !isAudit;

const meaningOfAny = (context: FieldContext): AnyMeaning => (isStrict(context) ? 'some-line' : 'some');

const ofPeer = (matches: TextMatcher | undefined): RequestMatcher | undefined =>
  matches && (({ peer }) => peer !== undefined && matches(peer.uri));

function compilePorts(values: readonly string[]): RequestMatcher | undefined {
  const ports = new Set(values.map((value) => (/^\d{1,5}$/.test(value) ? Number(value) : -1)));
  for (const port of ports) if (port < 0 || port > 65535) return undefined;
  return (request) => ports.has(request.destinationPort);
}

/** Values of `hosts` against the host with its port as sent (istio-semantics 3.7). Where a doubtful match refuses, against the bare host too. */
function compileHosts(values: readonly string[], context: FieldContext): RequestMatcher {
  const matches = compileText(
    values.map((value) => value.toLowerCase()),
    'present',
  );
  if (!isStrict(context)) return (request) => matches(request.host);
  return ({ host }) => matches(host) || matches(bareHost(host));
}

/** The fields of a rule and the keys of `when` that need no further name (istio-semantics 3.6, 3.7 and 3.9). */
const fields: Readonly<Record<string, Compile>> = {
  'source.principal': (values, { bundle }) => ofPeer(compilePrincipals(values, bundle)),
  'source.namespace': (values) => ofPeer(compileNamespaces(values)),
  'source.serviceAccount': (values, { namespace }) => ofPeer(compileServiceAccounts(values, namespace)),
  'source.trustDomain': (values, { bundle }) => ofPeer(compileTrustDomains(values, bundle)),
  'source.ip': (values) => {
    const inside = compileBlocks(values);
    return inside && ((request) => inside(request.sourceIp));
  },
  'remote.ip': (values) => {
    const inside = compileBlocks(values);
    return inside && ((request) => inside(request.remoteIp));
  },
  'destination.ip': (values) => {
    const inside = compileBlocks(values);
    return inside && ((request) => inside(request.destinationIp));
  },
  'destination.port': compilePorts,
  'connection.sni': (values, context) => {
    const matches = compileText(values, meaningOfAny(context));
    return (request) => matches(request.sni);
  },
  'request.auth.principal': (values, context) => {
    const matches = compileRequestPrincipals(values, meaningOfAny(context));
    return ({ user }) => user !== undefined && matches(user.issuer, user.subject);
  },
  'request.auth.audiences': (values, context) => {
    const matches = compileText(values, meaningOfAny(context));
    return ({ user }) => user !== undefined && matchesClaim(user.audiences, matches);
  },
  'request.auth.presenter': (values, context) => {
    const matches = compileText(values, meaningOfAny(context));
    return ({ user }) => user !== undefined && matchesClaim(user.presenter ?? user.claims['azp'], matches);
  },
  'operation.host': compileHosts,
  'operation.method': (values) => {
    const matches = compileText(values, 'present');
    return (request) => matches(request.method);
  },
  'operation.path': (values, { cautious }) => compileRequestPaths(values, cautious),
};

const headers = 'request.headers';
const claims = 'request.auth.claims';

/**
 * Compiles the values of one field or `when` key into a matcher of their OR. Undefined when it cannot be judged here: an unknown key, an
 * Envoy filter's metadata, an empty value, a malformed address, port, account, trust domain or template. What an absent attribute is asked for never matches.
 */
export function compileField(key: string, values: readonly string[], context: FieldContext): RequestMatcher | undefined {
  if (values.includes('')) return undefined;
  if (Object.hasOwn(fields, key)) return fields[key]?.(values, context);
  if (key.startsWith(`${headers}[`) && key.endsWith(']')) {
    const name = key.slice(headers.length + 1, -1);
    if (name === '') return undefined;
    return name.toLowerCase() === ':path'
      ? compilePathHeader(values, context.cautious)
      : compileHeader(name, values, isStrict(context));
  }
  if (!key.startsWith(`${claims}[`)) return undefined;
  const path = parseBrackets(key.slice(claims.length));
  if (path === undefined || path.includes('')) return undefined;
  return compileClaim(path, compileText(values, meaningOfAny(context)));
}
