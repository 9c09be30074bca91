import type { IncomingMessage } from 'node:http';
import { evaluatePolicies } from '../policy/evaluate.js';
import type { DoorAttributes } from './door-attributes.js';
import type { InboundOptions, Plan } from './plan.js';
import { createRefusal, type Refusal } from './refusal.js';
import { isPreflight, reasonOf } from './steps.js';

const judged = Symbol('enmesh.judged');

type Judged = IncomingMessage & { [judged]?: DoorAttributes };

/** Notes what a request that was let in was judged by, for as long as the request itself is kept. */
export function keepJudged(request: IncomingMessage, attributes: DoorAttributes): void {
  (request as Judged)[judged] = attributes;
}

/**
 * Judges a request again whose exchange is still open, by the policies, token rules and keys of now: the second half of the story without its
 * events, because nothing was asked anew. An external authorizer is not asked a second time; what it changed still holds.
 */
export function rejudge(request: IncomingMessage, plan: Plan, options: InboundOptions): Refusal | undefined {
  const attributes = (request as Judged)[judged];
  if (attributes === undefined) return undefined;
  const { jwt, policies } = plan.snapshot;
  // The token that was accepted then is to be found again.
  attributes.accept(undefined);
  if (jwt.rules.length > 0 && !isPreflight(request, attributes)) {
    const outcome = options.verifier.verify(jwt, attributes, options.clock());
    if (!outcome.ok) {
      const { code, status, body, reason } = outcome;
      return createRefusal({ step: 'jwt', code, status, body, reason });
    }
    attributes.accept(outcome);
  }
  const decision = evaluatePolicies(policies, attributes);
  if (decision.allowed) return undefined;
  return createRefusal({ step: 'authorize', code: 'ENMESH_POLICY_DENIED', reason: reasonOf(decision, plan), decision });
}
