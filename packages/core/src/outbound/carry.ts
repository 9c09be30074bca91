import type { X509Svid } from '../identity/svid.js';
import type { RequestContext } from '../propagation/context.js';
import { auditEvents } from '../telemetry/audit.js';
import { deniedEvents, stepEvents } from '../telemetry/events.js';
import { noteOf } from './audit.js';
import type { HeaderLine } from './call-headers.js';
import type { CallTokens } from './call-tokens.js';
import type { Carriage } from './carriage.js';
import { refusedBy, type CallPlan, type RefusedPlan } from './plan.js';
import { reportCall, type CarriedUser } from './report.js';

/** A call whose plan says that it carries something: to be told of by its `subject`. */
export interface CarryingCall {
  readonly tokens: CallTokens | undefined;
  readonly plan: Exclude<CallPlan, RefusedPlan>;
  /** The SVID that its connections show. */
  readonly svid: X509Svid | undefined;
  readonly origin: string;
  readonly subject: object;
}

/** Whether anyone listens to calls. */
export function isHeard(): boolean {
  return stepEvents.outbound.hasSubscribers || deniedEvents.hasSubscribers || auditEvents.hasSubscribers;
}

/**
 * The header lines of a call for the user of the request being handled, and the event of the call. Throws, or rejects with, what {@link CallTokens} says
 * when there can be none; that is told as the refusal of the call.
 */
export function linesFor(call: CarryingCall): readonly HeaderLine[] | Promise<readonly HeaderLine[]> {
  const { tokens, plan, svid, origin, subject } = call;
  const context = tokens?.context();
  const refused = (error: unknown): never => {
    if (isHeard()) reportCall(refusedBy(error), origin, subject);
    throw error;
  };
  const passed = (lines: readonly HeaderLine[]): readonly HeaderLine[] => {
    if (isHeard()) reportCall(plan, origin, subject, lines.length === 0 ? undefined : carriedUser(plan.carries, context));
    return lines;
  };
  try {
    const lines =
      plan.carries === undefined || tokens === undefined ? [] : tokens.headersFor(plan.carries, svid, context, noteOf(subject));
    return lines instanceof Promise ? lines.then(passed, refused) : passed(lines);
  } catch (error) {
    return refused(error);
  }
}

function carriedUser(carries: Carriage | undefined, context: RequestContext | undefined): CarriedUser | undefined {
  if (carries === undefined || context === undefined) return undefined;
  return { propagation: carries.entry.mode, user: context.user?.principal, actors: context.actors };
}
