import type { Settings } from '../config/settings.js';
import type { ConfigStore } from '../config/store.js';
import { createMeshBundles } from './mesh-bundles.js';
import { openIdentity, type OpenedIdentity } from './open-identity.js';

/**
 * Opens the identity that the settings of a mesh name, its trust bundles joined with those of the configuration in force. The trust domain is that of the
 * configuration at this moment: another one takes a restart.
 */
export async function openMeshIdentity(
  settings: Pick<Settings, 'identity' | 'isIdentitySaid' | 'devDirectory' | 'workload' | 'env' | 'clock'>,
  store: Pick<ConfigStore, 'current' | 'watch'>,
): Promise<OpenedIdentity> {
  const { trustDomain, trustDomainAliases } = store.current().mesh;
  const opened = await openIdentity({ ...settings, trustDomain, trustDomainAliases });
  const bundles = createMeshBundles({
    identity: opened.identity.bundles,
    mesh: () => store.current().mesh,
    watchMesh: (onChange) => store.watch(onChange),
  });
  const { svid, fetchJwtSvid } = opened.identity;
  const identity = { svid, bundles, ...(fetchJwtSvid && { fetchJwtSvid: fetchJwtSvid.bind(opened.identity) }) };
  return { identity, ready: () => opened.ready(), close: () => opened.close() };
}
