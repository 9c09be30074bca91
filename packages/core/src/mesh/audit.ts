import { isDeepStrictEqual } from 'node:util';
import type { AccessLogChoice } from '../config/access-log-settings.js';
import type { ServiceFile } from '../config/service-file.js';
import { watchServiceFile } from '../config/service-file-source.js';
import type { Settings } from '../config/settings.js';
import type { EnmeshError } from '../errors.js';
import { formatIstioId } from '../identity/spiffe-id.js';
import type { AccessLog } from '../telemetry/access-log.js';
import { createAuditScope, type AuditScope, type AuditWorkload } from '../telemetry/audit.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';

/** What the audit events of a mesh are made with, and the access log that may change while it runs. */
export interface MeshAudit {
  readonly scope: AuditScope;
  /** Reads enmesh.yaml now; what it says of access log and claims is in force when this resolves, or a notice says why not. */
  reload(): Promise<void>;
}

/**
 * Opens what the audit events of a mesh are made with, and its access log where one is asked for: loaded only then. Both follow enmesh.yaml where code and
 * environment leave it a say. The log ends after everything that may still have something to tell. Rejects with `ENMESH_TELEMETRY_ACCESS_LOG`.
 */
export async function openAudit(
  { workload, auditClaims, accessLog, clock, serviceFile, auditOf }: Settings,
  trustDomain: string,
  stops: ((deadlineMs: number) => void | Promise<void>)[],
): Promise<MeshAudit> {
  const { namespace, serviceAccount } = workload;
  const where = { namespace, serviceAccount, trustDomain, spiffeId: formatIstioId({ trustDomain, namespace, serviceAccount }) };
  let claims = auditClaims;
  const scope = createAuditScope({ workload: where, claims: () => claims, clock });
  const log = await openChangingLog(accessLog, where);
  stops.push((deadlineMs) => log.close(Math.max(deadlineMs, 1000)));
  if (serviceFile === undefined) return { scope, reload: () => Promise.resolve() };
  const told = createTold(serviceFile.name, serviceFile.file);
  const watching = watchServiceFile({
    ...serviceFile,
    async onFile(file) {
      const wanted = auditOf(file);
      if (!isDeepStrictEqual(claims, wanted.auditClaims)) told.claims(wanted.auditClaims);
      claims = wanted.auditClaims;
      told.others(file);
      return log.use(wanted.accessLog);
    },
    onProblem: told.rejected,
  });
  stops.push(() => watching.stop());
  return { scope, reload: () => watching.look() };
}

interface ChangingLog {
  /** Has further lines go there; false, and all as before, where that cannot be opened. */
  use(wanted: AccessLogChoice | undefined): Promise<boolean>;
  close(withinMs: number): Promise<void>;
}

/** For what waits for the target that was left. */
const leaveMs = 5_000;

async function openChangingLog(first: AccessLogChoice | undefined, workload: AuditWorkload): Promise<ChangingLog> {
  let [inForce, refused]: (AccessLogChoice | undefined)[] = [];
  let log: AccessLog | undefined;
  let isClosed = false;
  const change = async (wanted: AccessLogChoice | undefined): Promise<void> => {
    if (wanted === undefined) {
      const before = log;
      log = undefined;
      await before?.close(leaveMs);
    } else if (log === undefined) {
      const { openAccessLog } = await import('../telemetry/access-log.js');
      const opened = await openAccessLog({ ...wanted, workload });
      if (isClosed) return opened.close(0);
      log = opened;
    } else await log.change({ ...wanted, workload }, leaveMs);
    inForce = wanted;
  };
  await change(first);
  return {
    async use(wanted) {
      if (isClosed || isDeepStrictEqual(wanted, inForce)) return true;
      try {
        await change(wanted);
        tell('settings-changed', 'info', `the access log ${nameOf(wanted)} from now on`);
        return true;
      } catch (error) {
        const { message, code } = error as EnmeshError;
        if (!isDeepStrictEqual(wanted, refused))
          tell('access-log-failed', 'warn', `${message}; it ${nameOf(inForce)} as before, and the new one is tried again`, code);
        refused = wanted;
        return false;
      }
    },
    async close(withinMs) {
      isClosed = true;
      await log?.close(withinMs);
    },
  };
}

function nameOf(choice: AccessLogChoice | undefined): string {
  if (choice === undefined) return 'is off';
  const { to, format, filter, calls } = choice;
  return `goes to ${typeof to === 'string' ? to : to.file} (${format}, ${filter}${calls ? '' : ', no calls'})`;
}

/** What is said of an enmesh.yaml that changed; `first` is what it held at the start, which still counts but for access log and claims. */
function createTold(name: string, first: ServiceFile) {
  let last = '';
  return {
    claims(claims: readonly string[]): void {
      tell('settings-changed', 'info', `audit events tell ${claims.length === 0 ? 'no claims' : claims.join(', ')} from now on`);
    },
    others(file: ServiceFile): void {
      const fields = new Set([...Object.keys(first), ...Object.keys(file)]) as Set<keyof ServiceFile>;
      for (const own of ['accessLog', 'auditClaims'] as const) fields.delete(own);
      const changed = [...fields].filter((field) => !isDeepStrictEqual(first[field], file[field])).join(', ');
      if (changed !== '' && changed !== last)
        tell('settings-changed', 'warn', `${name} says something else of ${changed}: that counts after a restart`);
      last = changed;
    },
    rejected({ message, code }: EnmeshError): void {
      tell('settings-rejected', 'error', `${name} is not used, what it said before stays in force: ${message}`, code);
    },
  };
}

function tell(kind: NoticeEvent['kind'], level: NoticeEvent['level'], message: string, code?: NoticeEvent['code']): void {
  noticeEvents.publish({ kind, level, message, ...(code !== undefined && { code }) });
}
