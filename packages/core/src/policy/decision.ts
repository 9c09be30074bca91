/**
 * Why a request was decided as it was. `no-policy`: no ALLOW policy selects this workload and no DENY rule matched. `evaluation-failed`: a
 * policy or the request's attributes threw, which denies. `custom-denied`: a CUSTOM rule matched, and its external authorizer refused or could not
 * be asked; only the door decides so.
 */
export type DecisionReason =
  'no-policy' | 'allow-matched' | 'deny-matched' | 'no-allow-matched' | 'evaluation-failed' | 'custom-denied';

/** Where a rule stands: the policy's `namespace/name` and the rule's index. */
export interface RulePlace {
  readonly policy: string;
  readonly rule: number;
}

/** What the dry-run policies of one action would have said; `policy` (`namespace/name`) and `rule` when one of their rules matched. */
export interface DryRunResult {
  readonly result: 'allowed' | 'denied';
  readonly policy?: string;
  readonly rule?: number;
}

/** The verdict on one request. Frozen, and made once per rule rather than per request. */
export interface Decision {
  readonly allowed: boolean;
  readonly reason: DecisionReason;
  /** `namespace/name` of the policy whose rule decided. */
  readonly policy?: string;
  /** Index of that rule in its policy. */
  readonly rule?: number;
  /** Whether an AUDIT rule matched; absent when no AUDIT policy selects the workload. */
  readonly audit?: boolean;
  /** The AUDIT rule that matched, the first in Istio's order; absent when none did. */
  readonly auditedBy?: RulePlace;
  /** Absent without dry-run policies; `allow` also when a DENY policy decided before ALLOW was looked at. */
  readonly dryRun?: { readonly allow?: DryRunResult; readonly deny?: DryRunResult };
}

export const noPolicy: Decision = Object.freeze({ allowed: true, reason: 'no-policy' });
export const noAllowMatched: Decision = Object.freeze({ allowed: false, reason: 'no-allow-matched' });
export const evaluationFailed: Decision = Object.freeze({ allowed: false, reason: 'evaluation-failed' });

/** The decision of a rule that matched. */
export function decisionOf(action: 'allow' | 'deny', { policy, rule }: RulePlace): Decision {
  return Object.freeze({ allowed: action === 'allow', reason: `${action}-matched` as const, policy, rule });
}

/** What the dry-run rules of an action say when `place` matched, or none. */
export function dryRunResultOf(action: 'allow' | 'deny', place: RulePlace | undefined): DryRunResult {
  const allowed = (place === undefined) === (action === 'deny');
  return Object.freeze({ result: allowed ? ('allowed' as const) : ('denied' as const), ...place });
}
