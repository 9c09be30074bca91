import type { IncomingMessage, ServerResponse } from 'node:http';
import { noteArrival } from './audit.js';
import { decisionOf } from './decided.js';
import { runInContext } from '../propagation/context.js';
import type { DoorParts } from './door.js';
import type { Entrance, Verdict } from './inbound.js';
import { answerRefusal, type Refusal } from './refusal.js';
import { recordVerdict } from './verdict.js';

const parts = new WeakMap<object, DoorParts>();

/** Lets the adapters reach the inbound story of a mesh without it being part of the mesh's own surface. */
export function registerMesh(mesh: object, its: DoorParts): void {
  parts.set(mesh, its);
}

/**
 * Decides a request inside somebody else's server (the middleware form), once: a request that the door decided passes as it is.
 * Goes on to the application with `next`, in the request's context where the mesh keeps one, or answers here: `onRefused` is told just before, and
 * false comes back. Where an external authorizer is asked, true comes back at once and the rest happens later.
 * `target` is the request target as the client sent it, where the framework has cut `request.url`.
 */
export function enforce(
  mesh: object,
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly entrance: Entrance; readonly target?: string; readonly next: () => void; readonly onRefused?: () => void },
): boolean {
  const decided = decisionOf(request);
  if (decided === null) {
    options.onRefused?.();
    return false;
  }
  if (decided !== undefined) return goOn(options.next);
  const its = parts.get(mesh);
  if (its === undefined) throw new TypeError('enmesh: the first argument is not a mesh; pass what createMesh() returned');
  const conclude = (verdict: Verdict): boolean => {
    const enmesh = recordVerdict(request, verdict);
    if (enmesh !== undefined) return goOn(its.keepsContext() ? () => runInContext(enmesh, options.next) : options.next);
    options.onRefused?.();
    answerRefusal(response, verdict.refusal as Refusal, its.answer);
    return false;
  };
  noteArrival(its.audit, request, response, options.entrance.workloadPort);
  const verdict = its.inbound.judge(request, options.entrance, options.target, { response });
  if (!(verdict instanceof Promise)) return conclude(verdict);
  void verdict.then((decided) => process.nextTick(conclude, decided));
  return true;
}

function goOn(next: () => void): true {
  next();
  return true;
}
