import { EnmeshError } from '../errors.js';
import { compareByCreation, isSelected, type ResourceMeta } from '../identity/workload.js';
import { parseKeySet, type JwtKey } from './jwk.js';
import { compileLocations, type TokenLocation } from './locations.js';
import { isOutputHeader } from './outputs.js';
import type { JwtRuleSpec, RequestAuthentication } from './resource.js';
import { sanitizeAudience } from './token.js';

/** Where the keys of a rule come from; `id` is equal for rules that share one fetched set. `uri` undefined means discovery from the issuer. */
export type KeySource =
  | { readonly kind: 'inline'; readonly keys: readonly JwtKey[] }
  | {
      readonly kind: 'remote';
      readonly id: string;
      readonly issuer: string;
      readonly uri: string | undefined;
      readonly timeoutMs: number;
      /** `<namespace>/<name>` of the policy, for messages. */
      readonly policy: string;
    };

/** One jwtRule, compiled. Names of headers are in lower case. */
export interface JwtRule {
  /** Its place in the rule set. */
  readonly index: number;
  /** `<namespace>/<name>` of its RequestAuthentication. */
  readonly policy: string;
  /** Empty: any issuer. */
  readonly issuer: string;
  /** Sanitized audiences; undefined: not checked. */
  readonly audiences: ReadonlySet<string> | undefined;
  /** In the order in which what stands there is verified. */
  readonly locations: readonly TokenLocation[];
  readonly forwardOriginalToken: boolean;
  readonly payloadHeader: string | undefined;
  readonly claimHeaders: readonly { readonly header: string; readonly path: readonly string[] }[];
  /** Top-level claims that are split at spaces. */
  readonly listClaims: readonly string[];
  /** Whether nothing else reads the payloads that this rule accepts: no other rule, and no output header of a claim. */
  readonly ownsPayload: boolean;
  readonly keySource: KeySource;
}

/**
 * The jwtRules that hold for one workload, in Istio's order. `outputHeaders` are the headers, lower case, that are removed from every request
 * before anything reads it: only a verified token may set them.
 */
export interface JwtRuleSet {
  readonly rules: readonly JwtRule[];
  readonly outputHeaders: readonly string[];
  /** The one header, lower case, where a single rule finds tokens besides the query; undefined for any other set of rules. */
  readonly soleHeader: string | undefined;
}

const defaultTimeout = 5_000;
const maxTimeout = 60_000;

/**
 * Compiles the RequestAuthentications that select a workload (istio-semantics 2.2): those of its namespace, then those of the root namespace,
 * each by creation, stably sorted by issuer. Throws `ENMESH_JWT_KEY_SET_INVALID` at an inline `jwks` without a usable key.
 */
export function compileJwtRules(
  policies: readonly RequestAuthentication[],
  target: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> },
  rootNamespace: string,
): JwtRuleSet {
  const selected = [...new Set([target.namespace, rootNamespace])].flatMap((namespace) =>
    policies
      .filter((policy) => policy.meta.namespace === namespace && isForWorkload(policy, target.labels))
      .sort(compareByCreation),
  );
  const specs = selected.flatMap(({ meta, spec }) => (spec.jwtRules ?? []).map((rule) => ({ meta, rule })));
  specs.sort((a, b) => compareText(a.rule.issuer ?? '', b.rule.issuer ?? ''));
  const outputs = new Set(specs.flatMap(({ rule }) => outputNames(rule)));
  const isAlone = specs.length === 1;
  const rules = specs.map(({ meta, rule }, index) => compileRule(rule, meta, { index, outputs, isAlone }));
  return Object.freeze({ rules, outputHeaders: [...outputs].filter(isOutputHeader), soleHeader: soleHeaderOf(rules) });
}

function soleHeaderOf(rules: readonly JwtRule[]): string | undefined {
  const [rule] = rules;
  if (rule === undefined || rules.length > 1 || rule.locations.some(({ kind }) => kind === 'cookie')) return undefined;
  const headers = rule.locations.filter(({ kind }) => kind === 'header');
  return headers.length === 1 ? headers[0]?.name : undefined;
}

function isForWorkload({ spec }: RequestAuthentication, labels: Readonly<Record<string, string>>): boolean {
  const attached = spec.targetRef !== undefined || (spec.targetRefs?.length ?? 0) > 0;
  return !attached && isSelected(spec.selector, labels);
}

const outputNames = (rule: JwtRuleSpec): string[] =>
  [rule.outputPayloadToHeader ?? '', ...(rule.outputClaimToHeaders ?? []).map(({ header }) => header)]
    .filter((name) => name !== '')
    .map((name) => name.toLowerCase());

/** What a rule's set makes of it. */
interface RulePlace {
  readonly index: number;
  /** The output headers of all rules. */
  readonly outputs: ReadonlySet<string>;
  readonly isAlone: boolean;
}

function compileRule(rule: JwtRuleSpec, meta: ResourceMeta, { index, outputs, isAlone }: RulePlace): JwtRule {
  const { audiences = [], outputPayloadToHeader = '', outputClaimToHeaders = [], spaceDelimitedClaims = [] } = rule;
  return {
    index,
    policy: `${meta.namespace}/${meta.name}`,
    issuer: rule.issuer ?? '',
    audiences: audiences.length === 0 ? undefined : new Set(audiences.map(sanitizeAudience)),
    // Output headers are gone before tokens are read, so a token in one is never seen.
    locations: compileLocations(rule).filter(
      ({ kind, name }) => !outputs.has(kind === 'cookie' ? 'cookie' : kind === 'header' ? name : ''),
    ),
    forwardOriginalToken: rule.forwardOriginalToken ?? false,
    payloadHeader: outputPayloadToHeader === '' ? undefined : outputPayloadToHeader.toLowerCase(),
    claimHeaders: outputClaimToHeaders.map(({ header, claim }) => ({ header: header.toLowerCase(), path: claim.split('.') })),
    listClaims: [...new Set(['scope', 'permission', ...spaceDelimitedClaims])],
    ownsPayload: isAlone && outputClaimToHeaders.length === 0,
    keySource: compileKeySource(rule, meta),
  };
}

function compileKeySource(rule: JwtRuleSpec, meta: ResourceMeta): KeySource {
  const { issuer = '', jwks = '', jwksUri = '' } = rule;
  if (jwks !== '') return { kind: 'inline', keys: inlineKeys(jwks, issuer, meta) };
  const uri = jwksUri === '' ? undefined : jwksUri;
  const timeoutMs = Math.min(parseTimeout(rule.timeout) || defaultTimeout, maxTimeout);
  return {
    kind: 'remote',
    id: JSON.stringify([issuer, uri, timeoutMs]),
    issuer,
    uri,
    timeoutMs,
    policy: `${meta.namespace}/${meta.name}`,
  };
}

function inlineKeys(jwks: string, issuer: string, meta: ResourceMeta): readonly JwtKey[] {
  const { file, line, column } = meta.source;
  const where = `${file}:${line}:${column} RequestAuthentication ${meta.namespace}/${meta.name}: jwks of issuer ${JSON.stringify(issuer)}`;
  let problem = 'it has no usable public key';
  try {
    const { keys } = parseKeySet(jwks);
    if (keys.length > 0) return keys;
  } catch (error) {
    problem = (error as Error).message;
  }
  throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', `${where}: ${problem}`, { details: { file, line, column } });
}

const durationUnits: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 };

/** A Go duration such as `5s` or `1m30s` in milliseconds; 0 when absent or no duration (validation has refused those). */
function parseTimeout(text = ''): number {
  let total = 0;
  for (const [, amount, unit = ''] of text.matchAll(/([0-9.]+)(ms|us|µs|ns|h|m|s)/g))
    total += Number(amount) * (durationUnits[unit] ?? 0);
  return Number.isFinite(total) ? Math.ceil(total) : 0;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
