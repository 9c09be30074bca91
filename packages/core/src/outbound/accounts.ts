import type { ResourceMeta } from '../identity/workload.js';

const canonicalAccounts = 'alpha.istio.io/canonical-serviceaccounts';
const kubernetesAccounts = 'alpha.istio.io/kubernetes-serviceaccounts';

/** The SPIFFE ID of a service account (Istio's form). The trust domain is the mesh's. */
export function identitiesOfEndpoint(trustDomain: string, namespace: string, serviceAccount: string): string {
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;
}

/** Identities that a Kubernetes Service names in its annotations: whole SPIFFE IDs, or service accounts of its own namespace. */
export function identitiesOfService(meta: ResourceMeta, trustDomain: string): readonly string[] {
  const whole = partsOf(meta.annotations[canonicalAccounts]);
  const names = partsOf(meta.annotations[kubernetesAccounts]);
  return [...whole, ...names.map((name) => identitiesOfEndpoint(trustDomain, meta.namespace, name))];
}

/**
 * All identities that a service's certificate may carry (istio-semantics 5.3): each SPIFFE ID is also accepted under every trust
 * domain alias; other names stand as they are. Sorted, without duplicates.
 */
export function expandIdentities(identities: Iterable<string>, trustDomainAliases: readonly string[]): readonly string[] {
  const all = new Set<string>();
  for (const identity of identities) {
    all.add(identity);
    const path = pathOfSpiffeId(identity);
    if (path === undefined) continue;
    for (const alias of trustDomainAliases) all.add(`spiffe://${alias}${path}`);
  }
  return [...all].sort();
}

function pathOfSpiffeId(identity: string): string | undefined {
  if (!identity.startsWith('spiffe://')) return undefined;
  const slash = identity.indexOf('/', 'spiffe://'.length);
  return slash === -1 ? undefined : identity.slice(slash);
}

/** As Istio takes them apart: a blank after a comma belongs to the name, which then nobody has. */
function partsOf(annotation: string | undefined): readonly string[] {
  return annotation === undefined || annotation === '' ? [] : annotation.split(',');
}
