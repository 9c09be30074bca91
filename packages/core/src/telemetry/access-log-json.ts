import type { AuditEvent, AuditTrace, AuditUser, CallAudit, ConnectionAudit, RequestAudit } from './audit.js';

type Fields = Readonly<Record<string, unknown>>;

/** One event as a line of JSON: names of OpenTelemetry where it has one, `enmesh.` before ours (docs/audit.md). Pure ASCII; a field that is not known is absent. */
export function formatJson(event: AuditEvent): string {
  return toLine({
    timestamp: new Date(event.time).toISOString(),
    'event.name': `enmesh.${event.kind}`,
    ...commonOf(event),
    ...(event.kind === 'request' ? requestOf(event) : event.kind === 'call' ? callOf(event) : connectionOf(event)),
  });
}

/** An object as one line of ASCII: no character of it can end the line, move a cursor or turn the direction of writing. */
export function toLine(fields: Fields): string {
  return JSON.stringify(fields).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function commonOf({ workload, ...event }: AuditEvent): Fields {
  return {
    'enmesh.verdict': event.verdict,
    'enmesh.decision': event.id,
    'error.type': event.code,
    'enmesh.reason': event.reason,
    'service.name': workload.serviceAccount,
    'service.namespace': workload.namespace,
    'enmesh.workload': workload.spiffeId,
    'enmesh.trust_domain': workload.trustDomain,
  };
}

function userOf({ user, actors }: { readonly user: AuditUser | undefined; readonly actors: readonly string[] }): Fields {
  const claims = user?.claims ?? {};
  return {
    'enmesh.user.issuer': user?.issuer,
    'user.id': user?.subject,
    'enmesh.user.claims': Object.keys(claims).length === 0 ? undefined : claims,
    'enmesh.actors': actors.length === 0 ? undefined : actors,
  };
}

function traceOf({ requestId, traceparent }: AuditTrace): Fields {
  const [, trace, span] = traceparent?.split('-') ?? [];
  return { trace_id: trace, span_id: span, 'http.request.header.x-request-id': requestId };
}

function requestOf(event: RequestAudit): Fields {
  return {
    'enmesh.step': event.step,
    'enmesh.policy': event.policy,
    'enmesh.rule': event.rule,
    'enmesh.audit': event.audit,
    'enmesh.audit_policy': event.auditedBy?.policy,
    'enmesh.audit_rule': event.auditedBy?.rule,
    'enmesh.dry_run': event.dryRun,
    'enmesh.peer': event.peer,
    ...userOf(event),
    'http.request.method': event.method,
    'url.path': event.path,
    'server.address': event.host?.replace(/:\d+$/, ''),
    'server.port': event.port,
    'network.protocol.version': event.httpVersion,
    'enmesh.tls': event.tls,
    'client.address': event.source.ip,
    'client.port': event.source.port,
    'user_agent.original': event.userAgent,
    'http.request.header.x-forwarded-for': event.forwardedFor,
    'http.response.status_code': event.status,
    'http.request.body.size': event.requestBytes,
    'http.response.body.size': event.responseBytes,
    'enmesh.duration_ms': milliseconds(event.durationMs),
    'enmesh.complete': event.isComplete ? undefined : false,
    ...traceOf(event.trace),
  };
}

function connectionOf(event: ConnectionAudit): Fields {
  return { 'enmesh.step': event.step, 'enmesh.peer': event.peer, 'client.address': event.source.ip };
}

function callOf(event: CallAudit): Fields {
  return {
    ...userOf(event),
    'http.request.method': event.method,
    'url.path': event.path,
    'server.address': event.host,
    'server.port': event.port,
    'enmesh.service': event.service,
    'enmesh.tls': event.tls,
    'enmesh.propagation': event.mode,
    'enmesh.policy': event.policy,
    'enmesh.audience': event.audience.length === 0 ? undefined : event.audience,
    'enmesh.token': event.token,
    'enmesh.transaction_token': event.transactionToken ? true : undefined,
    'enmesh.stripped': event.stripped.length === 0 ? undefined : event.stripped,
    'enmesh.cause': event.cause,
    ...traceOf(event.trace),
  };
}

const milliseconds = (value: number): number => Math.round(value * 1000) / 1000;
