import type { AuditAddress, RequestAudit } from './audit.js';
import { toLine } from './access-log-json.js';

type Value = string | number | undefined;

/** The values of Istio's default format by the names of its JSON form, in the order of its text form; undefined: not known in a process, or not there. */
function valuesOf(event: RequestAudit): Readonly<Record<string, Value>> {
  return {
    start_time: new Date(event.time).toISOString(),
    method: event.method,
    path: event.path,
    protocol: `HTTP/${event.httpVersion}`,
    response_code: event.status ?? 0,
    response_flags: flagsOf(event),
    response_code_details: detailsOf(event),
    connection_termination_details: undefined,
    upstream_transport_failure_reason: undefined,
    bytes_received: event.requestBytes,
    bytes_sent: event.responseBytes ?? 0,
    duration: Math.round(event.durationMs),
    upstream_service_time: undefined,
    x_forwarded_for: event.forwardedFor,
    user_agent: event.userAgent,
    request_id: event.trace.requestId,
    authority: event.host,
    upstream_host: undefined,
    upstream_cluster: `inbound|${event.port}||`,
    upstream_local_address: undefined,
    downstream_local_address: addressOf(event.destination),
    downstream_remote_address: addressOf(event.source),
    requested_server_name: event.sni,
    route_name: undefined,
  };
}

const quotedTogether = ['method', 'path', 'protocol'];
const quotedAlone = new Set([
  'upstream_transport_failure_reason',
  'x_forwarded_for',
  'user_agent',
  'request_id',
  'authority',
  'upstream_host',
]);

/** A request in Istio's default text format. What Envoy writes as it came is escaped: quotes, backslashes, and all that is not printable ASCII. */
export function formatIstio(event: RequestAudit): string {
  const { start_time: time, ...values } = valuesOf(event);
  const request = quotedTogether.map((name) => escape(values[name])).join(' ');
  const rest = Object.entries(values)
    .filter(([name]) => !quotedTogether.includes(name))
    .map(([name, value]) => (quotedAlone.has(name) ? `"${escape(value)}"` : bare(value)));
  return [`[${String(time)}] "${request}"`, ...rest].join(' ');
}

/** A request in Istio's JSON form, absent values as null. */
export function formatIstioJson(event: RequestAudit): string {
  return toLine(Object.fromEntries(Object.entries(valuesOf(event)).map(([name, value]) => [name, value ?? null])));
}

function flagsOf({ step, code, isComplete, verdict }: RequestAudit): string {
  if (verdict === 'refused') return step === 'custom' && code !== 'ENMESH_CUSTOM_CLIENT_GONE' ? 'UAEX' : '-';
  return isComplete ? '-' : 'DC';
}

/** Envoy's own words where it has some; else our code, which says more. */
function detailsOf(event: RequestAudit): string {
  const { verdict, step, code, policy, rule, answer, isComplete } = event;
  if (verdict === 'allowed') return isComplete ? 'via_upstream' : 'downstream_remote_disconnect';
  if (code === 'ENMESH_POLICY_DENIED') return `rbac_access_denied_matched_policy[${matched(policy, rule)}]`;
  if (step === 'jwt' && answer?.startsWith('Jwt') === true) return `jwt_authn_access_denied{${answer.replaceAll(' ', '_')}}`;
  if (code === 'ENMESH_CUSTOM_DENIED') return 'ext_authz_denied';
  if (code === 'ENMESH_CUSTOM_CHECK_FAILED') return 'ext_authz_error';
  return `enmesh{${String(code)}}`;
}

function matched(policy: string | undefined, rule: number | undefined): string {
  const at = policy?.indexOf('/') ?? -1;
  if (policy === undefined || at < 0) return 'none';
  return `ns[${policy.slice(0, at)}]-policy[${policy.slice(at + 1)}]-rule[${String(rule)}]`;
}

function addressOf({ ip, port }: AuditAddress): string | undefined {
  if (ip === '') return undefined;
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function bare(value: Value): string {
  return escape(value).replaceAll(' ', '\\u0020');
}

function escape(value: Value): string {
  if (value === undefined || value === '') return '-';
  return String(value)
    .replace(/["\\]/g, '\\$&')
    .replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
