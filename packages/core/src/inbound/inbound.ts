import type { IncomingMessage } from 'node:http';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import type { Decision } from '../policy/evaluate.js';
import type { RouterSettings } from '../request/router.js';
import { compilePlan, type InboundOptions, type Plan } from './plan.js';
import { createRefusal, Refused, type Refusal } from './refusal.js';
import { accept, authorize, handOver, jwt, normalize, peerIdentity, strip } from './steps.js';

/** What the handler may know of the request: `req.enmesh`. */
export interface RequestEnmesh {
  /** The verified peer, on mutual TLS. */
  readonly peer: PeerIdentity | undefined;
  /** The verified end user, with a valid token. */
  readonly user: RequestIdentity | undefined;
  readonly decision: Decision;
}

/** How a server or a framework presents its requests; the same for all of them. */
export interface Entrance {
  readonly router: RouterSettings;
  /** The port that policies speak of; undefined is the listening port itself. */
  readonly workloadPort: number | undefined;
  /** False where a router has seen the raw target already: then a target that normalization changes is refused. */
  readonly mayRewrite: boolean;
}

/** The verdict on one request: a refusal to answer with, or what the handler gets. */
export type Verdict =
  { readonly refusal: Refusal; readonly enmesh: undefined } | { readonly refusal: undefined; readonly enmesh: RequestEnmesh };

/** Decides requests, synchronously from end to end. `target` is the request target as the client sent it, `request.url` by default. */
export interface Inbound {
  judge(request: IncomingMessage, entrance: Entrance, target?: string): Verdict;
}

/** Creates the inbound story over the parts of a mesh. Whatever throws inside denies. */
export function createInbound(options: InboundOptions): Inbound {
  let plan: Plan | undefined;

  /** One request, top to bottom; docs/request.md has the same steps, and each publishes an event. */
  const story = (request: IncomingMessage, entrance: Entrance, sent: string): RequestEnmesh => {
    const snapshot = options.snapshot();
    if (plan?.snapshot !== snapshot) plan = compilePlan(snapshot);
    const now = options.clock();
    const connection = accept(request, plan, entrance);
    const peer = peerIdentity(request, connection, now);
    const target = normalize(request, sent, plan, entrance, options);
    const attributes = strip(request, target, plan, entrance, connection, options);
    const token = jwt(request, attributes, plan, now, options);
    const decision = authorize(request, attributes, plan);
    handOver(request, target, attributes, token, plan, options);
    return { peer, user: attributes.user, decision };
  };

  return {
    judge(request, entrance, target = request.url ?? '') {
      try {
        return { refusal: undefined, enmesh: story(request, entrance, target) };
      } catch (error) {
        if (error instanceof Refused) return { refusal: error.refusal, enmesh: undefined };
        const reason = `deciding failed: ${error instanceof Error ? error.message : typeof error}`;
        return { refusal: createRefusal({ step: 'authorize', code: 'ENMESH_INBOUND_FAULT', reason }), enmesh: undefined };
      }
    },
  };
}
