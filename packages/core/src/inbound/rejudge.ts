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
  const { jwt } = plan.snapshot;
  if (attributes.hop !== undefined) {
    const objection = objectionToHop(attributes, plan, options.clock());
    if (objection !== undefined) return objection;
    return policyObjection(attributes, plan);
  }
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
  return policyObjection(attributes, plan);
}

function policyObjection(attributes: DoorAttributes, plan: Plan): Refusal | undefined {
  const decision = evaluatePolicies(plan.snapshot.policies, attributes);
  if (decision.allowed) return undefined;
  return createRefusal({ step: 'authorize', code: 'ENMESH_POLICY_DENIED', reason: reasonOf(decision, plan), decision });
}

/** A hop token is for the moment in which the call arrives. What goes on is the user's own token, and that this peer may speak for the user. */
function objectionToHop({ hop, peer }: DoorAttributes, plan: Plan, now: number): Refusal | undefined {
  const issuer = hop?.user.issuer ?? '';
  if (!plan.snapshot.propagation.mayActFor(peer?.principal ?? '', issuer)) {
    const reason = `${peer?.uri ?? 'the peer'} may no longer speak for users of this issuer`;
    return createRefusal({ step: 'jwt', code: 'ENMESH_PROPAGATION_HOP_NOT_ALLOWED', reason });
  }
  if (hop !== undefined && now < hop.user.expiresAt) return undefined;
  return createRefusal({ step: 'jwt', code: 'ENMESH_PROPAGATION_HOP_EXPIRED', reason: "the user's own token has ended" });
}
