import type { MeshSnapshot } from '../config/snapshot.js';
import { formatIstioId } from '../identity/spiffe-id.js';
import { isSelected, type Resource, type SourcePosition, type Workload, type WorkloadSelector } from '../identity/workload.js';
import { resolveDestination, type Destination } from '../outbound/destination.js';
import { compileServices, type MeshService } from '../outbound/service.js';
import { isDryRun } from '../policy/compile.js';
import type { AuthorizationPolicy } from '../policy/resource.js';
import { acceptSettings } from '../tls/accept-settings.js';
import type { TlsMode } from '../tls/mode.js';
import { describeRule, type DescribedRule } from './describe-rule.js';

export type { DescribedRule } from './describe-rule.js';

/** The mode of one port of the workload, or (`port` undefined) of all that have none of their own. */
export interface DescribedPort {
  readonly port?: number;
  readonly mode: TlsMode;
  /** `namespace/name` of the PeerAuthentication that decided; absent where Istio's default stands. */
  readonly decidedBy?: string;
  readonly source?: SourcePosition;
  /** Services that lead to this port, as `host:port`. */
  readonly services?: readonly string[];
}

/** A policy that applies to the workload. `rules` are those of AuthorizationPolicy, `issuers` those of RequestAuthentication. */
export interface DescribedPolicy {
  readonly kind: string;
  readonly policy: string;
  readonly source: SourcePosition;
  readonly action?: string;
  /** A rehearsal: it is evaluated and recorded, and decides nothing. */
  readonly dryRun?: true;
  readonly issuers?: readonly string[];
  readonly rules?: readonly DescribedRule[];
}

/** What a call of this workload to one of the declared services would get. */
export interface DescribedDestination {
  readonly host: string;
  readonly port: number;
  readonly destination: Destination;
}

/** A workload as its configuration makes it; plain data. */
export interface MeshDescription {
  readonly generation: number;
  readonly workload: Workload & { readonly spiffeId: string };
  /** Trust domains whose peers are admitted. */
  readonly trustDomains: readonly string[];
  readonly ports: readonly DescribedPort[];
  /** `everyone`: no ALLOW policy applies; `listed`: only what an ALLOW rule names. DENY and CUSTOM come before in both. */
  readonly access: 'everyone' | 'listed';
  readonly policies: readonly DescribedPolicy[];
  readonly destinations: readonly DescribedDestination[];
}

/** Describes what a snapshot means for its workload: modes per port, policies in effect, and what each destination gets. Calls nobody. */
export function describeMesh(snapshot: MeshSnapshot): MeshDescription {
  const { workload, mesh, resources, generation } = snapshot;
  const { trustDomains } = acceptSettings({ mode: 'STRICT', mesh });
  const services = compileServices(snapshot.registry, mesh);
  return {
    generation,
    workload: { ...workload, spiffeId: formatIstioId({ trustDomain: mesh.trustDomain, ...workload }) },
    trustDomains,
    ports: describePorts(snapshot, services),
    access: snapshot.policies.allow === undefined ? 'everyone' : 'listed',
    policies: [
      ...resources.requestAuthentications.filter(appliesTo(snapshot)).map(({ meta, spec }) => ({
        ...named(meta),
        issuers: (spec.jwtRules ?? []).map(({ issuer = '' }) => issuer),
      })),
      ...resources.authorizationPolicies.filter(appliesTo(snapshot)).map(describePolicy),
    ],
    destinations: describeDestinations(snapshot, services),
  };
}

type Targeted = Resource<{
  readonly selector?: WorkloadSelector;
  readonly targetRef?: unknown;
  readonly targetRefs?: readonly unknown[];
}>;

/** Selection as for a sidecar (istio-semantics 3.1): own and root namespace, selector, and never a policy with a targetRef. */
function appliesTo({ workload, mesh }: Pick<MeshSnapshot, 'workload' | 'mesh'>): (policy: Targeted) => boolean {
  return ({ meta, spec }) =>
    (meta.namespace === workload.namespace || meta.namespace === mesh.rootNamespace) &&
    spec.targetRef === undefined &&
    (spec.targetRefs ?? []).length === 0 &&
    isSelected(spec.selector, workload.labels);
}

function named({ kind, namespace, name, source }: Resource<object>['meta']): DescribedPolicy {
  return { kind, policy: `${namespace}/${name}`, source };
}

function describePolicy({ meta, spec }: AuthorizationPolicy): DescribedPolicy {
  const action = spec.action ?? 'ALLOW';
  return {
    ...named(meta),
    action,
    ...(isDryRun(meta) && { dryRun: true as const }),
    rules: (spec.rules ?? []).map(describeRule),
  };
}

/** The workload's own ports behind a port of a service: those its endpoints are listed with, or else the target port, where that is a number. */
function ownPorts(
  { endpoints }: MeshService,
  { name, number, targetPort = number }: MeshService['ports'][number],
  workload: Workload,
): readonly number[] {
  const own = endpoints.filter(
    ({ portName, namespace, labels }) =>
      portName === name &&
      namespace === workload.namespace &&
      Object.keys(labels).length > 0 &&
      isSelected({ matchLabels: labels }, workload.labels),
  );
  if (own.length > 0) return [...new Set(own.map(({ port }) => port))];
  return typeof targetPort === 'number' ? [targetPort] : [];
}

function describePorts(
  { tlsModes, resources, workload, mesh, registry }: MeshSnapshot,
  services: readonly MeshService[],
): DescribedPort[] {
  const leading = new Map<number, string[]>();
  for (const service of services) {
    for (const port of leadsTo(service, workload) ? service.ports : []) {
      for (const own of ownPorts(service, port, workload))
        leading.set(own, [...(leading.get(own) ?? []), `${service.host}:${port.number}`]);
    }
  }
  const own = registry.peerAuthentications.filter(appliesTo({ workload, mesh }));
  const listed = own.flatMap(({ spec }) => Object.keys(spec.portLevelMtls ?? {}).map(Number));
  const describe = (port: number | undefined): DescribedPort => {
    // No port is 0: it has the mode of those that nobody names.
    const decidedBy = tlsModes.sourceFor(port ?? 0);
    const source = resources.peerAuthentications.find(({ meta }) => `${meta.namespace}/${meta.name}` === decidedBy)?.meta.source;
    const reached = port === undefined ? undefined : leading.get(port);
    return {
      ...(port !== undefined && { port }),
      mode: tlsModes.modeFor(port ?? 0),
      ...(decidedBy !== undefined && { decidedBy }),
      ...(source !== undefined && { source }),
      ...(reached !== undefined && { services: reached }),
    };
  };
  const ports = [...new Set([...leading.keys(), ...listed])].sort((a, b) => a - b);
  return [...ports.map(describe), describe(undefined)];
}

function leadsTo({ meta, selector }: MeshService, { namespace, labels }: Workload): boolean {
  return meta.namespace === namespace && Object.keys(selector).length > 0 && isSelected({ matchLabels: selector }, labels);
}

function describeDestinations(snapshot: MeshSnapshot, services: readonly MeshService[]): DescribedDestination[] {
  const described = new Map<string, DescribedDestination>();
  for (const { host, ports } of services) {
    for (const { number: port } of ports) {
      const destination = resolveDestination(snapshot, { client: snapshot.workload, host, port });
      if (destination.known) described.set(`${host}:${port}`, { host, port, destination });
    }
  }
  return [...described.values()];
}
