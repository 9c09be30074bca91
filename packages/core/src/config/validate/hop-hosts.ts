import { fullName } from '../../propagation/plan.js';
import type { TokenPropagation } from '../../propagation/resource.js';
import { quote, type ConfigProblem } from '../problem.js';
import type { Registry } from '../registry.js';

/**
 * Entries whose mode needs mutual TLS (HOP, FORWARD) for hosts of which the documents say that none is spoken: services outside the mesh, and hosts whose
 * DestinationRule turns it off. Only plain names are compared; what is decided per port or client is found out by the call.
 */
export function findUnboundHosts(policies: readonly TokenPropagation[], registry: Registry): readonly ConfigProblem[] {
  if (policies.length === 0) return [];
  const reasons = reasonsByHost(registry);
  return policies.flatMap(({ meta, spec }) =>
    (spec.outbound ?? []).flatMap(({ hosts, mode }, entry) => {
      if (mode !== 'HOP' && mode !== 'FORWARD') return [];
      return hosts.flatMap((host, at): ConfigProblem[] => {
        const reason = reasons.get(fullName(host, meta.namespace));
        if (reason === undefined) return [];
        return [
          {
            level: 'error',
            code: 'ENMESH_CONFIG_VALUE_INVALID',
            ...meta.source,
            path: `spec.outbound[${entry}].hosts[${at}]`,
            message: `mode ${mode} needs mutual TLS of the mesh, and ${quote(host)} ${reason}`,
            hint: 'EXCHANGE gets a token for services outside the mesh',
          },
        ];
      });
    }),
  );
}

function reasonsByHost({ serviceEntries, destinationRules }: Registry): ReadonlyMap<string, string> {
  const reasons = new Map<string, string>();
  for (const { meta, spec } of serviceEntries) {
    if (spec.location === 'MESH_INTERNAL') continue;
    const named = `${meta.namespace}/${meta.name}`;
    for (const host of spec.hosts) reasons.set(host.toLowerCase(), `is outside it (MESH_EXTERNAL in ServiceEntry ${named})`);
  }
  for (const { meta, spec } of destinationRules) {
    const tls = spec.trafficPolicy?.tls;
    const isForAll = spec.workloadSelector === undefined && (spec.trafficPolicy?.portLevelSettings ?? []).length === 0;
    if (tls === undefined || tls.mode === 'ISTIO_MUTUAL' || !isForAll) continue;
    const named = `${meta.namespace}/${meta.name}`;
    reasons.set(fullName(spec.host, meta.namespace), `gets tls mode ${tls.mode ?? 'DISABLE'} from DestinationRule ${named}`);
  }
  return reasons;
}
