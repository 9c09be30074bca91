import { isIP } from 'node:net';
import type { KubernetesService, Registry, ServiceEntry, ServiceEntrySpec, WorkloadEntrySpec } from '../config/registry.js';
import type { MeshSettings } from '../config/mesh-config.js';
import { isSelected, type ResourceMeta } from '../identity/workload.js';
import { identitiesOfEndpoint, identitiesOfService } from './accounts.js';
import { clusterDomain, parseHostName } from './host-name.js';
import { compilePort, type CompiledPort } from './port.js';

/** One address of a service at one of its ports, with what decides how to speak to it. */
export interface ServiceEndpoint {
  readonly address: string;
  readonly port: number;
  /** Endpoints belong to a port by its name (istio-semantics 5.0: documents of one host and namespace merge). */
  readonly portName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly namespace: string;
  /** `security.istio.io/tlsMode` if it stands there, else `istio` with a serviceAccount, else `disabled`. */
  readonly tlsMode: string;
  /** SPIFFE ID of its service account. */
  readonly identity: string | undefined;
}

/** How the addresses of a service are found: Istio's `resolution`, with NONE for headless Services too. */
export type Resolution = 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'NONE';

/** A host that a Service or ServiceEntry declares, in one form for both. */
export interface MeshService {
  /** In lower case; `*.x` for a wildcard. */
  readonly host: string;
  readonly meta: ResourceMeta;
  readonly kubernetes: boolean;
  readonly external: boolean;
  readonly resolution: Resolution;
  readonly ports: readonly CompiledPort[];
  /** Namespaces that see it, as its document says; `*`, `.` and `~` as in Istio. */
  readonly exportTo: readonly string[];
  /** The same with the mesh's default where the document says nothing. */
  readonly visibleTo: readonly string[];
  /** Addresses by which clients may also call it (a Service's cluster IPs, a ServiceEntry's `addresses`), as hosts of URLs have them. */
  readonly addresses: readonly string[];
  /** Identities that the document itself names: `subjectAltNames`, or the service account annotations. */
  readonly identities: readonly string[];
  readonly endpoints: readonly ServiceEndpoint[];
  /** Labels that select its WorkloadEntries. */
  readonly selector: Readonly<Record<string, string>>;
  /** `externalName` of a Service of that type: the host it stands for. */
  readonly alias: string | undefined;
}

const exportToAnnotation = 'networking.istio.io/exportTo';
const tlsModeLabel = 'security.istio.io/tlsMode';

/** Every service of the documents with the endpoints that its own document gives or selects. */
export function compileServices(registry: Registry, mesh: MeshSettings): MeshService[] {
  return [
    ...registry.services.map((service) => fromKubernetes(service, registry, mesh)),
    ...registry.serviceEntries.flatMap((entry) => fromServiceEntry(entry, registry, mesh)),
  ];
}

function fromKubernetes(service: KubernetesService, registry: Registry, mesh: MeshSettings): MeshService {
  const { meta, spec } = service;
  const ports = (spec.ports ?? []).map((port) => compilePort(port, 'kubernetes'));
  const headless = spec.clusterIP === 'None';
  const exportTo = exportToOf(meta.annotations[exportToAnnotation]);
  return {
    host: `${meta.name}.${meta.namespace}.svc.${clusterDomain}`,
    meta,
    kubernetes: true,
    external: false,
    resolution: headless ? 'NONE' : 'STATIC',
    ports,
    exportTo,
    visibleTo: exportTo.length === 0 ? mesh.defaultServiceExportTo : exportTo,
    addresses: headless ? [] : addressesOf([spec.clusterIP ?? '', ...(spec.clusterIPs ?? [])]),
    identities: identitiesOfService(meta, mesh.trustDomain),
    endpoints: headless
      ? []
      : selectedEndpoints(registry, mesh, meta.namespace, spec.selector, (entry) => isIP(entry.address ?? '') !== 0, ports),
    selector: spec.selector ?? {},
    alias: spec.type === 'ExternalName' ? aliasOf(spec.externalName) : undefined,
  };
}

function fromServiceEntry(entry: ServiceEntry, registry: Registry, mesh: MeshSettings): MeshService[] {
  const { meta, spec } = entry;
  const ports = (spec.ports ?? []).map((port) => compilePort(port, 'serviceEntry'));
  const resolution = resolutionOf(spec);
  const endpoints = endpointsOf(entry, ports, registry, mesh);
  const exportTo = spec.exportTo ?? [];
  return spec.hosts.map((name) => {
    const host = name.toLowerCase();
    return {
      host,
      meta,
      kubernetes: false,
      external: spec.location !== 'MESH_INTERNAL',
      resolution,
      ports,
      exportTo,
      visibleTo: exportTo.length === 0 ? mesh.defaultServiceExportTo : exportTo,
      addresses: addressesOf(spec.addresses ?? []),
      identities: spec.subjectAltNames ?? [],
      endpoints: isOwnEndpoint(spec) ? ports.flatMap((port) => ownEndpoint(host, meta, port)) : endpoints,
      selector: spec.workloadSelector?.labels ?? {},
      alias: undefined,
    };
  });
}

function resolutionOf(spec: ServiceEntrySpec): Resolution {
  switch (spec.resolution) {
    case 'STATIC':
    case 'DNS':
    case 'DNS_ROUND_ROBIN':
      return spec.resolution;
    default:
      return 'NONE';
  }
}

function isDns(spec: ServiceEntrySpec): boolean {
  return spec.resolution === 'DNS' || spec.resolution === 'DNS_ROUND_ROBIN';
}

/** A DNS service that lists no endpoints is its own endpoint, by its own name and without mutual TLS. */
function isOwnEndpoint(spec: ServiceEntrySpec): boolean {
  return isDns(spec) && (spec.endpoints ?? []).length === 0 && spec.workloadSelector === undefined;
}

function ownEndpoint(host: string, meta: ResourceMeta, port: CompiledPort): ServiceEndpoint[] {
  const number = typeof port.targetPort === 'number' ? port.targetPort : port.number;
  return [
    {
      address: host,
      port: number,
      portName: port.name,
      labels: {},
      namespace: meta.namespace,
      tlsMode: 'disabled',
      identity: undefined,
    },
  ];
}

function endpointsOf(
  entry: ServiceEntry,
  ports: readonly CompiledPort[],
  registry: Registry,
  mesh: MeshSettings,
): ServiceEndpoint[] {
  const { meta, spec } = entry;
  if (spec.workloadSelector !== undefined) {
    const fits = (workload: WorkloadEntrySpec): boolean => isDns(spec) || isIP(workload.address ?? '') !== 0;
    return selectedEndpoints(registry, mesh, meta.namespace, spec.workloadSelector.labels, fits, ports);
  }
  return (spec.endpoints ?? []).flatMap((endpoint) => endpointAt(endpoint, endpoint.labels ?? {}, meta.namespace, mesh, ports));
}

/** A selector without labels selects nothing here, unlike a policy's (istio-semantics 5.0). */
function selectedEndpoints(
  registry: Registry,
  mesh: MeshSettings,
  namespace: string,
  selector: Readonly<Record<string, string>> | undefined,
  fits: (entry: WorkloadEntrySpec) => boolean,
  ports: readonly CompiledPort[],
): ServiceEndpoint[] {
  if (selector === undefined || Object.keys(selector).length === 0) return [];
  return registry.workloadEntries.flatMap(({ meta, spec }) => {
    const labels = { ...spec.labels, ...meta.labels };
    if (meta.namespace !== namespace || !fits(spec) || !isSelected({ matchLabels: selector }, labels)) return [];
    return endpointAt(spec, labels, namespace, mesh, ports);
  });
}

function endpointAt(
  entry: WorkloadEntrySpec,
  labels: Readonly<Record<string, string>>,
  namespace: string,
  mesh: MeshSettings,
  ports: readonly CompiledPort[],
): ServiceEndpoint[] {
  const address = entry.address?.toLowerCase();
  if (address === undefined || address === '') return [];
  const account = entry.serviceAccount === undefined || entry.serviceAccount === '' ? undefined : entry.serviceAccount;
  return ports.flatMap((port) => {
    const number = endpointPort(entry, port);
    if (number === undefined) return [];
    return [
      {
        address,
        port: number,
        portName: port.name,
        labels,
        namespace,
        tlsMode: labels[tlsModeLabel] ?? (account === undefined ? 'disabled' : 'istio'),
        identity: account === undefined ? undefined : identitiesOfEndpoint(mesh.trustDomain, namespace, account),
      },
    ];
  });
}

function endpointPort(entry: WorkloadEntrySpec, port: CompiledPort): number | undefined {
  if (typeof port.targetPort === 'string') return entry.ports?.[port.targetPort];
  return entry.ports?.[port.name] ?? port.targetPort ?? port.number;
}

/** An annotation that is there and has an empty place in it names a namespace that nobody is in: it is not the same as none. */
function exportToOf(annotation: string | undefined): string[] {
  return annotation === undefined || annotation === '' ? [] : annotation.split(',').map((part) => part.trim());
}

function aliasOf(externalName: string | undefined): string | undefined {
  return externalName === undefined || externalName === '' ? undefined : (parseHostName(externalName) ?? externalName);
}

/** Single addresses; a range of them is no host of a URL. */
function addressesOf(given: readonly string[]): string[] {
  return given.flatMap((text) => {
    const address = text.replace(/\/(?:32|128)$/, '').toLowerCase();
    const family = isIP(address);
    return family === 0 ? [] : [family === 6 ? new URL(`http://[${address}]`).hostname : address];
  });
}
