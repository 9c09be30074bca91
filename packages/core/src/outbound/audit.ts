import { randomBytes } from 'node:crypto';
import type { CallGuard, GuardedCall, OutgoingCall } from '../propagation/egress-guard.js';
import type { RequestContext } from '../propagation/context.js';
import type { TokenNote } from '../propagation/token-note.js';
import { pathOf } from '../request/sent-path.js';
import { auditEvents, type AuditScope, type CallAudit } from '../telemetry/audit.js';
import { tellActors, tellText, tellUser } from '../telemetry/audit-text.js';
import { isIdentityHeader } from './call-headers.js';
import type { OutboundOptions } from './options.js';
import type { CallPlan } from './plan.js';

const audit = auditEvents.native;
const maxText = 1024;
const mostNames = 16;
const mostIdentities = 16;

/** What of one call its event tells, gathered on its way. */
export interface CallNote extends TokenNote {
  readonly scope: AuditScope;
  readonly context: RequestContext | undefined;
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: unknown;
  /** Set on the way: what the egress guard took off, whether a transaction token goes on. */
  stripped: readonly string[];
  transactionToken: boolean;
}

const notes = new WeakMap<object, CallNote>();

/** Begins to gather what the event of a call tells; nothing while nobody listens. `subject` stands for the call. */
export function noteCall(
  { audit: scope, tokens }: Pick<OutboundOptions, 'audit' | 'tokens'>,
  subject: object,
  call: { readonly method: unknown; readonly path: unknown; readonly headers: () => unknown },
): void {
  if (!audit.hasSubscribers || scope === undefined) return;
  notes.set(subject, {
    scope,
    context: tokens?.context(),
    method: typeof call.method === 'string' ? call.method.slice(0, 32) : undefined,
    path: typeof call.path === 'string' ? tellText(pathOf(call.path), maxText) : undefined,
    headers: call.headers(),
    ...{ token: undefined, stripped: [], transactionToken: false },
  });
}

/** The note of a call that is audited. */
export function noteOf(subject: object): CallNote | undefined {
  return audit.hasSubscribers ? notes.get(subject) : undefined;
}

/** Tells of a call that goes out by `plan`, or is refused. Whatever fails here must not touch the call. */
export function auditCall(plan: CallPlan, origin: string, subject: object): void {
  const note = noteOf(subject);
  if (note === undefined) return;
  try {
    auditEvents.publish(callOf(note, plan, origin));
  } catch {
    // An event that cannot be made is missing; the call is not.
  }
}

function callOf(note: CallNote, plan: CallPlan, origin: string): CallAudit {
  const { scope, context, method, path, token, transactionToken } = note;
  const cause = context && scope.causeOf(context);
  const error = plan.kind === 'refused' ? plan.error : undefined;
  const carries = plan.kind === 'refused' ? undefined : plan.carries;
  return {
    kind: 'call',
    id: randomBytes(8).toString('hex'),
    time: scope.clock(),
    workload: scope.workload,
    verdict: error === undefined ? 'allowed' : 'refused',
    code: error?.code,
    reason: error && tellText(error.message, maxText),
    user: context?.user && tellUser(context.user, scope.claims),
    actors: tellActors(context?.user, context?.actors),
    trace: cause?.trace ?? { requestId: undefined, traceparent: undefined },
    cause: cause?.id,
    method,
    path,
    ...placeOf(origin),
    service: plan.kind === 'service' ? plan.service : undefined,
    tls: plan.kind === 'service' ? plan.destination.tls : undefined,
    mode: carries?.entry.mode ?? 'NONE',
    policy: carries?.entry.policy,
    audience: (carries?.audience ?? []).slice(0, mostIdentities),
    token,
    transactionToken: transactionToken && error === undefined,
    stripped: error === undefined ? strippedOf(note, plan) : [],
  };
}

function placeOf(origin: string): Pick<CallAudit, 'host' | 'port'> {
  if (!URL.canParse(origin)) return { host: '', port: 0 };
  const { hostname, port, protocol } = new URL(origin);
  return { host: hostname.slice(0, 255), port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

function strippedOf({ stripped, headers }: CallNote, plan: CallPlan): readonly string[] {
  const strips = plan.kind !== 'refused' && plan.strips;
  const ours = strips ? namesIn(headers).filter(isIdentityHeader) : [];
  return [...new Set([...stripped, ...ours.map((name) => name.toLowerCase())])].slice(0, mostNames);
}

/** Names in a flat list or an object; whatever else is iterable may end after one reading, which is not ours. */
function namesIn(headers: unknown): readonly string[] {
  if (Array.isArray(headers)) return headers.filter((_, i) => i % 2 === 0).map(String);
  if (headers === null || typeof headers !== 'object' || Symbol.iterator in headers) return [];
  return Object.keys(headers);
}

/** The guard of one call for when somebody listens: it notes what it takes off, and tells what it refuses, which may be long after the call has begun. */
export function heardGuard(
  guard: CallGuard | undefined,
  note: CallNote | undefined,
  onRefused: (error: unknown) => void,
): CallGuard | undefined {
  if (guard === undefined) return undefined;
  const { checkBody } = guard;
  const telling =
    <A, R>(look: (argument: A) => R) =>
    (argument: A): R => {
      try {
        return look(argument);
      } catch (error) {
        onRefused(error);
        throw error;
      }
    };
  return {
    checkBody: checkBody && telling(checkBody),
    inspect: telling((call) => {
      const found = guard.inspect(call);
      if (found !== undefined && note !== undefined) noteStripped(note, found, call);
      return found;
    }),
  };
}

/** Names of headers that hold nothing of the token, and `:query`. */
function noteStripped(note: CallNote, { without, path }: GuardedCall, call: OutgoingCall): void {
  const names = [...without].map((name) => (/^[\w-]{1,64}$/.test(name) ? tellText(name, 64) : '(unusual name)'));
  note.stripped = [...note.stripped, ...names, ...(path === call.path ? [] : [':query'])].slice(0, mostNames);
}
