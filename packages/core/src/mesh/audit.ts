import type { Settings } from '../config/settings.js';
import { formatIstioId } from '../identity/spiffe-id.js';
import { createAuditScope, type AuditScope } from '../telemetry/audit.js';

/**
 * Opens what the audit events of a mesh are made with, and its access log where one is asked for: loaded only then. The log ends after everything that may
 * still have something to tell. Rejects with `ENMESH_TELEMETRY_ACCESS_LOG`.
 */
export async function openAudit(
  { workload, auditClaims, accessLog, clock }: Settings,
  trustDomain: string,
  stops: ((deadlineMs: number) => void | Promise<void>)[],
): Promise<AuditScope> {
  const { namespace, serviceAccount } = workload;
  const where = { namespace, serviceAccount, trustDomain, spiffeId: formatIstioId({ trustDomain, namespace, serviceAccount }) };
  if (accessLog !== undefined) {
    const { openAccessLog } = await import('../telemetry/access-log.js');
    const log = await openAccessLog({ ...accessLog, workload: where });
    stops.push((deadlineMs) => log.close(Math.max(deadlineMs, 1000)));
  }
  return createAuditScope({ workload: where, claims: auditClaims, clock });
}
