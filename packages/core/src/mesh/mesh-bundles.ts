import type { MeshSettings } from '../config/mesh-config.js';
import type { Stop, TrustBundleSource } from '../identity/source.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';

/** The bundles that an identity source gives, and the configuration that adds to them. */
export interface MeshBundlesOptions {
  readonly identity: TrustBundleSource;
  readonly mesh: () => MeshSettings;
  readonly watchMesh: (onChange: () => void) => Stop;
  /** The roots fetched of `caCertificates[].spiffeBundleUrl`, by URL; the same map until something changes. */
  readonly fetched?: { current(): FetchedRoots; watch(onChange: () => void): Stop };
}

type FetchedRoots = ReadonlyMap<string, readonly string[]>;

/**
 * The trust bundles of a mesh: those of its identity, joined with the roots of MeshConfig `caCertificates`, written there or fetched. Roots for the mesh's own
 * trust domain are added to its bundle; a domain of another name that is listed there is verified against the roots listed alone, and by none while they have
 * not been fetched. An alias without roots of its own is the same domain
 * under another name, and has its bundle (Istio's MeshConfig: "default trust domain and its aliases").
 */
export function createMeshBundles({
  identity,
  mesh,
  watchMesh,
  fetched = nothingFetched,
}: MeshBundlesOptions): TrustBundleSource {
  let last: (Parts & { readonly joined: TrustBundleSet }) | undefined;
  const current = (): TrustBundleSet => {
    const given = identity.current();
    const settings = mesh();
    const roots = fetched.current();
    if (last?.given === given && last.mesh === settings && last.fetched === roots) return last.joined;
    // A reload makes other settings of the same content; whoever compares bundles by identity would take them for new roots.
    const isSame = last?.given === given && last.fetched === roots && isSameTrust(last.mesh, settings);
    const now: Parts = { given, mesh: settings, fetched: roots };
    const joined = isSame && last !== undefined ? last.joined : joinBundles(now);
    last = { ...now, joined };
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
      const stops = [identity.watch(tell), watchMesh(tell), fetched.watch(tell)];
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

interface Parts {
  readonly given: TrustBundleSet;
  readonly mesh: MeshSettings;
  readonly fetched: FetchedRoots;
}

const nothingFetched = { current: (): FetchedRoots => noRoots, watch: () => () => {} };
const noRoots: FetchedRoots = new Map();

function joinBundles({ given, mesh, fetched }: Parts): TrustBundleSet {
  const { trustDomain, trustDomainAliases, caBundles, caBundleUrls } = mesh;
  const names = [trustDomain, ...trustDomainAliases];
  if (caBundles.length === 0 && caBundleUrls.length === 0 && names.every((name) => given.has(name))) return given;
  const joined = new Map<string, TrustBundle>(given);
  for (const [name, listed] of listedRoots(mesh, fetched)) {
    const before = names.includes(name) ? given.get(name) : undefined;
    const roots = [...new Set([...(before?.roots ?? []), ...(listed ?? [])])];
    if (before === undefined && listed === undefined) joined.delete(name);
    else joined.set(name, { ...before, trustDomain: name, roots });
  }
  const own = names.map((name) => joined.get(name)).find((bundle) => bundle !== undefined);
  if (own === undefined) return joined;
  for (const name of names) if (!joined.has(name)) joined.set(name, { ...own, trustDomain: name });
  return joined;
}

/** The roots of `caCertificates` by trust domain; undefined for a domain whose roots all are still to be fetched. */
function listedRoots(
  { caBundles, caBundleUrls }: MeshSettings,
  fetched: FetchedRoots,
): Map<string, readonly string[] | undefined> {
  const listed = new Map<string, readonly string[] | undefined>(caBundles.map(({ trustDomain, roots }) => [trustDomain, roots]));
  for (const { url, trustDomains } of caBundleUrls) {
    const roots = fetched.get(url);
    for (const name of trustDomains) {
      const known = listed.get(name);
      listed.set(name, known === undefined ? roots : [...known, ...(roots ?? [])]);
    }
  }
  return listed;
}

function isSameTrust(a: MeshSettings, b: MeshSettings): boolean {
  const textOf = ({ trustDomain, trustDomainAliases, caBundles, caBundleUrls }: MeshSettings): string =>
    JSON.stringify([trustDomain, trustDomainAliases, caBundles, caBundleUrls]);
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
