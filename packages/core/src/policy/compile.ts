import { isSelected, type ResourceMeta } from '../identity/workload.js';
import type { RequestMatcher } from './conditions.js';
import { compileCustom, type CustomSet } from './custom.js';
import { decisionOf, dryRunResultOf, type Decision, type DryRunResult } from './decision.js';
import { buildIndex } from './index-build.js';
import { createGuardMaker, type GuardMaker } from './index-guard.js';
import type { Guard } from './index-keys.js';
import type { RuleSearch } from './index-trie.js';
import type { ExtensionProvider } from './provider.js';
import type { AuthorizationPolicy, AuthorizationPolicySpec } from './resource.js';
import { compileRule } from './rule.js';
import { finish, sortInSteps } from './steps.js';

/** One compiled rule with all that is reported when it matches. */
export interface CompiledRule {
  /** Istio's name of the rule, `ns[<ns>]-policy[<name>]-rule[<i>]`, by which rules are ordered. */
  readonly id: string;
  readonly matches: RequestMatcher;
  /** The decision when the rule decides; that of DENY for rules of AUDIT, whose match only counts. */
  readonly decision: Decision;
  /** The result when the rule belongs to a dry-run policy; undefined for all others. */
  readonly dryRun: DryRunResult | undefined;
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

/** A rule beside what an index may find it by. */
interface Draft {
  readonly rule: CompiledRule;
  readonly guard: Guard;
}

/** The rules of one kind while they are gathered. */
interface Gathering {
  readonly maker: GuardMaker;
  readonly drafts: Draft[];
}

/** Rules after which compiling may pause. */
const rulesPerStep = 8;

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

/** What a match of a rule does: AUDIT and unknown actions are read as cautiously as DENY. */
const actionOf = (kind: RuleKind): 'allow' | 'deny' => (kind === 'allow' || kind === 'dryRunAllow' ? 'allow' : 'deny');

function* gatherRules(
  { meta, spec }: AuthorizationPolicy,
  kind: RuleKind,
  bundle: readonly string[],
  { maker, drafts }: Gathering,
): Generator<void, void> {
  const action = actionOf(kind);
  const context = { namespace: meta.namespace, bundle, refuses: action === 'deny' };
  const policy = `${meta.namespace}/${meta.name}`;
  const isRehearsal = kind === 'dryRunAllow' || kind === 'dryRunDeny';
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    if (index % rulesPerStep === rulesPerStep - 1) yield;
    const place = { policy, rule: index };
    drafts.push({
      rule: {
        id: `ns[${meta.namespace}]-policy[${meta.name}]-rule[${index}]`,
        matches: compileRule(rule, context),
        decision: decisionOf(action, place),
        dryRun: isRehearsal ? dryRunResultOf(action, place) : undefined,
      },
      guard: maker.guardOf(rule, context),
    });
  }
}

function* orderRules(
  gathering: Gathering | undefined,
): Generator<void, { readonly rules: RuleList; readonly index: RuleSearch | undefined }> {
  if (gathering === undefined) return { rules: undefined, index: undefined };
  const sorted = yield* sortInSteps(gathering.drafts, ({ rule }) => rule.id);
  const index = yield* buildIndex(sorted.map(({ guard }) => guard));
  return { rules: sorted.map(({ rule }) => rule), index };
}

/**
 * Selects and compiles the AuthorizationPolicies of one workload (istio-semantics 3.1 to 3.12): once per snapshot, so that
 * {@link PolicySet} decides without parsing, patterns or allocation. Rules stand in Istio's order of rule ids, so the one that Istio would
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
  const gathered: Partial<Record<RuleKind, Gathering>> = {};
  const custom: AuthorizationPolicy[] = [];
  for (const [at, policy] of policies.entries()) {
    if (at % rulesPerStep === rulesPerStep - 1) yield;
    if (!isApplied(policy, target, mesh.rootNamespace)) continue;
    if (policy.spec.action === 'CUSTOM') {
      custom.push(policy);
      continue;
    }
    const kind = kindOf(policy.spec, isDryRun(policy.meta));
    const gathering = (gathered[kind] ??= { maker: createGuardMaker(actionOf(kind) === 'deny'), drafts: [] });
    yield* gatherRules(policy, kind, bundle, gathering);
  }
  const deny = yield* orderRules(gathered.deny);
  const allow = yield* orderRules(gathered.allow);
  const audit = yield* orderRules(gathered.audit);
  const dryRunDeny = yield* orderRules(gathered.dryRunDeny);
  const dryRunAllow = yield* orderRules(gathered.dryRunAllow);
  return {
    deny: deny.rules,
    allow: allow.rules,
    audit: audit.rules,
    dryRunDeny: dryRunDeny.rules,
    dryRunAllow: dryRunAllow.rules,
    indexes: {
      deny: deny.index,
      allow: allow.index,
      audit: audit.index,
      dryRunDeny: dryRunDeny.index,
      dryRunAllow: dryRunAllow.index,
    },
    joined: new Map(),
    custom: compileCustom(custom, { bundle, providers: mesh.extensionProviders ?? [] }),
  };
}
