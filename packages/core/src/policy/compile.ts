import { isSelected, type ResourceMeta } from '../identity/workload.js';
import { compileCustom, type CustomSet } from './custom.js';
import type { Decision } from './decision.js';
import type { RuleSearch } from './index-search.js';
import type { ExtensionProvider } from './provider.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec } from './resource.js';
import { compileRuleList, type CompiledRule, type IndexedRules } from './rule-list.js';
import { finish } from './steps.js';

export type { CompiledRule } from './rule-list.js';

/** The rules of one kind, by id; undefined where no such policy selects the workload. An empty list belongs to policies without rules. */
export type RuleList = readonly CompiledRule[] | undefined;

/** The AuthorizationPolicies of one workload, compiled once per snapshot. */
export interface PolicySet {
  readonly deny: RuleList;
  readonly allow: RuleList;
  readonly audit: RuleList;
  readonly dryRunDeny: RuleList;
  readonly dryRunAllow: RuleList;
  /** By which the rules of a list are found; undefined where the list is short enough to be walked. */
  readonly indexes: Readonly<Record<RuleKind, RuleSearch | undefined>>;
  /** Rules of action CUSTOM, asked with matchCustom() before tokens are looked at; no part of a {@link Decision}. */
  readonly custom?: CustomSet;
  /** Decisions joined with audit and dry-run results by what matched, each made when it first occurs. */
  readonly joined: Map<number, Decision>;
}

/** The workload that policies are selected for. */
export interface PolicyTarget {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** What policies read of MeshConfig. */
export interface PolicyMesh {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly rootNamespace: string;
  /** The authorizers that action CUSTOM may name; none by default. */
  readonly extensionProviders?: readonly ExtensionProvider[];
}

/** The kinds of rules that are evaluated apart from each other. */
export type RuleKind = 'deny' | 'allow' | 'audit' | 'dryRunDeny' | 'dryRunAllow';
const ruleKinds: readonly RuleKind[] = ['deny', 'allow', 'audit', 'dryRunDeny', 'dryRunAllow'];

/** Policies after which selecting them may pause. */
const policiesPerStep = 64;

/** Selection as for a sidecar (istio-semantics 3.1): own and root namespace, selector, and never a policy with a targetRef. */
function isApplied({ meta, spec }: AuthorizationPolicy, target: PolicyTarget, rootNamespace: string): boolean {
  if (meta.namespace !== target.namespace && meta.namespace !== rootNamespace) return false;
  if (spec.targetRef !== undefined || (spec.targetRefs !== undefined && spec.targetRefs.length > 0)) return false;
  return isSelected(spec.selector, target.labels);
}

/** The annotation that makes an ALLOW or DENY policy a rehearsal; its value is what Go's ParseBool takes for true. */
export function isDryRun(meta: ResourceMeta): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(meta.annotations['istio.io/dry-run'] ?? '');
}

/** Unknown actions are refused at load. Should one come this far, what it matches is denied. */
function kindOf(spec: AuthorizationPolicySpec, dryRun: boolean): RuleKind {
  if (spec.action === undefined || spec.action === 'ALLOW') return dryRun ? 'dryRunAllow' : 'allow';
  if (spec.action === 'AUDIT') return 'audit';
  return dryRun && spec.action === 'DENY' ? 'dryRunDeny' : 'deny';
}

/** What a match of a rule does: of AUDIT and unknown actions what DENY does. */
const actionOf = (kind: RuleKind): 'allow' | 'deny' => (kind === 'allow' || kind === 'dryRunAllow' ? 'allow' : 'deny');

/**
 * Selects and compiles the AuthorizationPolicies of one workload (istio-semantics 3.1 to 3.12): once per snapshot, so that
 * a {@link PolicySet} decides without parsing or patterns; matchers are made when a request first comes near their rule. Rules stand in Istio's order of rule ids, so the one that Istio would
 * report is found first.
 */
export function compilePolicies(policies: readonly AuthorizationPolicy[], target: PolicyTarget, mesh: PolicyMesh): PolicySet {
  return finish(compilePoliciesInSteps(policies, target, mesh));
}

/** The same in steps of a fraction of a millisecond, between which a thread that serves requests can serve them. */
export function* compilePoliciesInSteps(
  policies: readonly AuthorizationPolicy[],
  target: PolicyTarget,
  mesh: PolicyMesh,
): Generator<void, PolicySet> {
  const bundle = [mesh.trustDomain, ...mesh.trustDomainAliases];
  const ofKind: Partial<Record<RuleKind, AuthorizationPolicy[]>> = {};
  const custom: AuthorizationPolicy[] = [];
  for (const [at, policy] of policies.entries()) {
    if (at % policiesPerStep === 0) yield;
    if (!isApplied(policy, target, mesh.rootNamespace)) continue;
    if (policy.spec.action === 'CUSTOM') custom.push(policy);
    else (ofKind[kindOf(policy.spec, isDryRun(policy.meta))] ??= []).push(policy);
  }
  const compiled: Partial<Record<RuleKind, IndexedRules>> = {};
  for (const kind of ruleKinds) {
    const own = ofKind[kind];
    const isDryRun = kind === 'dryRunAllow' || kind === 'dryRunDeny';
    const use = { action: actionOf(kind), isDryRun, isAudit: kind === 'audit' };
    if (own !== undefined) compiled[kind] = yield* compileRuleList(own, use, bundle);
  }
  const { deny, allow, audit, dryRunDeny, dryRunAllow } = compiled;
  return {
    deny: deny?.rules,
    allow: allow?.rules,
    audit: audit?.rules,
    dryRunDeny: dryRunDeny?.rules,
    dryRunAllow: dryRunAllow?.rules,
    indexes: {
      deny: deny?.index,
      allow: allow?.index,
      audit: audit?.index,
      dryRunDeny: dryRunDeny?.index,
      dryRunAllow: dryRunAllow?.index,
    },
    joined: new Map(),
    custom: yield* compileCustom(custom, { bundle, providers: mesh.extensionProviders ?? [] }),
  };
}
