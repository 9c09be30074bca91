import { EnmeshError } from '../errors.js';
import { formatIstio, formatIstioJson } from './access-log-istio.js';
import { formatJson, toLine } from './access-log-json.js';
import { auditEvents, type AuditEvent, type AuditWorkload } from './audit.js';
import { noticeEvents } from './events.js';
import { openLineSink, type LineSink, type LineTarget } from './line-sink.js';
import { createRateLimit } from './rate-limit.js';

/** The forms of a line: ours, Istio's default text, Istio's JSON. Istio's two have requests only. */
export type AccessLogFormat = 'json' | 'istio' | 'istio-json';

/** Where an access log goes and what it holds. */
export interface AccessLogOptions {
  readonly to: 'stdout' | 'stderr' | { readonly file: string };
  readonly format: AccessLogFormat;
  /** `refused`: only what was not let through. */
  readonly filter: 'all' | 'refused';
  /** Whether calls by the mesh's clients are written too, as a sidecar writes both directions; in `json` only. */
  readonly calls: boolean;
  /** Whose decisions: events of other meshes in this process are not written. */
  readonly workload: AuditWorkload;
}

/** A log that writes until it is closed. */
export interface AccessLog {
  /** Lines that were lost since the start. */
  readonly lost: number;
  /**
   * Goes on with other settings: what they name is opened, then every further line goes there, then what waits for the old target is written, within so many
   * milliseconds. Rejects with `ENMESH_TELEMETRY_ACCESS_LOG` when it cannot be opened, and goes on as before.
   */
  change(options: AccessLogOptions, withinMs: number): Promise<void>;
  /** Writes what waits, within so many milliseconds. */
  close(withinMs: number): Promise<void>;
}

interface Shared {
  readonly sink: Promise<LineSink>;
  users: number;
  /** Of the line that says how many were lost. */
  format: AccessLogFormat;
}

// Two meshes of a process that name one target write through one queue, or their lines would stand in each other.
const sinks = new Map<string, Shared>();

/**
 * Opens the access log of a mesh: one line for each event of `enmesh:audit` of its workload. It never makes a request wait and holds at most 1 MiB of lines;
 * what is lost is counted, told once a minute as `access-log-failed`, and said in the log itself. Rejects with `ENMESH_TELEMETRY_ACCESS_LOG` when its file cannot be opened.
 */
export async function openAccessLog(options: AccessLogOptions): Promise<AccessLog> {
  const { workload } = options;
  let branch = await openBranch(options);
  let lostBefore = 0;
  let isClosed = false;
  const stop = auditEvents.subscribe((event) => {
    if (event.workload !== workload) return;
    try {
      const line = branch.write(event);
      if (line !== undefined) branch.sink.write(line);
    } catch {
      // A line that cannot be made is missing: a listener that throws would end the process.
    }
  });
  return {
    get lost() {
      return lostBefore + branch.sink.lost;
    },
    async change(next, withinMs) {
      const opened = await openBranch(next);
      if (isClosed) return leave(opened, 0);
      const before = branch;
      branch = opened;
      await leave(before, withinMs);
      if (before.sink !== opened.sink) lostBefore += before.sink.lost;
    },
    async close(withinMs) {
      isClosed = true;
      stop();
      await leave(branch, withinMs);
    },
  };
}

/** A target in use, and what is written to it. */
interface Branch {
  readonly name: string;
  readonly shared: Shared;
  readonly sink: LineSink;
  readonly write: (event: AuditEvent) => string | undefined;
}

async function openBranch(options: AccessLogOptions): Promise<Branch> {
  const { to } = options;
  const name = typeof to === 'string' ? to : `file ${to.file}`;
  const shared = share(name, options);
  const sink = await shared.sink.catch((cause: unknown) => {
    if (sinks.get(name) === shared) sinks.delete(name);
    const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown reason';
    throw new EnmeshError('ENMESH_TELEMETRY_ACCESS_LOG', `the access log ${name} cannot be opened (${reason})`, { cause });
  });
  return { name, shared, sink, write: writerOf(options) };
}

async function leave({ name, shared, sink }: Branch, withinMs: number): Promise<void> {
  if (--shared.users > 0) return;
  sinks.delete(name);
  await sink.close(withinMs);
}

function share(name: string, { to, format }: AccessLogOptions): Shared {
  let shared = sinks.get(name);
  if (shared === undefined) {
    const sink = openSink(name, to, (lost) => lossLine(lost, made.format));
    const made = { sink, users: 0, format };
    sinks.set(name, (shared = made));
  }
  shared.users += 1;
  shared.format = format;
  return shared;
}

function openSink(name: string, to: AccessLogOptions['to'], lossLine: (lost: number) => string): Promise<LineSink> {
  const target: LineTarget = to === 'stdout' ? { fd: 1 } : to === 'stderr' ? { fd: 2 } : to;
  const mayTell = createRateLimit({ perSecond: 1 / 60, burst: 1, clock: Date.now });
  return openLineSink({ target, lossLine, onLoss: (reason) => mayTell.take() && tellLoss(name, reason) });
}

function lossLine(lost: number, format: AccessLogFormat): string {
  const timestamp = new Date().toISOString();
  if (format === 'istio') return `[${timestamp}] enmesh: ${lost} lines were lost`;
  return toLine({ timestamp, 'event.name': 'enmesh.lost', 'enmesh.lost': lost });
}

function tellLoss(name: string, reason: string): void {
  noticeEvents.publish({
    kind: 'access-log-failed',
    level: 'warn',
    code: 'ENMESH_TELEMETRY_ACCESS_LOG',
    message: `lines of the access log ${name} are being lost: ${reason}; requests are decided and answered as always`,
  });
}

/** What a log makes of an event: a line, or nothing. */
function writerOf({ format, filter, calls }: AccessLogOptions): (event: AuditEvent) => string | undefined {
  const isWanted = (event: AuditEvent): boolean =>
    (filter === 'all' || event.verdict === 'refused') && (calls || event.kind !== 'call');
  if (format === 'json') return (event) => (isWanted(event) ? formatJson(event) : undefined);
  const ofRequest = format === 'istio' ? formatIstio : formatIstioJson;
  return (event) => (event.kind === 'request' && isWanted(event) ? ofRequest(event) : undefined);
}
