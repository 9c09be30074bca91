import { BlockList, isIP } from 'node:net';

/** What an RBAC filter of Envoy may know of a request, in Envoy's own terms. `payload` is that of the verified token, space-delimited claims split. */
export interface RbacRequest {
  readonly method: string;
  readonly authority: string;
  /** With query, as `:path`. */
  readonly path: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly sourceIp: string;
  readonly remoteIp: string;
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly sni: string;
  /** The peer's URI SAN; undefined in the clear. */
  readonly peer: string | undefined;
  readonly payload: Readonly<Record<string, unknown>> | undefined;
}

/** A node of a filter's configuration, as its YAML says it. */
export type RbacNode = Readonly<Record<string, unknown>>;

/** One RBAC filter: what is enforced and what is only recorded. */
export interface RbacFilter {
  readonly rules?: RbacRules;
  readonly shadowRules?: RbacRules;
  readonly shadowRulesStatPrefix?: string;
}

/** Rules of one action; ALLOW when the action is not given. */
export interface RbacRules {
  readonly action?: 'ALLOW' | 'DENY' | 'LOG';
  readonly policies?: Readonly<Record<string, { readonly permissions: RbacNode[]; readonly principals: RbacNode[] }>>;
}

type Matcher = (value: never, request: RbacRequest) => boolean;

const block = ({ addressPrefix, prefixLen }: { addressPrefix: string; prefixLen: number }, address: string): boolean => {
  const list = new BlockList();
  const family = (ip: string): 'ipv4' | 'ipv6' => (isIP(ip) === 6 ? 'ipv6' : 'ipv4');
  list.addSubnet(addressPrefix, prefixLen, family(addressPrefix));
  return isIP(address) !== 0 && family(address) === family(addressPrefix) && list.check(address, family(address));
};

/** A full match of an RE2 pattern, `(?i)` in front of it included. */
function matchesRegex(pattern: string, text: string): boolean {
  const folded = pattern.startsWith('(?i)');
  return new RegExp(`^(?:${folded ? pattern.slice(4) : pattern})$`, folded ? 'i' : '').test(text);
}

function matchesString(matcher: RbacNode, text: string): boolean {
  const folded = matcher['ignoreCase'] === true;
  const fold = (value: unknown): string => (folded ? String(value).toLowerCase() : String(value));
  if ('exact' in matcher) return fold(text) === fold(matcher['exact']);
  if ('prefix' in matcher) return fold(text).startsWith(fold(matcher['prefix']));
  if ('suffix' in matcher) return fold(text).endsWith(fold(matcher['suffix']));
  const { regex } = matcher['safeRegex'] as { regex: string };
  return matchesRegex(regex, text);
}

function headerOf(request: RbacRequest, name: string): readonly string[] | undefined {
  const pseudo: Record<string, string> = { ':authority': request.authority, ':method': request.method, ':path': request.path };
  return pseudo[name] === undefined ? request.headers[name.toLowerCase()] : [pseudo[name]];
}

function matchesHeader(matcher: RbacNode, request: RbacRequest): boolean {
  const lines = headerOf(request, String(matcher['name']));
  if (lines === undefined) return false;
  if (matcher['presentMatch'] === true) return true;
  const regex = matcher['safeRegexMatch'] as { regex: string } | undefined;
  if (regex !== undefined) return lines.some((line) => matchesRegex(regex.regex, line));
  return lines.some((line) => matchesString(matcher['stringMatch'] as RbacNode, line));
}

function matchesValue(matcher: RbacNode, value: unknown): boolean {
  if ('orMatch' in matcher)
    return (matcher['orMatch'] as { valueMatchers: RbacNode[] }).valueMatchers.some((one) => matchesValue(one, value));
  if ('listMatch' in matcher) {
    const { oneOf } = matcher['listMatch'] as { oneOf: RbacNode };
    return Array.isArray(value) && value.some((item) => matchesValue(oneOf, item));
  }
  return typeof value === 'string' && matchesString(matcher['stringMatch'] as RbacNode, value);
}

function matchesMetadata(matcher: RbacNode, request: RbacRequest): boolean {
  let value: unknown = matcher['filter'] === 'envoy.filters.http.jwt_authn' ? { payload: request.payload } : undefined;
  for (const { key } of matcher['path'] as { key: string }[]) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return false;
    value = (value as Record<string, unknown>)[key];
  }
  return matchesValue(matcher['value'] as RbacNode, value);
}

const pathOf = ({ path }: RbacRequest): string => path.replace(/[?#].*$/s, '');

function matchesTemplate(matcher: RbacNode, request: RbacRequest): boolean {
  const { pathTemplate } = matcher['typedConfig'] as { pathTemplate: string };
  const characters = "A-Za-z0-9\\-._~%!$&'()+,;:@=*";
  const segments = pathTemplate.split('/').map((segment) => {
    if (segment === '*') return `[${characters}]+`;
    return segment === '**' ? `[${characters}/]*` : segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${segments.join('/')}$`).test(pathOf(request));
}

const everyOf = (nodes: readonly RbacNode[], request: RbacRequest): boolean =>
  nodes.every((node) => matchesRbacNode(node, request));
const someOf = (nodes: readonly RbacNode[], request: RbacRequest): boolean =>
  nodes.some((node) => matchesRbacNode(node, request));

const matchers: Readonly<Record<string, Matcher>> = {
  any: (value: boolean) => value,
  andRules: ({ rules }: { rules: RbacNode[] }, request) => everyOf(rules, request),
  orRules: ({ rules }: { rules: RbacNode[] }, request) => someOf(rules, request),
  notRule: (rule: RbacNode, request) => !matchesRbacNode(rule, request),
  andIds: ({ ids }: { ids: RbacNode[] }, request) => everyOf(ids, request),
  orIds: ({ ids }: { ids: RbacNode[] }, request) => someOf(ids, request),
  notId: (id: RbacNode, request) => !matchesRbacNode(id, request),
  header: matchesHeader,
  urlPath: ({ path }: { path: RbacNode }, request) => matchesString(path, pathOf(request)),
  uriTemplate: matchesTemplate,
  destinationPort: (port: number, request) => port === request.destinationPort,
  destinationIp: (range: never, request) => block(range, request.destinationIp),
  directRemoteIp: (range: never, request) => block(range, request.sourceIp),
  remoteIp: (range: never, request) => block(range, request.remoteIp),
  requestedServerName: (matcher: RbacNode, request) => matchesString(matcher, request.sni),
  metadata: matchesMetadata,
  authenticated: ({ principalName }: { principalName: RbacNode }, { peer }) =>
    peer !== undefined && matchesString(principalName, peer),
};

/** Whether one permission or principal matches. Throws on a matcher that it does not know, so that none is passed over. */
export function matchesRbacNode(node: RbacNode, request: RbacRequest): boolean {
  const [kind, ...more] = Object.keys(node);
  const matcher = kind === undefined ? undefined : matchers[kind];
  if (kind === undefined || matcher === undefined || more.length > 0) throw new TypeError(`unknown matcher ${kind}`);
  return matcher(node[kind] as never, request);
}

/** The name of the first policy that matches, in lexical order of names; undefined when none does. */
export function firstRbacPolicy(rules: RbacRules | undefined, request: RbacRequest): string | undefined {
  const names = Object.keys(rules?.policies ?? {}).sort((a, b) => (a < b ? -1 : 1));
  return names.find((name) => {
    const policy = rules?.policies?.[name];
    return policy !== undefined && someOf(policy.permissions, request) && someOf(policy.principals, request);
  });
}
