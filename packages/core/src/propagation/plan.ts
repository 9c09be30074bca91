import { compareByCreation, isSelected, type Workload } from '../identity/workload.js';
import { expandPrincipals, type TrustDomainBundle } from '../policy/trust-domain.js';
import type { InboundPropagation, OutboundPropagation, PropagationMode, TokenPropagation } from './resource.js';

/** What one outbound entry means for the calls that it is about. One object per entry and snapshot, so that it can stand for itself in maps. */
export interface CarriedToken {
  readonly mode: PropagationMode;
  /** `<namespace>/<name>` of its TokenPropagation. */
  readonly policy: string;
  readonly spec: OutboundPropagation;
}

/** Why a peer may not speak for users of an issuer, or how long a chain of actors may be that ends in it. */
export type ActorGrant = 'principal-not-listed' | 'issuer-not-listed' | { readonly maxActors: number };

/** The TokenPropagation documents of one workload, compiled. */
export interface PropagationPlan {
  /** Whether handlers must run in their request's context: some call carries more than the service. */
  readonly needsContext: boolean;
  /** Every entry that counts for some host. */
  readonly outbound: readonly CarriedToken[];
  /** Whether hop tokens are read at all; where not, they are removed like any forged header. */
  readonly acceptsHop: boolean;
  /** What calls to this host carry, by the most specific name; undefined where nothing is said. `host` is a full name in lower case. */
  outboundFor(host: string): CarriedToken | undefined;
  mayActFor(principal: string, issuer: string): boolean;
  /** {@link mayActFor} with its reason. */
  grantFor(principal: string, issuer: string): ActorGrant;
}

/** How many services may have carried a user where `maxActors` is silent. */
const defaultMaxActors = 4;

/** Where selection happens: the mesh's own values besides the workload. */
export interface PropagationScope {
  readonly rootNamespace: string;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
}

/**
 * Compiles the TokenPropagations that select a workload: those of its namespace before those of the root namespace, older ones first. Of two entries about
 * the same host the first counts; grants of all `inbound` entries add up.
 */
export function compilePropagation(
  policies: readonly TokenPropagation[],
  workload: Pick<Workload, 'namespace' | 'labels'>,
  scope: PropagationScope,
): PropagationPlan {
  const selected = [...new Set([workload.namespace, scope.rootNamespace])].flatMap((namespace) =>
    policies
      .filter(({ meta, spec }) => meta.namespace === namespace && isSelected(spec.selector, workload.labels))
      .sort(compareByCreation),
  );
  const byHost = compileOutbound(selected);
  const wildcards = [...byHost.keys()].filter((host) => host.startsWith('*')).sort((a, b) => b.length - a.length);
  const grants = compileInbound(
    selected.flatMap(({ spec }) => spec.inbound ?? []),
    [scope.trustDomain, ...scope.trustDomainAliases],
  );
  const grantFor = (principal: string, issuer: string): ActorGrant => {
    const issuers = grants.get(principal);
    if (issuers === undefined) return 'principal-not-listed';
    const maxActors = issuers.get(issuer);
    return maxActors === undefined ? 'issuer-not-listed' : { maxActors };
  };
  return {
    outbound: [...new Set(byHost.values())],
    needsContext: [...byHost.values()].some(({ mode }) => mode !== 'NONE'),
    acceptsHop: grants.size > 0,
    outboundFor(host) {
      if (byHost.size === 0) return undefined;
      const wildcard = (): string | undefined => wildcards.find((pattern) => host.endsWith(pattern.slice(1)));
      return byHost.get(host) ?? byHost.get(wildcard() ?? '');
    },
    mayActFor: (principal, issuer) => typeof grantFor(principal, issuer) === 'object',
    grantFor,
  };
}

function compileOutbound(selected: readonly TokenPropagation[]): ReadonlyMap<string, CarriedToken> {
  const byHost = new Map<string, CarriedToken>();
  for (const { meta, spec: policy } of selected) {
    for (const spec of policy.outbound ?? []) {
      const carried: CarriedToken = { mode: spec.mode ?? 'NONE', policy: `${meta.namespace}/${meta.name}`, spec };
      for (const host of spec.hosts) {
        const name = fullName(host, meta.namespace);
        if (!byHost.has(name)) byHost.set(name, carried);
      }
    }
  }
  return byHost;
}

/** As in DestinationRule: a name without dots is a service of the document's own namespace. */
export function fullName(host: string, namespace: string): string {
  const name = host.toLowerCase().replace(/\.$/, '');
  return name.includes('.') || name === '*' ? name : `${name}.${namespace}.svc.cluster.local`;
}

/** By principal and issuer, the longest chain that any entry allows. */
function compileInbound(
  entries: readonly InboundPropagation[],
  bundle: TrustDomainBundle,
): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const grants = new Map<string, Map<string, number>>();
  for (const { principals, issuers, maxActors = defaultMaxActors } of entries) {
    for (const principal of expandPrincipals(principals, bundle)) {
      const known = grants.get(principal) ?? new Map<string, number>();
      for (const issuer of issuers) known.set(issuer, Math.max(maxActors, known.get(issuer) ?? 0));
      grants.set(principal, known);
    }
  }
  return grants;
}
