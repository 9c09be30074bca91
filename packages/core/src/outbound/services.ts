import type { MeshSettings } from '../config/mesh-config.js';
import type { Registry } from '../config/registry.js';
import { expandIdentities } from './accounts.js';
import { fullNames } from './host-name.js';
import type { CompiledPort } from './port.js';
import { compileServices, type MeshService, type ServiceEndpoint } from './service.js';

/** A service with everything that other documents of the same host and namespace add to it. */
export interface KnownService extends MeshService {
  /** Of all documents of this host and namespace; of every port. */
  readonly endpoints: readonly ServiceEndpoint[];
  /** Whom to expect (istio-semantics 5.3), trust domain aliases included. */
  readonly expected: readonly string[];
}

/** All services of a registry by host, each list in Istio's order of age. */
export interface ServiceIndex {
  readonly exact: ReadonlyMap<string, readonly KnownService[]>;
  /** Services by the addresses that they may also be called by. */
  readonly byAddress: ReadonlyMap<string, readonly KnownService[]>;
  /** Hosts of Services of type ExternalName, and the host that each stands for in the end. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Wildcard hosts without their `*`, longest first. */
  readonly wildcards: readonly (readonly [suffix: string, services: readonly KnownService[]])[];
  /** Whether there is a headless Kubernetes Service at all. */
  readonly hasHeadless: boolean;
}

/** Compiles what {@link findService} looks in. */
export function compileServiceIndex(registry: Registry, mesh: MeshSettings): ServiceIndex {
  const groups = new Map<string, MeshService[]>();
  const services = compileServices(registry, mesh);
  for (const service of services) {
    if (service.alias !== undefined) continue;
    const key = `${service.meta.namespace}/${service.host}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [service]);
    else group.push(service);
  }
  const known = [...groups.values()].flatMap((group) => mergeGroup(group, mesh.trustDomainAliases));
  known.sort(compareByAge);
  const byHost = groupBy(known, ({ host }) => [host]);
  const exact = new Map([...byHost].filter(([host]) => !host.startsWith('*')));
  const wildcards = [...byHost]
    .filter(([host]) => host.startsWith('*'))
    .map(([host, services]) => [host.slice(1), services] as const)
    .sort((a, b) => b[0].length - a[0].length);
  const byAddress = groupBy(known, ({ addresses }) => [...new Set(addresses)]);
  return { exact, byAddress, aliases: compileAliases(services), wildcards, hasHeadless: known.some(isHeadless) };
}

function groupBy(
  services: readonly KnownService[],
  keysOf: (service: KnownService) => readonly string[],
): Map<string, KnownService[]> {
  const groups = new Map<string, KnownService[]>();
  for (const service of services) {
    for (const key of keysOf(service)) {
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [service]);
      else group.push(service);
    }
  }
  return groups;
}

/** Aliases of aliases are followed; those that end in themselves stand for nothing. Who may see an alias, and which ports it has, says nothing in Istio. */
function compileAliases(services: readonly MeshService[]): Map<string, string> {
  const next = new Map(services.flatMap(({ host, alias }) => (alias === undefined ? [] : [[host, alias] as const])));
  const ends = new Map<string, string>();
  for (const [host, first] of next) {
    const seen = new Set([host]);
    let end: string | undefined = first;
    while (end !== undefined && next.has(end)) {
      seen.add(end);
      const further = next.get(end);
      end = further === undefined || seen.has(further) ? undefined : further;
    }
    if (end !== undefined) ends.set(host, end);
  }
  return ends;
}

/** Endpoints of all documents count; of the names that documents themselves give, only the newest one's do. */
function mergeGroup(group: readonly MeshService[], aliases: readonly string[]): KnownService[] {
  const sorted = [...group].sort(compareByAge);
  const endpoints = endpointsOf(sorted);
  const accounts = endpoints.flatMap(({ identity }) => (identity === undefined ? [] : [identity]));
  const expected = expandIdentities([...(sorted.at(-1)?.identities ?? []), ...accounts], aliases);
  return sorted.map((service) => ({ ...service, endpoints, expected }));
}

/** Of DNS_ROUND_ROBIN documents only the first endpoint of a port counts: such a cluster has one. */
function endpointsOf(sorted: readonly MeshService[]): ServiceEndpoint[] {
  const ports = new Set<number>();
  return sorted.flatMap((service) =>
    service.endpoints.filter(({ portName }) => {
      const number = service.ports.find(({ name }) => name === portName)?.number ?? 0;
      if (service.resolution === 'DNS_ROUND_ROBIN' && ports.has(number)) return false;
      ports.add(number);
      return true;
    }),
  );
}

/** Istio's order: by time, then by name (a ServiceEntry's is its host), then by namespace. */
function compareByAge(a: MeshService, b: MeshService): number {
  return (
    a.meta.creationTimestamp - b.meta.creationTimestamp ||
    compareText(nameOf(a), nameOf(b)) ||
    compareText(a.meta.namespace, b.meta.namespace) ||
    compareText(a.meta.name, b.meta.name)
  );
}

function nameOf(service: MeshService): string {
  return service.kubernetes ? service.meta.name : service.host;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A service and the port that was asked for. */
export interface FoundService {
  readonly service: KnownService;
  readonly port: CompiledPort;
  /** True when only a document in the shadow of this one has the port, and HTTP is spoken there: a sidecar routes it nowhere (503). */
  readonly hidden?: true;
  /** The labels before its name that were asked for: a pod of a headless Service. */
  readonly pod?: string;
}

/**
 * The service that a client of `namespace` means by `host` (a name of `parseHostName`) and `port` (istio-semantics 5.0): the name itself,
 * a short form of it, an address of the service, or the longest wildcard, headless Services among them. Short forms exist only for ports that speak HTTP.
 * Undefined when nothing visible fits.
 */
export function findService(index: ServiceIndex, namespace: string, host: string, port: number): FoundService | undefined {
  const exact = choose(named(index, host), namespace, port);
  if (exact !== undefined) return exact;
  const addressed = findByAddress(index, namespace, host, port);
  if (addressed !== undefined) return addressed;
  for (const name of fullNames(host, namespace)) {
    const found = choose(named(index, name), namespace, port);
    if (found?.port.http === true) return found;
  }
  const pod = findHeadless(index, namespace, host, port);
  for (const [suffix, services] of index.wildcards) {
    if (pod !== undefined && suffix.length <= pod.suffix) break;
    if (!host.endsWith(suffix)) continue;
    const found = choose(services, namespace, port);
    if (found !== undefined) return found;
  }
  return pod?.found;
}

/** The ports of the service that `host` names, itself, by a short form or an address, for a client of `namespace`; undefined where no such service is visible. */
export function findPorts(index: ServiceIndex, namespace: string, host: string): readonly number[] | undefined {
  for (const name of [host, ...fullNames(host, namespace)]) {
    const visible =
      (named(index, name) ?? index.byAddress.get(name))?.filter((service) => visibility(service, namespace) !== undefined) ?? [];
    if (visible.length === 0) continue;
    return [...new Set(visible.flatMap(({ ports }) => ports.map(({ number }) => number)))].sort((a, b) => a - b);
  }
  return undefined;
}

/** The services of a full name, or of the one that it is an alias of. */
function named(index: ServiceIndex, host: string): readonly KnownService[] | undefined {
  return index.exact.get(host) ?? index.exact.get(index.aliases.get(host) ?? '');
}

/** Of several services with one address the first that has the port, as each would be found by its name: Istio's routes of a port are one list. */
function findByAddress(index: ServiceIndex, namespace: string, address: string, port: number): FoundService | undefined {
  const candidates = (index.byAddress.get(address) ?? []).flatMap(({ host }) => {
    const list = index.exact.get(host) ?? index.wildcards.find(([suffix]) => host === `*${suffix}`)?.[1];
    const found = choose(list, namespace, port);
    return found === undefined || found.hidden === true || !found.service.addresses.includes(address) ? [] : [found];
  });
  return candidates.find(({ service }) => visibility(service, namespace) === 'named') ?? candidates[0];
}

/** A headless Kubernetes Service is also meant by every name below its own and its short ones, as the pods of a StatefulSet have them. */
function findHeadless(
  index: ServiceIndex,
  namespace: string,
  host: string,
  port: number,
): { readonly found: FoundService; readonly suffix: number } | undefined {
  if (!index.hasHeadless || host.startsWith('[')) return undefined;
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
    const name = host.slice(dot + 1);
    for (const full of [name, ...fullNames(name, namespace)]) {
      const found = choose(named(index, full), namespace, port);
      if (found !== undefined && isHeadless(found.service) && found.port.http) {
        return { found: { ...found, pod: host.slice(0, dot) }, suffix: host.length - dot };
      }
    }
  }
  return undefined;
}

function isHeadless({ kubernetes, resolution }: MeshService): boolean {
  return kubernetes && resolution === 'NONE';
}

/** One namespace owns a host: the client's own, else the one of a Kubernetes Service, else the first; its documents then stand together. */
function choose(services: readonly KnownService[] | undefined, namespace: string, number: number): FoundService | undefined {
  if (services === undefined) return undefined;
  const named = services.filter((service) => visibility(service, namespace) === 'named');
  const visible = [...named, ...services.filter((service) => visibility(service, namespace) === 'public')];
  const owner =
    visible.find((service) => service.meta.namespace === namespace) ??
    visible.find((service) => service.kubernetes) ??
    visible[0];
  const together = visible.filter((service) => service.meta.namespace === owner?.meta.namespace);
  const service = together.find((candidate) => candidate.kubernetes) ?? together[0];
  if (service === undefined) return undefined;
  const port = portOf(service, together, number);
  if (port !== undefined) return { service, port };
  const hidden = together.flatMap(({ ports }) => ports).find((candidate) => candidate.number === number && candidate.http);
  return hidden === undefined ? undefined : { service, port: hidden, hidden: true };
}

/** ServiceEntries of one host and namespace also lend each other their ports when all else about them is equal. */
function portOf(service: KnownService, together: readonly KnownService[], number: number): CompiledPort | undefined {
  const own = service.ports.find((port) => port.number === number);
  if (own !== undefined || service.kubernetes) return own;
  const key = mergeKey(service);
  return together
    .find((other) => mergeKey(other) === key && other.ports.some((port) => port.number === number))
    ?.ports.find((port) => port.number === number);
}

function mergeKey(service: KnownService): string {
  const pairs = (map: Readonly<Record<string, string>>): string[][] => Object.entries(map).sort(([a], [b]) => compareText(a, b));
  return JSON.stringify([
    service.kubernetes,
    service.resolution,
    pairs(service.meta.labels),
    pairs(service.selector),
    [...service.exportTo].sort(),
  ]);
}

/** Whether a client of `namespace` sees the service because it is public, or because it was named; undefined when it does not. */
function visibility({ visibleTo, meta }: KnownService, namespace: string): 'public' | 'named' | undefined {
  if (visibleTo.includes('*')) return 'public';
  if (visibleTo.includes('~')) return undefined;
  return visibleTo.includes(namespace) || (visibleTo.includes('.') && meta.namespace === namespace) ? 'named' : undefined;
}
