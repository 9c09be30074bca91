import { randomUUID } from 'node:crypto';
import { ServerResponse, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { auditEvents, type AuditCause, type AuditScope, type RequestAudit } from '../telemetry/audit.js';
import { tellActors, tellHeader, tellText, tellUser, traceOf } from '../telemetry/audit-text.js';
import { connectionOf } from '../tls/peer.js';
import type { ConnectionRefusal } from '../tls/server.js';
import type { DoorAttributes } from './door-attributes.js';
import { sentHeaders } from './door-request.js';
import { measureExchange, type ExchangeEnd, type Measured } from './exchange-measure.js';
import type { Verdict } from './inbound.js';
import { pathOf } from '../request/sent-path.js';

const maxPath = 1024;
const maxLine = 256;

/** A request that is audited, from its arrival on. */
interface Arrival {
  readonly scope: AuditScope;
  readonly time: number;
  readonly port: number | undefined;
  readonly measured: Measured;
  attributes: DoorAttributes | undefined;
}

const arrival = Symbol('enmesh.audit');
type Audited = IncomingMessage & { [arrival]?: Arrival };

const audit = auditEvents.native;

/** Begins to gather what the event of a request tells; nothing while nobody listens. `reply` is the bare socket of an upgrade. */
export function noteArrival(
  scope: AuditScope,
  request: IncomingMessage,
  reply: ServerResponse | Duplex,
  workloadPort: number | undefined,
): void {
  if (!audit.hasSubscribers) return;
  const measured = measureExchange(request, reply);
  (request as Audited)[arrival] = { scope, time: scope.clock(), port: workloadPort, measured, attributes: undefined };
}

/** Notes what policies judge of a request: its normalized path, and who its user is in the end. */
export function noteAttributes(request: IncomingMessage, attributes: DoorAttributes): void {
  if (!audit.hasSubscribers) return;
  const noted = (request as Audited)[arrival];
  if (noted !== undefined) noted.attributes = attributes;
}

/** Tells of a decided request once its exchange has ended. Whatever fails here must not touch the request. */
export function auditVerdict(request: IncomingMessage, verdict: Verdict): void {
  const noted = (request as Audited)[arrival];
  if (!audit.hasSubscribers || noted === undefined) return;
  try {
    const told = decided(request, noted, verdict);
    if (verdict.enmesh !== undefined) noted.scope.noteCause(verdict.enmesh, { id: told.id, trace: told.trace });
    const isReset = verdict.refusal?.reset === true;
    noted.measured.onEnd((end) => {
      told.status = isReset ? undefined : end.status;
      told.requestBytes = end.requestBytes;
      told.responseBytes = end.responseBytes;
      told.durationMs = end.durationMs;
      told.isComplete = end.isComplete;
      auditEvents.publish(told);
    });
  } catch {
    // An event that cannot be made is missing; the request is not.
  }
}

/** The event, whose end is written into it: a copy of that many fields would cost more than all the rest. */
type Told = Omit<RequestAudit, keyof ExchangeEnd> & { -readonly [Field in keyof ExchangeEnd]: ExchangeEnd[Field] };

function decided(request: IncomingMessage, { scope, time, port, attributes }: Arrival, { refusal, enmesh }: Verdict): Told {
  const connection = connectionOf(request.socket);
  const decision = enmesh?.decision ?? refusal?.decision;
  const user = attributes?.user;
  return {
    kind: 'request',
    id: refusal?.id ?? createId(),
    time,
    workload: scope.workload,
    verdict: refusal === undefined ? 'allowed' : 'refused',
    code: refusal?.code,
    reason: refusal && tellText(refusal.reason, maxPath),
    step: refusal?.step,
    peer: connection.peer?.uri,
    user: user && tellUser(user, scope.claims),
    actors: tellActors(user, attributes?.hop?.actors),
    trace: traceOfRequest(request, attributes),
    policy: decision?.policy,
    rule: decision?.rule,
    audit: decision?.audit,
    auditedBy: decision?.auditedBy,
    dryRun: decision?.dryRun,
    ...askedFor(request, attributes),
    tls: connection.tls,
    sni: connection.sni === '' ? undefined : connection.sni,
    source: { ip: connection.sourceIp, port: connection.sourcePort },
    destination: { ip: connection.destinationIp, port: connection.destinationPort },
    port: port ?? connection.destinationPort,
    answer: refusal?.payload === undefined ? refusal?.body : undefined,
    status: undefined,
    requestBytes: 0,
    responseBytes: undefined,
    durationMs: 0,
    isComplete: false,
  };
}

/** 64 random bits as refusals have them; Node keeps those of UUIDs in stock, which makes them much cheaper than bytes asked for one by one. */
function createId(): string {
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(24, 32);
}

type AskedFor = Pick<RequestAudit, 'method' | 'path' | 'host' | 'httpVersion' | 'userAgent' | 'forwardedFor'>;

function askedFor(request: IncomingMessage, attributes: DoorAttributes | undefined): AskedFor {
  const host = attributes?.host ?? firstLine(request, 'host');
  return {
    method: (request.method ?? '').slice(0, 32),
    path: tellText(attributes?.path ?? pathOf(request.url ?? ''), maxPath),
    host: host !== undefined && /^[\w.:[\]-]{1,255}$/.test(host) ? host : undefined,
    httpVersion: request.httpVersion,
    userAgent: tellHeader(firstLine(request, 'user-agent'), maxLine),
    forwardedFor: tellHeader(firstLine(request, 'x-forwarded-for'), maxLine),
  };
}

function traceOfRequest(request: IncomingMessage, attributes: DoorAttributes | undefined): AuditCause['trace'] {
  return traceOf((name) =>
    name === 'x-request-id' && attributes !== undefined ? attributes.requestId : firstLine(request, name),
  );
}

/** The first line of a header as the client sent it. */
function firstLine(request: IncomingMessage, name: string): string | undefined {
  const raw = sentHeaders(request);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const line = raw[i] as string;
    if (line.length === name.length && line.toLowerCase() === name) return raw[i + 1];
  }
  return undefined;
}

/** Tells of a connection that was refused before any request. */
export function auditConnectionRefusal({ workload, clock }: AuditScope, id: string, refusal: ConnectionRefusal): void {
  if (!audit.hasSubscribers) return;
  const { code, reason, step, peer, remoteAddress } = refusal;
  auditEvents.publish({
    ...{ kind: 'connection', id, time: clock(), workload, verdict: 'refused', code, step, peer },
    reason: tellText(reason, maxPath),
    source: { ip: remoteAddress },
  });
}
