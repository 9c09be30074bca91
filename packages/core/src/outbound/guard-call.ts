import type { CallGuard, EgressGuard } from '../propagation/egress-guard.js';
import { isHeard } from './carry.js';
import { refusedBy, type CallPlan } from './plan.js';
import { reportCall } from './report.js';

/** One call that the egress guard may look at. */
export interface GuardableCall {
  readonly guard: EgressGuard | undefined;
  readonly plan: CallPlan;
  readonly origin: string;
  readonly subject: object;
}

/**
 * Lets `look` use the guard of the request being handled; `otherwise` where there is nothing to look for: no token came in, the guard is off, or the mode of this host is FORWARD. What it throws
 * is told as the refusal of the call.
 */
export function guarded<T>({ guard, plan, origin, subject }: GuardableCall, look: (guard: CallGuard) => T, otherwise: T): T {
  if (guard === undefined || plan.kind === 'refused' || mayForward(plan)) return otherwise;
  const current = guard.current();
  if (current === undefined) return otherwise;
  try {
    return look(current);
  } catch (error) {
    if (isHeard()) reportCall(refusedBy(error), origin, subject);
    throw error;
  }
}

const mayForward = ({ carries }: Exclude<CallPlan, { kind: 'refused' }>): boolean =>
  carries?.entry.mode === 'FORWARD' && carries.objection === undefined;
