import type { MeshSettings } from '../config/mesh-config.js';
import type { Registry } from '../config/registry.js';
import type { ErrorCode } from '../errors.js';
import type { Workload } from '../identity/workload.js';
import { compileTlsModes, namespaceTlsMode } from '../tls/mode.js';
import { compileDestinationRules, findDestinationRule, type DestinationRuleIndex } from './destination-rule.js';
import { parseHostName } from './host-name.js';
import type { CompiledPort } from './port.js';
import { findRefusal, invalidHost } from './refusal.js';
import type { ServiceEndpoint } from './service.js';
import { compileServiceIndex, findPorts, findService, type FoundService, type ServiceIndex } from './services.js';
import { modeOf, resolveTrafficPolicy, type EffectivePolicy } from './traffic-policy.js';
import { istioMutual, otherTls, type UpstreamFacts, type UpstreamTls } from './upstream-tls.js';

/** How an endpoint is spoken to: DestinationRule's modes. */
export type ClientTlsMode = 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL';

/** One address of a destination. */
export interface DestinationEndpoint {
  readonly address: string;
  readonly port: number;
  readonly tls: ClientTlsMode;
}

/**
 * How a client reaches `host:port` (istio-semantics 5). Members are absent where they have nothing to say.
 * - `known` false: no visible service has this host and port, or it has no such subset (`unknown` says which); `policy` is then
 *   `outboundTrafficPolicy` for an unknown host.
 * - `unreachable`: the service is known, resolves by DNS and has no endpoint.
 * - `auto`: auto mTLS decided, each endpoint by itself; `tls` says what those with mTLS use.
 * - `endpoints` is sorted by address, then port. Absent: none is known; for `ORIGINAL_DST` the address the client resolves.
 * - `sni` empty with `autoSni`: the request's host. `autoSan`: the certificate must also be for the request's host.
 * - `subjectAltNames`: the certificate must carry one of them, exactly.
 * - `ca`: `mesh`, `system`, `file:<path>`, `credential:<name>-cacert`, `configmap://...`, `none`. `certificate`: `mesh`,
 *   `file:<certificate>~<key>`, `credential:<name>`.
 * - `refused`: enmesh sends nothing, where Istio would speak to nobody in particular or in plaintext (docs/deviations.md).
 */
export interface Destination extends Partial<UpstreamTls> {
  readonly known: boolean;
  readonly unknown?: 'host' | 'subset';
  readonly policy?: MeshSettings['outboundTrafficPolicy'];
  readonly host?: string;
  readonly namespace?: string;
  readonly external?: true;
  readonly discovery?: 'EDS' | 'STRICT_DNS' | 'LOGICAL_DNS' | 'ORIGINAL_DST';
  readonly destinationRule?: string;
  readonly unreachable?: true;
  readonly tls?: ClientTlsMode;
  readonly auto?: true;
  readonly endpoints?: readonly DestinationEndpoint[];
  readonly refused?: { readonly code: ErrorCode; readonly reason: string };
}

/** A question to {@link resolveDestination}: what `client` asked for. `port` is the service's own port. */
export interface DestinationQuery {
  readonly client: Workload;
  readonly host: string;
  readonly port: number;
  readonly subset?: string | undefined;
}

/** What of a MeshSnapshot destinations are resolved from. */
export interface DestinationSources {
  readonly registry: Registry;
  readonly mesh: MeshSettings;
}

/** A destination with what the dispatcher must know besides: the service it is, where there is one, or the ports of a service that has not the one asked for. */
export interface Resolved {
  readonly destination: Destination;
  readonly service: FoundService | undefined;
  readonly otherPorts?: readonly number[] | undefined;
}

/**
 * Where and how a call goes: service, endpoints, DestinationRule, TLS mode, expected identities and server name, as Istio decides them.
 * Pure; the compiled index is kept per registry and settings. Three answers of Istio's are refused instead, see {@link Destination}.
 */
export function resolveDestination(sources: DestinationSources, query: DestinationQuery): Destination {
  return resolve(sources, query).destination;
}

/** {@link resolveDestination} with the service beside it. */
export function resolve(sources: DestinationSources, query: DestinationQuery): Resolved {
  const host = parseHostName(query.host);
  if (host === undefined)
    return { destination: { ...unknownHost(sources.mesh), refused: invalidHost(query.host) }, service: undefined };
  const index = indexOf(sources);
  const found = findService(index.services, query.client.namespace, host, query.port);
  if (found === undefined) {
    const otherPorts = findPorts(index.services, query.client.namespace, host);
    return { destination: unknownHost(sources.mesh), service: undefined, otherPorts };
  }
  return { destination: describe(sources, index, query, found), service: found };
}

interface OutboundIndex {
  readonly services: ServiceIndex;
  readonly rules: DestinationRuleIndex;
}

const indexes = new WeakMap<Registry, { readonly mesh: MeshSettings; readonly index: OutboundIndex }>();

function indexOf({ registry, mesh }: DestinationSources): OutboundIndex {
  const kept = indexes.get(registry);
  if (kept?.mesh === mesh) return kept.index;
  const index = { services: compileServiceIndex(registry, mesh), rules: compileDestinationRules(registry, mesh) };
  indexes.set(registry, { mesh, index });
  return index;
}

function unknownHost(mesh: MeshSettings): Destination {
  return { known: false, unknown: 'host', policy: mesh.outboundTrafficPolicy };
}

function describe(sources: DestinationSources, index: OutboundIndex, query: DestinationQuery, found: FoundService): Destination {
  const { service, port } = found;
  const named = { host: service.host, namespace: service.meta.namespace };
  const rule = findDestinationRule(index.rules, query.client, named);
  const subset = query.subset === undefined ? undefined : rule?.subsets.find(({ name }) => name === query.subset);
  if (query.subset !== undefined && subset === undefined) return { known: false, unknown: 'subset', ...named };
  const external = service.external ? ({ external: true } as const) : {};
  if (found.hidden === true || port.udp) return { known: true, ...named, ...external, unreachable: true };
  const all = service.endpoints.filter((endpoint) => endpoint.portName === port.name);
  const endpoints = subset === undefined ? all : all.filter((endpoint) => carries(endpoint, subset.labels ?? {}));
  const policy = resolveTrafficPolicy(rule, subset, port.number);
  const isDns = service.resolution === 'DNS' || service.resolution === 'DNS_ROUND_ROBIN';
  if (isDns && (all.length === 0 || (endpoints.length === 0 && !policy.needsNoEndpoints)))
    return { known: true, ...named, ...external, unreachable: true };
  const shape = tlsOf(sources, found, query.subset, policy, { all, endpoints });
  const destination: Destination = {
    known: true,
    ...named,
    ...external,
    discovery: discoveryOf(service.resolution, policy.passthrough),
    ...(rule !== undefined && { destinationRule: rule.name }),
    ...shape,
  };
  const refused = findRefusal(destination, rule, policy);
  return refused === undefined ? destination : { ...destination, refused };
}

function carries(endpoint: ServiceEndpoint, labels: Readonly<Record<string, string>>): boolean {
  return Object.keys(labels).every((name) => endpoint.labels[name] === labels[name]);
}

function discoveryOf(
  resolution: FoundService['service']['resolution'],
  passthrough: boolean,
): NonNullable<Destination['discovery']> {
  if (passthrough || resolution === 'NONE') return 'ORIGINAL_DST';
  return resolution === 'STATIC' ? 'EDS' : resolution === 'DNS' ? 'STRICT_DNS' : 'LOGICAL_DNS';
}

type TlsShape = Pick<Destination, 'tls' | 'auto' | 'endpoints'> & Partial<UpstreamTls>;

function tlsOf(
  sources: DestinationSources,
  { service, port }: FoundService,
  subset: string | undefined,
  policy: EffectivePolicy,
  { all, endpoints }: { readonly all: readonly ServiceEndpoint[]; readonly endpoints: readonly ServiceEndpoint[] },
): TlsShape {
  const facts: UpstreamFacts = {
    host: service.host,
    port: port.number,
    subset,
    http2: port.http2 || isUpgraded(port, policy, sources.mesh),
    declaredEntry: !service.kubernetes,
    expected: service.expected,
  };
  const original = discoveryOf(service.resolution, policy.passthrough) === 'ORIGINAL_DST';
  const listed = (mode: (endpoint: ServiceEndpoint) => ClientTlsMode): Pick<Destination, 'endpoints'> =>
    original ? {} : list(endpoints, mode);
  if (policy.tls !== undefined) {
    const mode = modeOf(policy.tls);
    const shape =
      mode === 'DISABLE' ? {} : mode === 'ISTIO_MUTUAL' ? istioMutual(facts, policy.tls) : otherTls(facts, policy.tls);
    return { tls: mode, ...shape, ...listed(() => mode) };
  }
  if (!isAutoMtls(sources, service, policy, all)) return { tls: 'DISABLE', ...listed(() => 'DISABLE') };
  if (original) return { tls: 'ISTIO_MUTUAL', ...istioMutual(facts, undefined) };
  return {
    tls: 'ISTIO_MUTUAL',
    auto: true,
    ...istioMutual(facts, undefined),
    ...listed((endpoint) => autoMode(sources, policy, endpoint)),
  };
}

/**
 * Whether a sidecar would speak HTTP/2 to a port that does not ask for it: a rule says it of every port, the mesh of those declared to speak HTTP.
 * Where the protocol is looked at, the answer is the client's own.
 */
function isUpgraded({ http, declaredHttp }: CompiledPort, { connectionPool }: EffectivePolicy, mesh: MeshSettings): boolean {
  const { h2UpgradePolicy: said = 'DEFAULT', useClientProtocol } = connectionPool?.http ?? {};
  if (useClientProtocol === true || said === 'DO_NOT_UPGRADE' || http !== declaredHttp) return false;
  return said === 'UPGRADE' || (declaredHttp && mesh.h2UpgradePolicy === 'UPGRADE');
}

/** Whether auto mTLS has a say at all for the service (istio-semantics 5.2). `endpoints` are those of the port, whatever the subset. */
function isAutoMtls(
  { registry, mesh }: DestinationSources,
  service: FoundService['service'],
  { asksEndpoints }: EffectivePolicy,
  endpoints: readonly ServiceEndpoint[],
): boolean {
  if (service.external || !mesh.enableAutoMtls) return false;
  if (service.resolution === 'NONE' || asksEndpoints) {
    if (endpoints.length === 0 || endpoints.some((endpoint) => endpoint.tlsMode === 'disabled')) return false;
  }
  return namespaceTlsMode(registry.peerAuthentications, service.meta.namespace, mesh.rootNamespace) !== 'DISABLE';
}

function autoMode({ registry, mesh }: DestinationSources, policy: EffectivePolicy, endpoint: ServiceEndpoint): ClientTlsMode {
  if (endpoint.tlsMode !== 'istio') return 'DISABLE';
  if (policy.endpointMode !== undefined) return policy.endpointMode === 'ISTIO_MUTUAL' ? 'ISTIO_MUTUAL' : 'DISABLE';
  const target = { namespace: endpoint.namespace, labels: endpoint.labels };
  const modes = compileTlsModes(registry.peerAuthentications, target, mesh.rootNamespace);
  return modes.modeFor(endpoint.port) === 'DISABLE' ? 'DISABLE' : 'ISTIO_MUTUAL';
}

function list(
  endpoints: readonly ServiceEndpoint[],
  mode: (endpoint: ServiceEndpoint) => ClientTlsMode,
): Pick<Destination, 'endpoints'> {
  const byAddress = new Map<string, DestinationEndpoint>();
  for (const endpoint of endpoints) {
    const listed = { address: endpoint.address, port: endpoint.port, tls: mode(endpoint) };
    byAddress.set(`${listed.address} ${listed.port} ${listed.tls}`, listed);
  }
  const sorted = [...byAddress.values()].sort((a, b) =>
    a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port,
  );
  return sorted.length === 0 ? {} : { endpoints: sorted };
}
