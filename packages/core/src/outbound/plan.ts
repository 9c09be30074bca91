import type { MeshSettings } from '../config/mesh-config.js';
import type { Registry } from '../config/registry.js';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { Workload } from '../identity/workload.js';
import type { TlsDefaults } from '../tls/origination.js';
import type { PropagationPlan } from '../propagation/plan.js';
import { carriageOf, type Carriage } from './carriage.js';
import { resolve, type ClientTlsMode, type Destination, type Resolved } from './destination.js';
import { parseHostName } from './host-name.js';

/** What of a MeshSnapshot calls are planned from. */
export interface PlanSources {
  readonly registry: Registry;
  readonly mesh: MeshSettings;
  readonly workload: Workload;
  /** Absent: calls carry nothing but the service. */
  readonly propagation?: PropagationPlan;
}

/** Where one connection may go. */
export interface Target {
  readonly address: string;
  readonly port: number;
  readonly tls: ClientTlsMode;
}

/** A call to a declared service: where to, and whom to expect there. */
export interface ServicePlan {
  readonly kind: 'service';
  /** The same text for the same plan: connections outlive a reload that changes nothing for them. */
  readonly key: string;
  /** `host:port` of the service, for messages. */
  readonly service: string;
  readonly targets: readonly Target[];
  /** The host in the URL, in the form names are compared in. */
  readonly askedHost: string;
  readonly destination: Destination;
  /** For targets reached by SIMPLE or MUTUAL. */
  readonly tlsDefaults: TlsDefaults;
  /** Headers that carry an identity do not go there. */
  readonly strips: boolean;
  /** What calls carry of their user. */
  readonly carries?: Carriage | undefined;
}

/** A call that the mesh has no part in. */
export interface PassPlan {
  readonly kind: 'pass';
  readonly declared: boolean;
  readonly strips: boolean;
  readonly carries?: Carriage | undefined;
  /** Of a host that is declared with other ports: the sentence that says so. */
  readonly undeclaredPort?: string;
}

/** A call of which nothing is sent. */
export interface RefusedPlan {
  readonly kind: 'refused';
  readonly error: EnmeshError;
}

/** How a call is carried out. */
export type CallPlan = ServicePlan | PassPlan | RefusedPlan;

/** A question to {@link planCall}: the origin of a URL, taken apart. */
export interface CallTarget {
  readonly protocol: 'http:' | 'https:';
  readonly host: string;
  readonly port: number;
}

/**
 * Plans a call of the sources' workload. An `https:` URL is the application's own encryption and passes untouched, as through a sidecar;
 * an undeclared host passes or is refused by `outboundTrafficPolicy`. A Kubernetes Service without endpoints in the documents is reached by its DNS name.
 */
export function planCall(sources: PlanSources, target: CallTarget): CallPlan {
  const { host, port } = target;
  const resolved = resolve(sources, { client: sources.workload, host, port });
  const plan = planResolved(sources, target, resolved);
  const declared = resolved.destination.host;
  // A wildcard declares many hosts: what they carry is said of each by its own name.
  const named = declared === undefined || declared.startsWith('*') ? parseHostName(host) : declared;
  const carries = carriageOf(sources.propagation, named, plan, target);
  // An identity header that the application copied is not what its policy says: calls of which one speaks carry that and nothing else.
  return carries === undefined || plan.kind === 'refused' ? plan : { ...plan, carries, strips: true };
}

function planResolved(sources: PlanSources, { host, port, protocol }: CallTarget, resolved: Resolved): CallPlan {
  const target = { host, port, protocol };
  const { destination } = resolved;
  const label = `${destination.host ?? parseHostName(host) ?? 'an unnamed host'}:${port}`;
  if (destination.known && protocol === 'https:') return { kind: 'pass', declared: true, strips: destination.external === true };
  if (destination.refused !== undefined)
    return refuse(destination.refused.code, `call to ${label} refused: ${destination.refused.reason}`);
  if (!destination.known) {
    const undeclaredPort = resolved.otherPorts === undefined ? undefined : describePorts(label, resolved.otherPorts);
    if (destination.policy === 'ALLOW_ANY')
      return { kind: 'pass', declared: false, strips: true, ...(undeclaredPort !== undefined && { undeclaredPort }) };
    const fact = undeclaredPort ?? `no service declares ${label}`;
    return refuse('ENMESH_OUTBOUND_UNDECLARED', `${fact}, and outboundTrafficPolicy is REGISTRY_ONLY`);
  }
  return planService(resolved, target, label, sources.mesh.tlsDefaults);
}

function describePorts(label: string, ports: readonly number[]): string {
  const listed = `port${ports.length === 1 ? '' : 's'} ${ports.slice(0, 10).join(', ')}${ports.length > 10 ? ' and more' : ''}`;
  return `no service declares ${label}: the host is declared with ${ports.length === 0 ? 'no port' : listed}`;
}

function planService(resolved: Resolved, target: CallTarget, service: string, tlsDefaults: TlsDefaults): CallPlan {
  const { destination } = resolved;
  const askedHost = parseHostName(target.host) ?? target.host;
  const targets = destination.endpoints ?? unlistedTargets(resolved, askedHost);
  if (destination.unreachable === true || targets.length === 0)
    return refuse('ENMESH_OUTBOUND_UNREACHABLE', `${service} has no endpoint in the configuration`);
  const isMutual = targets.some(({ tls }) => tls === 'ISTIO_MUTUAL');
  if (isMutual && (destination.subjectAltNames ?? []).length === 0)
    return refuse(
      'ENMESH_OUTBOUND_NOBODY_EXPECTED',
      `call to ${service} refused: its endpoints are not in the configuration and nothing says which identity they have`,
    );
  const unsupported = unsupportedSettings(destination);
  if (unsupported !== undefined) return refuse('ENMESH_OUTBOUND_TLS_SETTINGS', `call to ${service} refused: ${unsupported}`);
  const strips = destination.external === true;
  const key = JSON.stringify([service, askedHost, targets, destination, tlsDefaults]);
  return { kind: 'service', key, service, targets, askedHost, destination, tlsDefaults, strips };
}

/** ORIGINAL_DST means the address the client resolves; a Kubernetes Service that lists nobody is met at its own name. */
function unlistedTargets({ destination, service }: Resolved, askedHost: string): readonly Target[] {
  if (service === undefined) return [];
  const { host, kubernetes } = service.service;
  const { pod } = service;
  const address = host.startsWith('*') ? askedHost : pod === undefined ? host : `${pod}.${host}`;
  const isByName = destination.discovery === 'ORIGINAL_DST' || kubernetes;
  return isByName ? [{ address, port: service.port.number, tls: destination.tls ?? 'DISABLE' }] : [];
}

function unsupportedSettings({ ca, certificate, crl }: Destination): string | undefined {
  if (crl !== undefined) return 'its DestinationRule asks for a revocation list (caCrl)';
  const foreign = [ca, certificate].find((source) => source !== undefined && /^(?:credential:|configmap:)/.test(source));
  return foreign === undefined ? undefined : `its DestinationRule takes a certificate from Kubernetes (${foreign})`;
}

function refuse(code: EnmeshError['code'], message: string): RefusedPlan {
  return { kind: 'refused', error: new EnmeshError(code, message) };
}

/** Whether every connection to `host:port` would be mutual TLS with a known identity: such a host is as safe to ask as an https one. */
export function isReachedByMutualTls(sources: PlanSources, host: string, port: number): boolean {
  const plan = planCall(sources, { protocol: 'http:', host, port });
  return plan.kind === 'service' && plan.targets.every(({ tls }) => tls === 'ISTIO_MUTUAL');
}

/**
 * Why a call may not take its plan, judged by its request line: `ENMESH_OUTBOUND_PROXIED` for a whole URL, which only a proxy is asked, and
 * `ENMESH_OUTBOUND_UNDECLARED` for a tunnel or upgrade to a host nobody declared, because the mesh cannot see what passes through it.
 */
export function objectToRequestLine(plan: CallPlan, method: string, target: string, isUpgrade: boolean): RefusedPlan | undefined {
  const isTunnel = method === 'CONNECT';
  if (!isTunnel && /^https?:/i.test(target))
    return refuse('ENMESH_OUTBOUND_PROXIED', 'the call names a whole URL as its path, as calls to a proxy do');
  if ((isTunnel || isUpgrade) && plan.kind === 'pass' && !plan.declared)
    return refuse('ENMESH_OUTBOUND_UNDECLARED', 'a CONNECT or upgrade may go to declared services only');
  return undefined;
}

/** The plan of a call that cannot begin, such as `ENMESH_IDENTITY_NONE`. Anything but an EnmeshError is thrown on: it is a mistake, not a refusal. */
export function refusedBy(error: unknown): RefusedPlan {
  if (!isEnmeshError(error)) throw error;
  return { kind: 'refused', error };
}
