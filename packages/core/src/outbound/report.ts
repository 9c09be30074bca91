import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { errorTable, type EnmeshError } from '../errors.js';
import type { PropagationMode } from '../propagation/resource.js';
import { deniedEvents, stepEvents, type Step } from '../telemetry/events.js';
import { auditCall } from './audit.js';
import type { CallPlan, ServicePlan, Target } from './plan.js';

/** In whose name a call goes besides the service's own: `user` is a request principal, `actors` who carried them here. */
export interface CarriedUser {
  readonly propagation: PropagationMode;
  readonly user: string | undefined;
  readonly actors: readonly string[];
}

/** Tells the step `outbound` of one call and `enmesh:audit`, and of its refusal also `enmesh:denied`. `subject` stands for the call. */
export function reportCall(plan: CallPlan, origin: string, subject: object, carried?: CarriedUser): void {
  auditCall(plan, origin, subject);
  const isRefused = plan.kind === 'refused';
  if (stepEvents.outbound.hasSubscribers)
    stepEvents.outbound.publish({
      step: 'outbound',
      outcome: isRefused ? 'refused' : 'passed',
      subject,
      ...(isRefused && { code: plan.error.code }),
      details: {
        origin,
        ...(plan.kind === 'service' ? { service: plan.service, tls: plan.destination.tls } : { kind: plan.kind }),
        ...carried,
      },
    });
  if (isRefused) reportDenied('outbound', plan.error);
}

/** Tells the step `connect` of a connection that stands. */
export function reportConnection(plan: ServicePlan, target: Target, socket: Socket): void {
  if (!stepEvents.connect.hasSubscribers) return;
  stepEvents.connect.publish({ step: 'connect', outcome: 'passed', subject: socket, details: detailsOf(plan, target) });
}

/** Tells of a connection that was refused for what the other end is, or for what we lack. Nothing was sent on it. */
export function reportRefusedConnection(plan: ServicePlan, target: Target, error: EnmeshError): void {
  if (stepEvents.connect.hasSubscribers)
    stepEvents.connect.publish({
      step: 'connect',
      outcome: 'refused',
      subject: error,
      code: error.code,
      details: detailsOf(plan, target),
    });
  reportDenied('connect', error);
}

function detailsOf(plan: ServicePlan, { address, port, tls }: Target): Record<string, unknown> {
  return { service: plan.service, address, port, tls };
}

function reportDenied(step: Step, error: EnmeshError): void {
  if (!deniedEvents.hasSubscribers) return;
  const { code, status, message } = error;
  deniedEvents.publish({
    id: randomBytes(8).toString('hex'),
    step,
    code,
    status,
    reason: message,
    remedy: errorTable[code].remedy,
  });
}
