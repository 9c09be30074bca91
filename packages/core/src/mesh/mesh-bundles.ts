import type { MeshSettings } from '../config/mesh-config.js';
import type { Stop, TrustBundleSource } from '../identity/source.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';

/** The bundles that an identity source gives, and the configuration that adds to them. */
export interface MeshBundlesOptions {
  readonly identity: TrustBundleSource;
  readonly mesh: () => MeshSettings;
  readonly watchMesh: (onChange: () => void) => Stop;
}

/**
 * The trust bundles of a mesh: those of its identity, joined with the roots of MeshConfig `caCertificates`. Roots for the mesh's own trust domain are added to
 * its bundle; a domain of another name that is listed there is verified against the roots listed alone. An alias without roots of its own is the same domain
 * under another name, and has its bundle (Istio's MeshConfig: "default trust domain and its aliases").
 */
export function createMeshBundles({ identity, mesh, watchMesh }: MeshBundlesOptions): TrustBundleSource {
  let last: { readonly given: TrustBundleSet; readonly mesh: MeshSettings; readonly joined: TrustBundleSet } | undefined;
  const current = (): TrustBundleSet => {
    const given = identity.current();
    const settings = mesh();
    // A reload makes other settings of the same content; whoever compares bundles by identity would take them for new roots.
    if (last?.given === given && last.mesh === settings) return last.joined;
    const isSame = last?.given === given && isSameTrust(last.mesh, settings);
    const joined = isSame && last !== undefined ? last.joined : joinBundles(given, settings);
    last = { given, mesh: settings, joined };
    return joined;
  };
  return {
    current,
    watch(onChange) {
      let told: TrustBundleSet | undefined = heldNow(current);
      const tell = (): void => {
        const now = heldNow(current);
        if (now === undefined || now === told) return;
        told = now;
        onChange(now);
      };
      const stops = [identity.watch(tell), watchMesh(tell)];
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

function joinBundles(given: TrustBundleSet, { trustDomain, trustDomainAliases, caBundles }: MeshSettings): TrustBundleSet {
  const names = [trustDomain, ...trustDomainAliases];
  if (caBundles.length === 0 && names.every((name) => given.has(name))) return given;
  const joined = new Map<string, TrustBundle>(given);
  for (const bundle of caBundles) {
    const before = names.includes(bundle.trustDomain) ? given.get(bundle.trustDomain) : undefined;
    const roots = before === undefined ? bundle.roots : [...new Set([...before.roots, ...bundle.roots])];
    joined.set(bundle.trustDomain, { ...before, trustDomain: bundle.trustDomain, roots });
  }
  const own = names.map((name) => joined.get(name)).find((bundle) => bundle !== undefined);
  if (own === undefined) return joined;
  for (const name of names) if (!joined.has(name)) joined.set(name, { ...own, trustDomain: name });
  return joined;
}

function isSameTrust(a: MeshSettings, b: MeshSettings): boolean {
  const textOf = ({ trustDomain, trustDomainAliases, caBundles }: MeshSettings): string =>
    JSON.stringify([trustDomain, trustDomainAliases, caBundles]);
  return textOf(a) === textOf(b);
}

function heldNow(current: () => TrustBundleSet): TrustBundleSet | undefined {
  try {
    return current();
  } catch {
    // None yet: the first one will be news.
    return undefined;
  }
}
