import { isSelected, type ResourceMeta } from '../identity/workload.js';
import type { RequestMatcher } from './conditions.js';
import { decisionOf, dryRunResultOf, type Decision, type DryRunResult } from './decision.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec } from './resource.js';
import { compileRule } from './rule.js';

/** One compiled rule with all that is reported when it matches. */
export interface CompiledRule {
  /** Istio's name of the rule, `ns[<ns>]-policy[<name>]-rule[<i>]`, by which rules are ordered. */
  readonly id: string;
  readonly matches: RequestMatcher;
  /** The decision when the rule decides; that of DENY for rules of AUDIT, whose match only counts. */
  readonly decision: Decision;
  /** The result when the rule belongs to a dry-run policy. */
  readonly dryRun: DryRunResult;
}

/** The rules of one kind, by id; undefined where no such policy selects the workload. An empty list belongs to policies without rules. */
export type RuleList = readonly CompiledRule[] | undefined;

/** The AuthorizationPolicies of one workload, compiled once per snapshot. */
export interface PolicySet {
  readonly deny: RuleList;
  readonly allow: RuleList;
  readonly audit: RuleList;
  readonly dryRunDeny: RuleList;
  readonly dryRunAllow: RuleList;
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
}

type Slot = 'deny' | 'allow' | 'audit' | 'dryRunDeny' | 'dryRunAllow';

/** Selection as for a sidecar (istio-semantics 3.1): own and root namespace, selector, and never a policy with a targetRef. */
function isApplied({ meta, spec }: AuthorizationPolicy, target: PolicyTarget, rootNamespace: string): boolean {
  if (meta.namespace !== target.namespace && meta.namespace !== rootNamespace) return false;
  if (spec.targetRef !== undefined || (spec.targetRefs !== undefined && spec.targetRefs.length > 0)) return false;
  return isSelected(spec.selector, target.labels);
}

/** The annotation that makes an ALLOW or DENY policy a rehearsal; its value is what Go's ParseBool takes for true. */
function isDryRun(meta: ResourceMeta): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(meta.annotations['istio.io/dry-run'] ?? '');
}

/** CUSTOM and unknown actions are refused at load. Should one come this far, what it matches is denied. */
function slotOf(spec: AuthorizationPolicySpec, dryRun: boolean): Slot {
  if (spec.action === undefined || spec.action === 'ALLOW') return dryRun ? 'dryRunAllow' : 'allow';
  if (spec.action === 'AUDIT') return 'audit';
  return dryRun && spec.action === 'DENY' ? 'dryRunDeny' : 'deny';
}

function compilePolicy({ meta, spec }: AuthorizationPolicy, slot: Slot, bundle: readonly string[]): readonly CompiledRule[] {
  const action = slot === 'allow' || slot === 'dryRunAllow' ? 'allow' : 'deny';
  const context = { namespace: meta.namespace, bundle, refuses: action === 'deny' };
  return (spec.rules ?? []).map((rule, index) => {
    const place = { policy: `${meta.namespace}/${meta.name}`, rule: index };
    return {
      id: `ns[${meta.namespace}]-policy[${meta.name}]-rule[${index}]`,
      matches: compileRule(rule, context),
      decision: decisionOf(action, place),
      dryRun: dryRunResultOf(action, place),
    };
  });
}

/**
 * Selects and compiles the AuthorizationPolicies of one workload (istio-semantics 3.1 to 3.12): once per snapshot, so that
 * {@link PolicySet} decides without parsing, patterns or allocation. Rules stand in Istio's order of rule ids, so the one that Istio would
 * report is found first.
 */
export function compilePolicies(policies: readonly AuthorizationPolicy[], target: PolicyTarget, mesh: PolicyMesh): PolicySet {
  const bundle = [mesh.trustDomain, ...mesh.trustDomainAliases];
  const slots: Partial<Record<Slot, CompiledRule[]>> = {};
  for (const policy of policies) {
    if (!isApplied(policy, target, mesh.rootNamespace)) continue;
    const slot = slotOf(policy.spec, isDryRun(policy.meta));
    (slots[slot] ??= []).push(...compilePolicy(policy, slot, bundle));
  }
  for (const rules of Object.values(slots)) rules.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const { deny, allow, audit, dryRunDeny, dryRunAllow } = slots;
  return { deny, allow, audit, dryRunDeny, dryRunAllow, joined: new Map() };
}
