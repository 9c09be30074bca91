import type { Stop } from '../identity/source.js';
import {
  createBundleEndpoint,
  type BundleEndpoint,
  type BundleEndpointOptions,
  type BundleEndpointStatus,
} from './bundle-endpoint.js';
import { addWatcher } from './held-svid.js';

/** A bundle that a configuration names by its URL, and one of the trust domains that it is for; for messages only. */
export interface BundleUrl {
  readonly url: string;
  readonly trustDomain: string;
}

/** The roots behind the URLs of a configuration that may change. */
export interface BundleUrls {
  /** Fetches these from now on, and forgets the roots of all others. A URL that stays keeps what was fetched. */
  use(wanted: readonly BundleUrl[]): void;
  /** The roots by URL, each PEM; what was not fetched yet is not in it. The same map until something changes. */
  current(): ReadonlyMap<string, readonly string[]>;
  watch(onChange: () => void): Stop;
  /** Resolves when everything wanted now has been tried once. */
  tried(): Promise<void>;
  status(): readonly BundleEndpointStatus[];
  close(): void;
}

/**
 * Keeps the roots of SPIFFE bundle endpoints that come and go with a configuration (MeshConfig `caCertificates[].spiffeBundleUrl`): profile `https_web`, the public
 * authorities, as istiod asks them; each by {@link createBundleEndpoint}, whose bounds and notices hold.
 */
export function createBundleUrls(options: Pick<BundleEndpointOptions, 'clock' | 'timer' | 'snapshotDirectory'> = {}): BundleUrls {
  const endpoints = new Map<string, BundleEndpoint>();
  const watchers = new Set<(change: void) => void>();
  let roots: ReadonlyMap<string, readonly string[]> = new Map();
  const collect = (): void => {
    roots = new Map([...endpoints].flatMap(([url, endpoint]) => rootsOf(url, endpoint)));
    for (const watcher of [...watchers]) watcher();
  };
  return {
    use(wanted) {
      const urls = new Set(wanted.map(({ url }) => url));
      const gone = [...endpoints].filter(([url]) => !urls.has(url));
      for (const [url, endpoint] of gone) {
        endpoint.close();
        endpoints.delete(url);
      }
      for (const { url, trustDomain } of wanted) {
        if (endpoints.has(url)) continue;
        const endpoint = createBundleEndpoint({ ...options, url, trustDomain, profile: 'https_web' });
        endpoint.watch(collect);
        endpoints.set(url, endpoint);
      }
      if (gone.some(([url]) => roots.has(url))) collect();
    },
    current: () => roots,
    watch: (onChange) => addWatcher(watchers, onChange),
    async tried() {
      await Promise.all([...endpoints.values()].map((endpoint) => endpoint.tried()));
    },
    status: () => [...endpoints.values()].map((endpoint) => endpoint.status()),
    close() {
      watchers.clear();
      for (const endpoint of endpoints.values()) endpoint.close();
      endpoints.clear();
      roots = new Map();
    },
  };
}

function rootsOf(url: string, endpoint: BundleEndpoint): [string, readonly string[]][] {
  if (endpoint.status().fetchedAt === undefined) return [];
  return [...endpoint.current().values()].map((bundle) => [url, bundle.roots]);
}
