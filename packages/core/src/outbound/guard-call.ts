import type { EnmeshError } from '../errors.js';
import type { CallGuard } from '../propagation/egress-guard.js';
import { transactionTokenHeader } from '../propagation/transaction-token.js';
import { heardGuard, noteOf } from './audit.js';
import type { HeaderLine } from './call-headers.js';
import { isHeard } from './carry.js';
import type { OutboundOptions } from './options.js';
import type { CallPlan } from './plan.js';
import { reportCall } from './report.js';

/** One call that the egress guard may look at. */
export interface GuardableCall {
  readonly options: OutboundOptions;
  readonly plan: CallPlan;
  readonly origin: string;
  readonly subject: object;
}

/** What is done to a call before it gets what its TokenPropagation says. */
export interface CallChecks {
  /** Undefined where there is nothing to look for: no token came in, the guard is off, or the mode of this host is FORWARD. */
  readonly guard: CallGuard | undefined;
  /** The transaction token that the call takes along unchanged. */
  readonly passing: HeaderLine | undefined;
}

/**
 * Lets `apply` do what is due to a call; it is not asked where nothing is, and `otherwise` is the result. What it throws is told as the refusal of the call.
 */
export function checked<T>({ options, plan, origin, subject }: GuardableCall, apply: (checks: CallChecks) => T, otherwise: T): T {
  if (plan.kind === 'refused') return otherwise;
  const note = noteOf(subject);
  let told: unknown;
  const tell = (error: unknown): void => {
    if (isHeard() && isOurs(error) && error !== told) reportCall({ kind: 'refused', error }, origin, subject);
    told = error;
  };
  const guard = mayForward(plan) ? undefined : options.egressGuard?.current();
  const checks = { guard: isHeard() ? heardGuard(guard, note, tell) : guard, passing: transactionLine(options, plan) };
  if (checks.guard === undefined && checks.passing === undefined) return otherwise;
  if (note !== undefined) note.transactionToken = checks.passing !== undefined;
  try {
    return apply(checks);
  } catch (error) {
    tell(error);
    throw error;
  }
}

/** By its code, for the guard may be made of another copy of this package than the clients. */
const isOurs = (error: unknown): error is EnmeshError => String((error as { code?: unknown }).code).startsWith('ENMESH_');

type LivePlan = Exclude<CallPlan, { kind: 'refused' }>;

const mayForward = ({ carries }: LivePlan): boolean => carries?.entry.mode === 'FORWARD' && carries.objection === undefined;

/**
 * The transaction token of the request being handled, for a service that is reached by mutual TLS of the mesh and that no TokenPropagation speaks of: one that does says
 * itself what goes there.
 */
function transactionLine({ transactionToken }: OutboundOptions, plan: LivePlan): HeaderLine | undefined {
  if (transactionToken === undefined || plan.kind !== 'service' || plan.carries !== undefined) return undefined;
  if (!plan.targets.every(({ tls }) => tls === 'ISTIO_MUTUAL')) return undefined;
  const token = transactionToken();
  return token === undefined ? undefined : [transactionTokenHeader, token];
}
