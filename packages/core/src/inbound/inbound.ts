import type { IncomingMessage } from 'node:http';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import type { Decision } from '../policy/evaluate.js';
import type { RouterSettings } from '../request/router.js';
import { noteAttributes } from './audit.js';
import { custom, type Asking } from './custom-step.js';
import type { RequestTarget } from '../request/normalize.js';
import { auditEvents } from '../telemetry/audit.js';
import type { DoorAttributes } from './door-attributes.js';
import { compilePlan, type InboundOptions, type Plan } from './plan.js';
import { createRefusal, Refused, type Refusal } from './refusal.js';
import { keepJudged, rejudge } from './rejudge.js';
import { accept, authorize, handOver, jwt, normalize, peerIdentity, strip } from './steps.js';

/** What the handler may know of the request: `req.enmesh`. */
export interface RequestEnmesh {
  /** The verified peer, on mutual TLS. */
  readonly peer: PeerIdentity | undefined;
  /** The verified end user, with a valid token, or as a peer speaks for them that may. */
  readonly user: RequestIdentity | undefined;
  /** The SPIFFE IDs of the services that carried the user here by hop tokens, the caller first; empty where the user brought a token. */
  readonly actors: readonly string[];
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

/**
 * Decides requests, synchronously from end to end unless an external authorizer is asked: then, and only then, the verdict is a promise, which
 * never rejects. `target` is the request target as the client sent it, `request.url` by default.
 */
export interface Inbound {
  judge(request: IncomingMessage, entrance: Entrance, target?: string, asking?: Asking): Verdict | Promise<Verdict>;
  /** What now speaks against a request that was let in earlier and whose exchange is still open; undefined while nothing does. */
  rejudge(request: IncomingMessage): Refusal | undefined;
}

/** Creates the inbound story over the parts of a mesh. Whatever throws inside denies. */
export function createInbound(options: InboundOptions): Inbound {
  let latest: Plan | undefined;
  const currentPlan = (): Plan => {
    const snapshot = options.snapshot();
    if (latest?.snapshot !== snapshot) latest = compilePlan(snapshot);
    return latest;
  };

  /** One request, top to bottom; docs/request.md has the same steps, and each publishes an event. */
  const story = (request: IncomingMessage, entrance: Entrance, sent: string, asking: Asking): Awaitable<RequestEnmesh> => {
    const plan = currentPlan();
    const now = options.clock();
    const connection = accept(request, plan, entrance);
    const peer = peerIdentity(request, connection, now);
    const target = normalize(request, sent, plan, entrance, options);
    const attributes = strip(request, target, plan, entrance, connection, options);
    if (audit.hasSubscribers) noteAttributes(request, attributes);
    const checking = custom(request, attributes, plan, options, asking);
    const arrival = { request, target, attributes, peer, plan };
    return checking === undefined ? second(arrival, now) : checking.then(() => second(arrival, options.clock()));
  };

  /** Its second half: what stands behind an external authorizer, where one is asked. */
  const second = ({ request, target, attributes, peer, plan }: Arrival, now: number): RequestEnmesh => {
    const token = jwt(request, attributes, plan, now, options);
    const decision = authorize(request, attributes, plan);
    keepJudged(request, attributes);
    handOver(request, target, attributes, token, plan, options);
    return { peer, user: attributes.user, actors: attributes.hop?.actors ?? nobody, decision };
  };

  return {
    judge(request, entrance, target = request.url ?? '', asking = notAsking) {
      try {
        const enmesh = story(request, entrance, target, asking);
        return enmesh instanceof Promise ? enmesh.then(letIn, refused) : letIn(enmesh);
      } catch (error) {
        return refused(error);
      }
    },
    rejudge(request) {
      try {
        return rejudge(request, currentPlan(), options);
      } catch (error) {
        return refused(error).refusal;
      }
    },
  };
}

type Awaitable<Value> = Value | Promise<Value>;

/** What the first half of the story hands to the second. */
interface Arrival {
  readonly request: IncomingMessage;
  readonly target: RequestTarget;
  readonly attributes: DoorAttributes;
  readonly peer: PeerIdentity | undefined;
  readonly plan: Plan;
}

const audit = auditEvents.native;

const notAsking: Asking = {};

const nobody: readonly string[] = Object.freeze([]);

const letIn = (enmesh: RequestEnmesh): Verdict => ({ refusal: undefined, enmesh });

function refused(error: unknown): Verdict & { readonly refusal: Refusal } {
  if (error instanceof Refused) return { refusal: error.refusal, enmesh: undefined };
  const reason = `deciding failed: ${error instanceof Error ? error.message : typeof error}`;
  return { refusal: createRefusal({ step: 'authorize', code: 'ENMESH_INBOUND_FAULT', reason }), enmesh: undefined };
}
