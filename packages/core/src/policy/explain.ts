import { sourceOfRule, type SourcePosition } from '../identity/workload.js';
import type { RequestAttributes } from '../request/attributes.js';
import { compilePolicies, type CompiledRule, type PolicyMesh, type PolicySet, type PolicyTarget } from './compile.js';
import { allMatches } from './rule-list.js';
import { evaluatePolicies, type Decision } from './evaluate.js';
import { describeFailure, findFailures, type ExplainContext, type FailedField, type Failure } from './explain-rule.js';
import type { AuthorizationPolicy, PolicyRule } from './resource.js';

export type { FailedField } from './explain-rule.js';

/** A rule by its policy's `namespace/name` and its index there; `source` is where it begins, or its policy's document where that is not known. */
export interface ExplainedRule {
  readonly policy: string;
  readonly rule: number;
  readonly source: SourcePosition;
}

/** An ALLOW rule that did not match, with the fields that would have to change for it to match. */
export interface NearMiss extends ExplainedRule {
  readonly failed: readonly FailedField[];
}

/** Why a request was decided as it was. */
export interface Explanation {
  readonly decision: Decision;
  /** The rule that decided; absent where none did. */
  readonly decisive?: ExplainedRule;
  /** Further DENY rules that match, at most 5: with `decisive` taken away one of them would decide. Absent when there are none. */
  readonly alsoDenying?: readonly ExplainedRule[];
  /** The ALLOW rules closest to matching, where none matches: at most 5, the fewest failing fields first. */
  readonly near: readonly NearMiss[];
  /** How many ALLOW rules were not looked at for `near` because of `maxValues`. Absent when all were. */
  readonly omitted?: number;
}

/** What is explained, and by what. */
export interface ExplainOptions {
  readonly policies: readonly AuthorizationPolicy[];
  readonly target: PolicyTarget;
  readonly mesh: PolicyMesh;
  readonly attributes: RequestAttributes;
  /** `policies` compiled for this target and mesh, where the caller has them already. */
  readonly set?: PolicySet;
  /** Bounds the work: rules are looked at until they name this many values together. Default: all rules. */
  readonly maxValues?: number;
}

const most = 5;

/**
 * Explains the verdict on one request from the documents: the rule that decided, or where no ALLOW rule matched those that came closest, with
 * every field that failed. `near` is the edit that would have passed. For denials and for people: the way of an allowed request does not come here.
 * Never throws; what an attribute throws leaves `near` empty.
 */
export function explainPolicies(o: ExplainOptions): Explanation {
  const set = o.set ?? compilePolicies(o.policies, o.target, o.mesh);
  const decision = evaluatePolicies(set, o.attributes);
  const documents = documentsOf(o.policies);
  const decisive = ruleAt(decision, documents);
  const explanation = { decision, ...(decisive && { decisive }) };
  if (decision.allowed || decision.reason === 'evaluation-failed') return { ...explanation, near: [] };
  try {
    const also = decision.reason === 'deny-matched' ? alsoDenying(set, decision, documents, o.attributes) : [];
    return { ...explanation, ...(also.length > 0 && { alsoDenying: also }), ...nearMisses(set, documents, o) };
  } catch {
    return { ...explanation, near: [] };
  }
}

type Documents = ReadonlyMap<string, AuthorizationPolicy>;

const known = new WeakMap<readonly AuthorizationPolicy[], Documents>();

/** The policies by `namespace/name`, found once per set of documents. */
function documentsOf(policies: readonly AuthorizationPolicy[]): Documents {
  let documents = known.get(policies);
  if (documents === undefined) {
    documents = new Map(policies.map((policy) => [`${policy.meta.namespace}/${policy.meta.name}`, policy]));
    known.set(policies, documents);
  }
  return documents;
}

function ruleAt({ policy, rule }: Pick<Decision, 'policy' | 'rule'>, documents: Documents): ExplainedRule | undefined {
  const meta = policy === undefined ? undefined : documents.get(policy)?.meta;
  return policy === undefined || rule === undefined || meta === undefined
    ? undefined
    : { policy, rule, source: sourceOfRule(meta, rule) };
}

function alsoDenying(
  set: PolicySet,
  first: Decision,
  documents: Documents,
  request: RequestAttributes,
): readonly ExplainedRule[] {
  const found: ExplainedRule[] = [];
  for (const { policy, rule } of allMatches(set.deny ?? [], set.indexes.deny, request)) {
    if (policy === first.policy && rule === first.rule) continue;
    const place = ruleAt({ policy, rule }, documents);
    if (place !== undefined && found.push(place) === most) break;
  }
  return found;
}

/** An ALLOW rule in force, with the document it stands in. */
interface Candidate {
  readonly place: Pick<CompiledRule, 'policy' | 'rule'>;
  readonly document: AuthorizationPolicy;
  readonly rule: PolicyRule;
}

/** A rule that did not match, with what failed. */
interface Miss extends Candidate {
  readonly failures: readonly Failure[];
}

function nearMisses(set: PolicySet, documents: Documents, o: ExplainOptions): Pick<Explanation, 'near' | 'omitted'> {
  const { attributes, mesh, maxValues = Infinity } = o;
  const bundle = [mesh.trustDomain, ...mesh.trustDomainAliases];
  const contextOf = ({ document }: Candidate): ExplainContext => ({ namespace: document.meta.namespace, bundle });
  const rules = set.allow ?? [];
  const chosen = choose(rules, documents, attributes, maxValues);
  const misses: Miss[] = [];
  for (const candidate of chosen) {
    const failures = findFailures(candidate.rule, candidate.place.rule, attributes, contextOf(candidate));
    // A DENY that decided says nothing about ALLOW: where one of its rules matches, nothing there has to change.
    if (failures.length === 0) return { near: [] };
    keepClosest(misses, { ...candidate, failures });
  }
  const near = misses.map(({ place, document, failures, ...rest }) => ({
    policy: place.policy,
    rule: place.rule,
    source: sourceOfRule(document.meta, place.rule),
    failed: failures.map((failure) => describeFailure(failure, attributes, contextOf({ place, document, ...rest }))),
  }));
  const omitted = rules.length - chosen.length;
  return { near, ...(omitted > 0 && { omitted }) };
}

/** Puts a miss behind all that fail in as few fields, so that rules stay in the order they come in. */
function keepClosest(misses: Miss[], miss: Miss): void {
  let at = misses.length;
  while (at > 0 && (misses[at - 1] as Miss).failures.length > miss.failures.length) at -= 1;
  if (at === most) return;
  misses.splice(at, 0, miss);
  misses.length = Math.min(misses.length, most);
}

/** How many rules are asked whether they name the caller or the path, for each value that may be looked at: asking is that much cheaper. */
const askedPerValue = 10;

/** As many rules as name `maxValues` values together. Those that name the caller or the path go first, being what was meant; else Istio's order. */
function choose(
  rules: readonly CompiledRule[],
  documents: Documents,
  { path, peer }: RequestAttributes,
  maxValues: number,
): readonly Candidate[] {
  const meant: Candidate[] = [];
  const others: Candidate[] = [];
  for (const place of rules) {
    const document = documents.get(place.policy);
    const rule = document?.spec.rules?.[place.rule];
    if (document === undefined || rule === undefined) continue;
    (names(rule, path, peer?.principal ?? '') ? meant : others).push({ place, document, rule });
    if (meant.length + others.length >= maxValues * askedPerValue) break;
  }
  return withinBudget([...meant, ...others], maxValues);
}

/** The first rules that name `maxValues` values together; one that alone names more is passed over. */
function withinBudget(rules: readonly Candidate[], maxValues: number): readonly Candidate[] {
  if (maxValues === Infinity) return rules;
  const chosen: Candidate[] = [];
  let left = maxValues;
  for (const candidate of rules) {
    const weight = weightOf(candidate.rule);
    if (weight <= left) chosen.push(candidate);
    else if (weight <= maxValues) break;
    left -= weight <= left ? weight : 1;
  }
  return chosen;
}

function names(rule: PolicyRule, path: string, principal: string): boolean {
  for (const { source } of rule.from ?? []) if (source?.principals?.includes(principal) === true) return true;
  for (const { operation } of rule.to ?? []) if (operation?.paths?.includes(path) === true) return true;
  return false;
}

/** One, and one for each value that stands in the rule. */
function weightOf(rule: PolicyRule): number {
  let weight = 1;
  const add = (fields: object | undefined): void => {
    for (const values of Object.values(fields ?? {})) weight += Array.isArray(values) ? values.length : 1;
  };
  for (const { source } of rule.from ?? []) add(source);
  for (const { operation } of rule.to ?? []) add(operation);
  for (const condition of rule.when ?? []) add(condition);
  return weight;
}
