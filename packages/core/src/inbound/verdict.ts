import type { IncomingMessage } from 'node:http';
import { auditEvents } from '../telemetry/audit.js';
import { stepEvents } from '../telemetry/events.js';
import { auditVerdict } from './audit.js';
import { markDecided, markRefused } from './decided.js';
import type { RequestEnmesh, Verdict } from './inbound.js';
import { reportDenied } from './report.js';

const audit = auditEvents.native;
const handler = stepEvents.handler.native;

/**
 * Notes a verdict on its request and tells whoever listens, at the door and in the middleware form alike.
 * Returns what the handler gets, or undefined when the request is to be answered with `verdict.refusal`.
 */
export function recordVerdict(request: IncomingMessage, verdict: Verdict): RequestEnmesh | undefined {
  const { refusal, enmesh } = verdict;
  if (audit.hasSubscribers) auditVerdict(request, verdict);
  if (enmesh === undefined) {
    markRefused(request);
    reportDenied(request, refusal);
    return undefined;
  }
  markDecided(request, enmesh);
  if (handler.hasSubscribers) stepEvents.handler.publish({ step: 'handler', outcome: 'passed', subject: request });
  return enmesh;
}
