import type { Settings } from '../config/settings.js';
import type { ConfigStore } from '../config/store.js';
import { joinBundles } from '../identity/join-bundles.js';
import type { TrustBundleSource } from '../identity/source.js';
import type { BundleEndpointStatus } from '../issuance/bundle-endpoint.js';
import { createFederation } from '../issuance/bundle-federation.js';
import { createBundleUrls, type BundleUrl, type BundleUrls } from '../issuance/bundle-urls.js';
import { createMeshBundles } from './mesh-bundles.js';
import { openIdentity, type OpenedIdentity } from './open-identity.js';

/** The identity of a mesh, whose bundles are those of the configuration and of bundle endpoints too. */
export interface MeshIdentityOpened extends OpenedIdentity {
  /** How the bundle endpoints in use have fared. */
  bundleEndpoints(): readonly BundleEndpointStatus[];
}

/**
 * Opens the identity that the settings of a mesh name, its trust bundles joined with those of federated trust domains and of the configuration in force; it is
 * ready when an identity is held and every bundle endpoint was tried once. The trust domain is that of the configuration at this moment: another one
 * takes a restart. Rejects as {@link openIdentity}, and with `ENMESH_ISSUANCE_BUNDLE` for a federation that can never work.
 */
export async function openMeshIdentity(
  settings: Pick<
    Settings,
    'identity' | 'isIdentitySaid' | 'devDirectory' | 'federation' | 'bundleSnapshotDirectory' | 'workload' | 'env' | 'clock'
  >,
  store: Pick<ConfigStore, 'current' | 'watch'>,
): Promise<MeshIdentityOpened> {
  const { trustDomain, trustDomainAliases } = store.current().mesh;
  const { clock, federation: domains, bundleSnapshotDirectory } = settings;
  const snapshots = bundleSnapshotDirectory === undefined ? {} : { snapshotDirectory: bundleSnapshotDirectory };
  const opened = await openIdentity({ ...settings, trustDomain, trustDomainAliases });
  const bundlesReady = (): Promise<void> => opened.ready();
  let federated;
  try {
    federated = createFederation({
      ...{ domains, trustDomain, clock, bundlesReady, ...snapshots },
      bundles: () => bundles.current(),
    });
  } catch (error) {
    await opened.close();
    throw error;
  }
  const fetched = createBundleUrls({ clock, ...snapshots });
  const stop = followUrls(fetched, store);
  const bundles: TrustBundleSource = createMeshBundles({
    identity: federated.length === 0 ? opened.identity.bundles : joinBundles([opened.identity.bundles, ...federated]),
    mesh: () => store.current().mesh,
    watchMesh: (onChange) => store.watch(onChange),
    fetched,
  });
  const { svid, fetchJwtSvid } = opened.identity;
  return {
    identity: { svid, bundles, ...(fetchJwtSvid && { fetchJwtSvid: fetchJwtSvid.bind(opened.identity) }) },
    async ready() {
      await Promise.all([opened.ready(), fetched.tried(), ...federated.map((endpoint) => endpoint.tried())]);
    },
    bundleEndpoints: () => [...federated.map((endpoint) => endpoint.status()), ...fetched.status()],
    close() {
      stop();
      fetched.close();
      for (const endpoint of federated) endpoint.close();
      return opened.close();
    },
  };
}

/** The URLs of the configuration in force, now and after each reload. */
function followUrls(fetched: BundleUrls, store: Pick<ConfigStore, 'current' | 'watch'>): () => void {
  const use = (): void => fetched.use(store.current().mesh.caBundleUrls.flatMap(firstDomain));
  use();
  return store.watch(use);
}

function firstDomain({
  url,
  trustDomains: [trustDomain],
}: {
  readonly url: string;
  readonly trustDomains: readonly string[];
}): BundleUrl[] {
  return trustDomain === undefined ? [] : [{ url, trustDomain }];
}
