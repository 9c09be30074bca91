import {
  matchesAddress,
  matchesHeader,
  matchesNamespace,
  matchesPath,
  matchesPrincipal,
  matchesRequestPrincipal,
  matchesServiceAccount,
  matchesText,
  matchesTrustDomain,
} from './matching.js';
import type { Claims } from './token.js';
import { selected, trustDomainOf, type Attached, type Document, type MeshFields, type Target } from './world.js';

type Fields = Readonly<Record<string, readonly string[]>>;

export interface Condition {
  readonly key: string;
  readonly values?: readonly string[];
  readonly notValues?: readonly string[];
}

export interface Rule {
  readonly from?: readonly { readonly source: Fields }[];
  readonly to?: readonly { readonly operation: Fields }[];
  readonly when?: readonly Condition[];
}

export interface AuthorizationPolicy extends Attached {
  readonly action?: string;
  readonly rules?: readonly (Rule | null)[];
}

/** All that a policy may ask of a request, after normalization and authentication. */
export interface Facts {
  readonly method: string;
  readonly path: string;
  readonly host: string;
  readonly sourceIp: string;
  readonly remoteIp: string;
  readonly destinationIp: string;
  readonly destinationPort: number;
  readonly sni: string;
  /** URI of the verified peer. */
  readonly peer: string | undefined;
  readonly claims: Claims | undefined;
  /** The lines of a header, pseudo-headers too; empty when absent. */
  header(name: string): readonly string[];
}

export interface Shadow {
  readonly result: 'allowed' | 'denied';
  readonly policy?: string;
  readonly rule?: number;
}

export interface Verdict {
  readonly allowed: boolean;
  readonly policy?: string;
  readonly rule?: number;
  readonly audit?: boolean;
  readonly auditedBy?: Hit;
  readonly dryRun?: { readonly allow?: Shadow; readonly deny?: Shadow };
}

interface Context {
  readonly facts: Facts;
  readonly namespace: string;
  readonly trustDomains: readonly string[];
  /** Where a match refuses and enmesh is cautious: every reading of a value counts. */
  readonly isCautious?: boolean;
}

/** Whether a wildcard at either end of `pattern` covers `text`. */
const covers = (pattern: string, text: string): boolean =>
  (pattern.endsWith('*') && text.startsWith(pattern.slice(0, -1))) ||
  (pattern.startsWith('*') && text.endsWith(pattern.slice(1)));

/** A principal with the mesh's trust domain and its aliases (3.10). */
export function expandPrincipal(value: string, trustDomains: readonly string[]): string[] {
  const [own = '', ...rest] = value.split('/');
  if (rest.length !== 4 || own === '*') return [value];
  const isOurs = trustDomains.some((one) => one === own || covers(own, one) || covers(one, own));
  if (!isOurs && own !== 'cluster.local') return [value];
  return trustDomains.map((one) => (own.startsWith('*') && one.endsWith(own.slice(1)) ? value : [one, ...rest].join('/')));
}

const readable = (text: string): string => text.replaceAll('\n', ' ');

/** Matches a text; where caution asks for it, a lone `*` takes one with line feeds too. */
const matchesLine = (value: string, text: string, { isCautious }: Context): boolean =>
  matchesText(value, isCautious && value === '*' ? readable(text) : text);

/** Matches one value of a claim, or any text of a list (3.9). */
const matchesClaim = (value: string, claim: unknown, context: Context): boolean =>
  [claim].flat().some((one) => typeof one === 'string' && matchesLine(value, one, context));

/** The host as applications look at it too. */
const bareHost = (host: string): string => host.replace(/^.*@/, '').replace(/:\d*$/, '').replace(/\.$/, '');

/** A line of a header, and its items where caution asks for them. */
const itemsOf = (line: string, { isCautious }: Context): string[] =>
  isCautious ? [line, ...line.split(',').map((item) => item.trim())] : [line];

type Matcher = (value: string, context: Context) => boolean;

const ofPeer =
  (matches: (value: string, uri: string, context: Context) => boolean): Matcher =>
  (value, context) =>
    context.facts.peer !== undefined && matches(value, context.facts.peer, context);

const principal = ofPeer((value, uri, { trustDomains }) =>
  expandPrincipal(value, trustDomains).some((one) => matchesPrincipal(one, uri)),
);
const namespace = ofPeer(matchesNamespace);
const serviceAccount = ofPeer((value, uri, context) => matchesServiceAccount(value, uri, context.namespace));
const trustDomain = ofPeer((value, uri, { trustDomains }) =>
  (trustDomains.includes(value) ? trustDomains : [value]).some((one) => matchesTrustDomain(one, uri)),
);
const requestPrincipal: Matcher = (value, context) => {
  const { iss, sub } = context.facts.claims ?? {};
  if (typeof iss !== 'string' || typeof sub !== 'string') return false;
  if (matchesRequestPrincipal(value, iss, sub)) return true;
  return context.isCautious === true && value === '*' && matchesRequestPrincipal(value, readable(iss), readable(sub));
};
const sourceIp: Matcher = (value, { facts }) => matchesAddress(value, facts.sourceIp);
const remoteIp: Matcher = (value, { facts }) => matchesAddress(value, facts.remoteIp);
const port: Matcher = (value, { facts }) => Number(value) === facts.destinationPort;

const fieldMatchers: Readonly<Record<string, Matcher>> = {
  principals: principal,
  namespaces: namespace,
  serviceAccounts: serviceAccount,
  trustDomains: trustDomain,
  requestPrincipals: requestPrincipal,
  ipBlocks: sourceIp,
  remoteIpBlocks: remoteIp,
  hosts: (value, { facts, isCautious }) =>
    (isCautious ? [facts.host, bareHost(facts.host)] : [facts.host]).some((host) =>
      matchesHeader(value.toLowerCase(), host.toLowerCase()),
    ),
  methods: (value, { facts }) => matchesHeader(value, facts.method),
  paths: (value, { facts }) => matchesPath(value, facts.path),
  ports: port,
};

const keyMatchers: Readonly<Record<string, Matcher>> = {
  'source.ip': sourceIp,
  'remote.ip': remoteIp,
  'source.namespace': namespace,
  'source.serviceAccount': serviceAccount,
  'source.principal': principal,
  'source.trustDomain': trustDomain,
  'request.auth.principal': requestPrincipal,
  'request.auth.audiences': (value, context) => matchesClaim(value, context.facts.claims?.['aud'], context),
  'request.auth.presenter': (value, context) => matchesClaim(value, context.facts.claims?.['azp'], context),
  'destination.ip': (value, { facts }) => matchesAddress(value, facts.destinationIp),
  'destination.port': port,
  'connection.sni': (value, context) => matchesLine(value, context.facts.sni, context),
};

/** The claim at `[a][b]`; brackets that do not pair up are one literal name. */
function claimAt(brackets: string, claims: Claims | undefined): unknown {
  const inner = brackets.slice(1, -1);
  const parts = inner.split('][');
  const names = parts.some((part) => /[[\]]/.test(part)) ? [inner] : parts;
  let value: unknown = claims;
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

function matcherOf(key: string): Matcher {
  const plain = keyMatchers[key];
  if (plain !== undefined) return plain;
  if (key.startsWith('request.headers[')) {
    const name = key.slice('request.headers['.length, -1).toLowerCase();
    return (value, context) =>
      context.facts.header(name).some((line) => itemsOf(line, context).some((item) => matchesHeader(value, item)));
  }
  const brackets = key.slice('request.auth.claims'.length);
  return (value, context) => matchesClaim(value, claimAt(brackets, context.facts.claims), context);
}

/** Where a match refuses: `cautiously` for positive values, or for negative ones. */
interface Contexts {
  readonly positive: Context;
  readonly negative: Context;
}

/** All fields of a source or an operation; a field is met by any of its values, a `notX` by none (3.4). */
function matchesFields(fields: Fields, contexts: Contexts): boolean {
  return Object.entries(fields).every(([name, values]) => {
    if (values.length === 0) return true;
    const isNegative = name.startsWith('not');
    const field = isNegative ? (name[3] ?? '').toLowerCase() + name.slice(4) : name;
    const matcher = fieldMatchers[field] as Matcher;
    const context = isNegative ? contexts.negative : contexts.positive;
    return values.some((value) => matcher(value, context)) !== isNegative;
  });
}

function matchesCondition({ key, values = [], notValues = [] }: Condition, { positive, negative }: Contexts): boolean {
  const matcher = matcherOf(key);
  return (
    (values.length === 0 || values.some((value) => matcher(value, positive))) &&
    !notValues.some((value) => matcher(value, negative))
  );
}

/** Whether a rule matches: any source, any operation, all conditions (3.4). */
export function matchesRule({ from = [], to = [], when = [] }: Rule, contexts: Contexts): boolean {
  return (
    (from.length === 0 || from.some(({ source }) => matchesFields(source, contexts))) &&
    (to.length === 0 || to.some(({ operation }) => matchesFields(operation, contexts))) &&
    when.every((condition) => matchesCondition(condition, contexts))
  );
}

interface Hit {
  readonly policy: string;
  readonly rule: number;
}

/** Positive values refuse in a DENY, negative ones in an ALLOW. An AUDIT refuses nothing. */
function contextsOf(action: string, context: Context): Contexts {
  const plain = { ...context, isCautious: false };
  if (action === 'AUDIT') return { positive: plain, negative: plain };
  return action === 'ALLOW' ? { positive: plain, negative: context } : { positive: context, negative: plain };
}

/** The first matching rule in the lexical order of rule ids (3.2). */
function firstHit(policies: readonly Document<AuthorizationPolicy>[], given: Omit<Context, 'namespace'>): Hit | undefined {
  const rules = policies.flatMap(({ namespace: own, name, spec }) =>
    (spec.rules ?? []).map((rule, index) => {
      const contexts = contextsOf(spec.action ?? 'ALLOW', { ...given, namespace: own });
      return { id: `ns[${own}]-policy[${name}]-rule[${index}]`, own, name, rule, index, contexts };
    }),
  );
  rules.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const hit = rules.find(({ rule, contexts }) => rule !== null && matchesRule(rule, contexts));
  return hit && { policy: `${hit.own}/${hit.name}`, rule: hit.index };
}

const isDryRun = ({ annotations }: Document<AuthorizationPolicy>): boolean =>
  ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(annotations['istio.io/dry-run'] ?? '');

/**
 * What AUDIT, DENY and ALLOW of a workload say, rule by rule (3.2, 3.12). CUSTOM is not asked. With `isCautious` as docs/deviations.md has it where a
 * match refuses: hosts without their port count too, items of a header line, and texts with line feeds for a lone `*`.
 */
export function decide(
  documents: readonly Document<AuthorizationPolicy>[],
  target: Target,
  mesh: MeshFields,
  facts: Facts,
  isCautious = false,
): Verdict {
  const trustDomains = [trustDomainOf(mesh), ...(mesh.trustDomainAliases ?? [])];
  const all = selected(documents, 'AuthorizationPolicy', target, mesh);
  const of = (action: string, dry = false): Document<AuthorizationPolicy>[] =>
    all.filter((one) => (one.spec.action ?? 'ALLOW') === action && isDryRun(one) === dry);
  const hit = (policies: readonly Document<AuthorizationPolicy>[]): Hit | undefined =>
    firstHit(policies, { facts, trustDomains, isCautious });
  const shadow = (policies: readonly Document<AuthorizationPolicy>[], matched: 'allowed' | 'denied'): Shadow | undefined => {
    if (policies.length === 0) return undefined;
    const found = hit(policies);
    const other = matched === 'allowed' ? 'denied' : 'allowed';
    return found === undefined ? { result: other } : { result: matched, ...found };
  };
  const audits = of('AUDIT');
  const audited = hit(audits);
  const audit = audits.length === 0 ? {} : { audit: audited !== undefined, ...(audited && { auditedBy: audited }) };
  const denied = hit(of('DENY'));
  const deny = shadow(of('DENY', true), 'denied');
  // The filter of ALLOW is not reached behind a DENY.
  const allow = denied === undefined ? shadow(of('ALLOW', true), 'allowed') : undefined;
  const dryRun = allow || deny ? { dryRun: { ...(allow && { allow }), ...(deny && { deny }) } } : {};
  if (denied !== undefined) return { allowed: false, ...denied, ...audit, ...dryRun };
  const allows = of('ALLOW');
  if (allows.length === 0) return { allowed: true, ...audit, ...dryRun };
  const passed = hit(allows);
  return { allowed: passed !== undefined, ...passed, ...audit, ...dryRun };
}
