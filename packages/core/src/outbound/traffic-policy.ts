import type { ClientTlsSettings, ConnectionPool, PolicyLevel, TrafficPolicy } from '../config/registry.js';
import type { MergedRule } from './destination-rule.js';

/** What the levels of a DestinationRule come to for one port and subset. */
export interface EffectivePolicy {
  /** Absent: auto mTLS decides. */
  readonly tls: ClientTlsSettings | undefined;
  /** `loadBalancer.simple: PASSTHROUGH`, of the rule also for a subset that asks for another: Istio makes a subset's cluster in the image of the rule's. */
  readonly passthrough: boolean;
  /** Whether a subset needs no endpoints, because what it is made from passes through already: a port's entry of its own comes too late. */
  readonly needsNoEndpoints: boolean;
  /** Whether auto mTLS asks the endpoints as for a passthrough: by the balancer above all ports of the subset, or of the rule where none is asked for. */
  readonly asksEndpoints: boolean;
  /** What is said of HTTP/2, where anything is. */
  readonly connectionPool: ConnectionPool | undefined;
  /** The mode of a `tls` that a `portLevelSettings` entry without `tls` has hidden. */
  readonly hiddenMode: ClientTlsSettings['mode'] | undefined;
  /** What Istio's endpoint side reads where `tls` is absent: the mode above a silent port entry (istio-semantics 5.1, "Levels"). */
  readonly endpointMode: ClientTlsSettings['mode'] | undefined;
}

type Subset = MergedRule['subsets'][number];

/** A `tls` that is written without a mode means DISABLE. */
export function modeOf(tls: ClientTlsSettings): NonNullable<ClientTlsSettings['mode']> {
  return tls.mode ?? 'DISABLE';
}

/**
 * Istio's levels: a port's entry replaces its whole policy, a subset's fields stand above the rule's, and a subset's port entry
 * also clears what it does not mention.
 */
export function resolveTrafficPolicy(rule: MergedRule | undefined, subset: Subset | undefined, port: number): EffectivePolicy {
  const ruleLevel = atPort(rule?.trafficPolicy, port);
  const subsetLevel = atPort(subset?.trafficPolicy, port);
  const clears = subsetLevel.isPort;
  const tls = subsetLevel.policy?.tls ?? (clears ? undefined : ruleLevel.policy?.tls);
  const balancer = subsetLevel.policy?.loadBalancer ?? (clears ? undefined : ruleLevel.policy?.loadBalancer);
  const connectionPool = subsetLevel.policy?.connectionPool ?? (clears ? undefined : ruleLevel.policy?.connectionPool);
  const endpointSide = subset === undefined ? rule?.trafficPolicy : subset.trafficPolicy;
  const needsNoEndpoints = [ruleLevel.policy, subset?.trafficPolicy].some(passesThrough);
  return {
    tls,
    passthrough: needsNoEndpoints || passesThrough({ loadBalancer: balancer }),
    needsNoEndpoints,
    asksEndpoints: passesThrough(endpointSide),
    connectionPool,
    hiddenMode: tls === undefined ? hiddenBy(rule?.trafficPolicy, ruleLevel, subset?.trafficPolicy, subsetLevel) : undefined,
    endpointMode: tls === undefined && endpointSide?.tls !== undefined ? modeOf(endpointSide.tls) : undefined,
  };
}

const passesThrough = (policy: { readonly loadBalancer?: PolicyLevel['loadBalancer'] | undefined } | undefined): boolean =>
  policy?.loadBalancer?.simple === 'PASSTHROUGH';

interface AtPort {
  readonly policy: PolicyLevel | undefined;
  readonly isPort: boolean;
}

function atPort(policy: TrafficPolicy | undefined, port: number): AtPort {
  const entry = policy?.portLevelSettings?.find((candidate) => candidate.port?.number === port);
  return entry === undefined ? { policy, isPort: false } : { policy: entry, isPort: true };
}

function hiddenBy(
  rule: TrafficPolicy | undefined,
  ruleLevel: AtPort,
  subset: TrafficPolicy | undefined,
  subsetLevel: AtPort,
): ClientTlsSettings['mode'] | undefined {
  const hidden = subsetLevel.isPort
    ? (subset?.tls ?? ruleLevel.policy?.tls ?? rule?.tls)
    : ruleLevel.isPort
      ? rule?.tls
      : undefined;
  return hidden === undefined ? undefined : modeOf(hidden);
}
