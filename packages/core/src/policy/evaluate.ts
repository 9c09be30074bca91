import type { RequestAttributes } from '../request/attributes.js';
import type { PolicySet, RuleKind, RuleList } from './compile.js';
import { dryRunResultOf, evaluationFailed, noAllowMatched, noPolicy, type Decision, type DryRunResult } from './decision.js';
import { firstMatch } from './rule-list.js';

export type { Decision, DecisionReason, DryRunResult } from './decision.js';

/** Joined decisions that are kept: beyond that many, which takes thousands of dry-run rules, they are made anew. */
const keptJoined = 10_000;

const nothingMatched = { allow: dryRunResultOf('allow', undefined), deny: dryRunResultOf('deny', undefined) };

/** The position of the first rule of a kind that matches, or -1. */
function firstOf(set: PolicySet, kind: RuleKind, request: RequestAttributes): number {
  const rules = set[kind];
  return rules === undefined ? -1 : firstMatch(rules, set.indexes[kind], request);
}

function decisionAt(set: PolicySet, denied: number, allowed: number): Decision {
  if (denied !== -1) return set.deny?.[denied]?.decision ?? evaluationFailed;
  if (set.allow === undefined) return noPolicy;
  return set.allow[allowed]?.decision ?? noAllowMatched;
}

function dryRunAt(action: 'allow' | 'deny', rules: RuleList, index: number): DryRunResult | undefined {
  return rules && (rules[index]?.dryRun ?? nothingMatched[action]);
}

function auditAt(rules: RuleList, index: number): Pick<Decision, 'audit' | 'auditedBy'> {
  if (rules === undefined) return {};
  const matched = rules[index];
  if (matched === undefined) return { audit: false };
  return { audit: true, auditedBy: Object.freeze({ policy: matched.policy, rule: matched.rule }) };
}

function join(
  decision: Decision,
  audit: Pick<Decision, 'audit' | 'auditedBy'>,
  deny: DryRunResult | undefined,
  allow: DryRunResult | undefined,
): Decision {
  const dryRun = (deny ?? allow) && Object.freeze({ ...(allow && { allow }), ...(deny && { deny }) });
  return Object.freeze({ ...decision, ...audit, ...(dryRun && { dryRun }) });
}

const sizeOf = (rules: RuleList): number => (rules?.length ?? 0) + 1;

/** Istio's order of filters: AUDIT, DENY, ALLOW, each with its dry-run rules; a filter behind the one that denies is never asked. */
function evaluateWithRecords(set: PolicySet, request: RequestAttributes): Decision {
  const audited = firstOf(set, 'audit', request);
  const dryDeny = firstOf(set, 'dryRunDeny', request);
  const denied = firstOf(set, 'deny', request);
  const dryAllow = denied === -1 ? firstOf(set, 'dryRunAllow', request) : -1;
  const allowed = denied === -1 ? firstOf(set, 'allow', request) : -1;
  let key = denied + 1;
  key = key * sizeOf(set.allow) + allowed + 1;
  key = key * sizeOf(set.dryRunDeny) + dryDeny + 1;
  key = key * sizeOf(set.dryRunAllow) + dryAllow + 1;
  key = key * sizeOf(set.audit) + audited + 1;
  const known = set.joined.get(key);
  if (known !== undefined) return known;
  const made = join(
    decisionAt(set, denied, allowed),
    auditAt(set.audit, audited),
    dryRunAt('deny', set.dryRunDeny, dryDeny),
    denied === -1 ? dryRunAt('allow', set.dryRunAllow, dryAllow) : undefined,
  );
  if (set.joined.size < keptJoined) set.joined.set(key, made);
  return made;
}

/**
 * Decides one request: the first DENY rule that matches denies, then an ALLOW rule must match if any ALLOW policy selects the workload
 * (istio-semantics 3.2). AUDIT and dry-run policies are recorded beside and never decide. Synchronous, without clock, and without
 * allocation but for rules and callers met for the first time; a throw of a matcher or an accessor denies.
 */
export function evaluatePolicies(set: PolicySet, request: RequestAttributes): Decision {
  try {
    if (set.audit !== undefined || set.dryRunDeny !== undefined || set.dryRunAllow !== undefined) {
      return evaluateWithRecords(set, request);
    }
    const denied = firstOf(set, 'deny', request);
    return decisionAt(set, denied, denied === -1 ? firstOf(set, 'allow', request) : -1);
  } catch {
    return evaluationFailed;
  }
}
