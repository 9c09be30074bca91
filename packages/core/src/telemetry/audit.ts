import type { ErrorCode } from '../errors.js';
import type { DryRunResult, RulePlace } from '../policy/decision.js';
import type { CarriedTokenSource } from '../propagation/token-note.js';
import { eventChannel, type Step } from './events.js';

/** The workload that decided. One object for each mesh: who listens for one mesh of several in a process compares it. */
export interface AuditWorkload {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly spiffeId: string;
}

/** A claim as it may be told: texts are cut at 256 characters, lists at 16 items; objects are not told. */
export type AuditClaim = string | number | boolean | readonly (string | number | boolean)[];

/** The end user: issuer, subject, and of the other claims those that `auditClaims` names. */
export interface AuditUser {
  readonly issuer: string | undefined;
  readonly subject: string | undefined;
  readonly claims: Readonly<Record<string, AuditClaim>>;
}

/** What ties an event to others: the request's `x-request-id` (the client's, else one of our own) and its W3C `traceparent`, each where it has the form of one. */
export interface AuditTrace {
  readonly requestId: string | undefined;
  readonly traceparent: string | undefined;
}

interface AuditBase {
  /** The decision id; of a refusal the one that the client gets in `x-enmesh-decision`. */
  readonly id: string;
  /** When it began, in milliseconds since the epoch. */
  readonly time: number;
  readonly workload: AuditWorkload;
  readonly verdict: 'allowed' | 'refused';
  /** Why not, in a code of docs/errors.md and in a sentence for operators; of refusals only. */
  readonly code: ErrorCode | undefined;
  readonly reason: string | undefined;
}

/** Whom a request or call is about besides the service that makes it. */
interface AuditedUser {
  readonly user: AuditUser | undefined;
  /** The services (or whoever an issuer's `act` names) that carried the user here, the last to act first, at most 16. */
  readonly actors: readonly string[];
  readonly trace: AuditTrace;
}

/** A request that was decided, told when its exchange has ended. Texts of the client's are bounded and hold no token; the path has no query. */
export interface RequestAudit extends AuditBase, AuditedUser {
  readonly kind: 'request';
  /** The step that refused. */
  readonly step: Step | undefined;
  /** SPIFFE ID of the caller, on mutual TLS. */
  readonly peer: string | undefined;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
  /** Whether an AUDIT rule matched; undefined where no AUDIT policy selects the workload. */
  readonly audit: boolean | undefined;
  /** The AUDIT rule that matched. */
  readonly auditedBy: RulePlace | undefined;
  readonly dryRun: { readonly allow?: DryRunResult; readonly deny?: DryRunResult } | undefined;
  readonly method: string;
  /** The normalized path; of a request refused before it had one, the path as sent. */
  readonly path: string;
  readonly host: string | undefined;
  readonly tls: boolean;
  readonly sni: string | undefined;
  readonly httpVersion: string;
  readonly source: AuditAddress;
  readonly destination: AuditAddress;
  /** The port as policies name it. */
  readonly port: number;
  readonly userAgent: string | undefined;
  readonly forwardedFor: string | undefined;
  /** The public sentence that a refused client got. */
  readonly answer: string | undefined;
  /** Undefined where no status line was sent: a reset, a client that went away, an upgrade that the application did not answer. */
  readonly status: number | undefined;
  /** Bytes of the bodies as they were carried; of the answer undefined for an upgrade. */
  readonly requestBytes: number;
  readonly responseBytes: number | undefined;
  readonly durationMs: number;
  /** False where the client went away before the answer was whole. */
  readonly isComplete: boolean;
}

/** An address and port of this machine's view of a connection; empty and 0 where it has none. */
export interface AuditAddress {
  readonly ip: string;
  readonly port: number;
}

/** A connection that was refused before any request. */
export interface ConnectionAudit extends AuditBase {
  readonly kind: 'connection';
  readonly step: Step;
  readonly peer: string | undefined;
  readonly source: Pick<AuditAddress, 'ip'>;
}

/** A call by one of the mesh's clients, told when it goes out or is refused. */
export interface CallAudit extends AuditBase, AuditedUser {
  readonly kind: 'call';
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly host: string;
  readonly port: number;
  /** `host:port` of the declared service that is called. */
  readonly service: string | undefined;
  /** How its connection is secured, as a DestinationRule writes it; undefined where the mesh has no part in it. */
  readonly tls: string | undefined;
  /** What the call takes along: the mode of the TokenPropagation that speaks of it, NONE without one. */
  readonly mode: 'NONE' | 'HOP' | 'EXCHANGE' | 'FORWARD';
  /** `<namespace>/<name>` of that TokenPropagation. */
  readonly policy: string | undefined;
  /** SPIFFE IDs that the destination may have, at most 16. */
  readonly audience: readonly string[];
  /** Undefined where no token is carried. */
  readonly token: CarriedTokenSource | undefined;
  /** Whether the transaction token of the request being handled goes on. */
  readonly transactionToken: boolean;
  /** Names of headers that were taken off, `:query` for a part of the query. */
  readonly stripped: readonly string[];
  /** The decision id of the request being handled; undefined in background work, and where contexts are not kept. */
  readonly cause: string | undefined;
}

/** What `enmesh:audit` tells. Never a token, a claim that is not listed, a query or a header besides those named here. */
export type AuditEvent = RequestAudit | ConnectionAudit | CallAudit;

/**
 * One event for each decision about a request, connection or call, `enmesh:audit` (docs/audit.md). With nobody listening nothing is gathered and nothing is
 * spent. A listener must not throw: Node ends the process for it.
 */
export const auditEvents = eventChannel<AuditEvent>('audit');

/** What every event of one mesh is made with. */
export interface AuditScope {
  readonly workload: AuditWorkload;
  /** Claims that may be told besides issuer and subject. */
  readonly claims: readonly string[];
  readonly clock: () => number;
  /** Ties the context of a request to its event, so that calls made for it name it. */
  noteCause(context: object, cause: AuditCause): void;
  causeOf(context: object): AuditCause | undefined;
}

/** The request that a call is made for. */
export interface AuditCause {
  readonly id: string;
  readonly trace: AuditTrace;
}

// On the context itself: a WeakMap with an entry for each request is dear to the garbage collector. Registered, for two copies of this package.
const causedBy = Symbol.for('enmesh.audit-cause');
type Caused = { [causedBy]?: AuditCause };

/** Creates what the events of one mesh share; `claims` is asked for each event. */
export function createAuditScope({
  workload,
  claims,
  clock,
}: Pick<AuditScope, 'workload' | 'clock'> & { readonly claims: () => readonly string[] }): AuditScope {
  return {
    workload,
    clock,
    get claims() {
      return claims();
    },
    noteCause: (context, cause) => void ((context as Caused)[causedBy] = cause),
    causeOf: (context) => (context as Caused)[causedBy],
  };
}
