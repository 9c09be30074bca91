import type { IncomingMessage, ServerResponse } from 'node:http';
import { stepEvents } from '../telemetry/events.js';
import { decisionOf, markDecided, markRefused } from './decided.js';
import type { DoorParts } from './door.js';
import type { Entrance, RequestEnmesh } from './inbound.js';
import { answerRefusal } from './refusal.js';
import { reportDenied } from './report.js';

const parts = new WeakMap<object, DoorParts>();

/** Lets the adapters reach the inbound story of a mesh without it being part of the mesh's own surface. */
export function registerMesh(mesh: object, its: DoorParts): void {
  parts.set(mesh, its);
}

/**
 * Decides a request inside somebody else's server (the middleware form), once: a request that the door decided passes as it is.
 * Returns what the handler gets, or undefined when the request was answered here.
 * @param target the request target as the client sent it, where the framework has cut `request.url`
 */
export function enforce(
  mesh: object,
  request: IncomingMessage,
  response: ServerResponse,
  entrance: Entrance,
  target?: string,
): RequestEnmesh | undefined {
  const decided = decisionOf(request);
  if (decided !== undefined) return decided ?? undefined;
  const its = parts.get(mesh);
  if (its === undefined) throw new TypeError('enmesh: the first argument is not a mesh; pass what createMesh() returned');
  const verdict = its.inbound.judge(request, entrance, target);
  if (verdict.enmesh === undefined) {
    markRefused(request);
    reportDenied(request, verdict.refusal);
    answerRefusal(response, verdict.refusal, its.answer);
    return undefined;
  }
  markDecided(request, verdict.enmesh);
  if (stepEvents.handler.hasSubscribers) stepEvents.handler.publish({ step: 'handler', outcome: 'passed', subject: request });
  return verdict.enmesh;
}
