import type { IncomingMessage } from 'node:http';
import type { RequestEnmesh } from './inbound.js';

// Registered, so that two copies of this package in one process know each other's decisions and no request is judged twice.
const mark = Symbol.for('enmesh.decided');

type Marked = IncomingMessage & { [mark]?: RequestEnmesh | null; enmesh?: RequestEnmesh };

/** Notes that a request was decided, and gives the handler `req.enmesh`. */
export function markDecided(request: IncomingMessage, enmesh: RequestEnmesh): void {
  (request as Marked)[mark] = enmesh;
  (request as Marked).enmesh = enmesh;
}

/** Notes that a request was refused, so that nobody takes it for one that was forgotten. */
export function markRefused(request: IncomingMessage): void {
  (request as Marked)[mark] = null;
}

/** What was decided of a request: null when it was refused, undefined while nothing was decided. */
export function decisionOf(request: IncomingMessage): RequestEnmesh | null | undefined {
  return (request as Marked)[mark];
}
