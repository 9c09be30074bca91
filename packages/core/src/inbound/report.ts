import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { errorTable } from '../errors.js';
import { nearSentences } from '../policy/explain-sentence.js';
import type { AuditScope } from '../telemetry/audit.js';
import { deniedEvents, type DeniedEvent } from '../telemetry/events.js';
import { connectionOf } from '../tls/peer.js';
import type { ConnectionRefusal } from '../tls/server.js';
import { auditConnectionRefusal } from './audit.js';
import { explainRefusal } from './explain.js';
import type { Refusal } from './refusal.js';
import { pathOf } from '../request/sent-path.js';

/** Explaining is bounded by this many values of rules: it runs where requests are served, and anyone can be denied often. */
const maxValues = 1000;

/** Tells `enmesh:denied` of a refused request: never its query, its token or a claim. */
export function reportDenied(request: IncomingMessage, refusal: Refusal): void {
  if (!deniedEvents.hasSubscribers) return;
  const { id, step, code, status, reason, decision } = refusal;
  const peer = connectionOf(request.socket).peer?.uri;
  const path = pathOf(request.url ?? '');
  publishWithNear(refusal, {
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

/** Publishes with `near` found when a listener first reads it: one that does not, such as a voice above its rate, costs nothing. */
function publishWithNear(refusal: Refusal, event: DeniedEvent): void {
  if (refusal.decision?.reason !== 'no-allow-matched') return deniedEvents.publish(event);
  let near: readonly string[] | undefined;
  // An event that a listener keeps must not lead to the headers of its request: let go of below.
  let held: Refusal | undefined = refusal;
  const withNear: DeniedEvent = {
    ...event,
    get near() {
      if (held === undefined) return near;
      const explanation = explainRefusal(held, { maxValues });
      held = undefined;
      return (near = explanation && nearSentences(explanation));
    },
  };
  deniedEvents.publish(withNear);
  held = undefined;
}

/** Tells `enmesh:denied` and `enmesh:audit` of a connection that was refused before any request. */
export function reportConnectionRefusal(refusal: ConnectionRefusal, scope: AuditScope): void {
  const id = randomBytes(8).toString('hex');
  auditConnectionRefusal(scope, id, refusal);
  if (!deniedEvents.hasSubscribers) return;
  const { code, reason, remoteAddress, peer } = refusal;
  deniedEvents.publish({
    id,
    step: refusal.step,
    code,
    status: errorTable[code].status,
    reason: `${reason} (from ${remoteAddress})`,
    remedy: errorTable[code].remedy,
    ...(peer === undefined ? {} : { peer }),
  });
}
