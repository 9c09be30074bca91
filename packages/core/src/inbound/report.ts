import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { errorTable } from '../errors.js';
import { deniedEvents } from '../telemetry/events.js';
import { connectionOf } from '../tls/peer.js';
import type { ConnectionRefusal } from '../tls/server.js';
import type { Refusal } from './refusal.js';

/** Tells `enmesh:denied` of a refused request: never its query, its token or a claim. */
export function reportDenied(request: IncomingMessage, refusal: Refusal): void {
  if (!deniedEvents.hasSubscribers) return;
  const { id, step, code, status, reason, decision } = refusal;
  const peer = connectionOf(request.socket).peer?.uri;
  const path = pathOf(request.url ?? '');
  deniedEvents.publish({
    id,
    step,
    code,
    status,
    reason,
    remedy: errorTable[code].remedy,
    ...(request.method === undefined ? {} : { method: request.method }),
    path,
    ...(decision?.policy === undefined ? {} : { policy: decision.policy }),
    ...(decision?.rule === undefined ? {} : { rule: decision.rule }),
    ...(peer === undefined ? {} : { peer }),
  });
}

/** The path of a target as sent: the query may hold a token, the authority of an absolute form a password. */
function pathOf(target: string): string {
  return (target.split(/[?#]/, 1)[0] ?? '').replace(/^[^/]*:\/\/[^/]*/, '');
}

/** Tells `enmesh:denied` of a connection that was refused before any request. */
export function reportConnectionRefusal(refusal: ConnectionRefusal): void {
  if (!deniedEvents.hasSubscribers) return;
  const { code, reason, remoteAddress, peer } = refusal;
  deniedEvents.publish({
    id: randomBytes(8).toString('hex'),
    step: refusal.step,
    code,
    status: errorTable[code].status,
    reason: `${reason} (from ${remoteAddress})`,
    remedy: errorTable[code].remedy,
    ...(peer === undefined ? {} : { peer }),
  });
}
