import { EnmeshError } from '../errors.js';
import type { FederatedDomain } from '../identity/federation.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createBundleEndpoint, type BundleEndpoint, type BundleEndpointOptions } from './bundle-endpoint.js';
import { readIdentityFile } from './files-read.js';
import { parseSpiffeBundle } from './spiffe-bundle.js';

/** The foreign trust domains of a workload, and what it holds of its own. */
export interface FederationOptions extends Pick<BundleEndpointOptions, 'clock' | 'timer' | 'snapshotDirectory'> {
  /** Paths in it are absolute. */
  readonly domains: readonly FederatedDomain[];
  /** The mesh's own trust domain, whose bundle comes with the identity and from nowhere else. */
  readonly trustDomain: string;
  /** All bundles that are held, for endpoints that are known by an SVID of a trust domain whose roots are not given. */
  readonly bundles: () => TrustBundleSet;
  /** Resolves when the first of these are there. */
  readonly bundlesReady: () => Promise<void>;
}

/**
 * Opens the bundle endpoints of foreign trust domains, in their order. Throws `ENMESH_ISSUANCE_BUNDLE` for settings that can never work, an entry for the
 * mesh's own trust domain among them.
 */
export function createFederation(options: FederationOptions): readonly BundleEndpoint[] {
  const endpoints: BundleEndpoint[] = [];
  try {
    for (const domain of options.domains) endpoints.push(openDomain(domain, options));
    return endpoints;
  } catch (error) {
    for (const endpoint of endpoints) endpoint.close();
    throw error;
  }
}

function openDomain(domain: FederatedDomain, options: FederationOptions): BundleEndpoint {
  const { trustDomain, url, profile = 'https_web', endpointSpiffeId, roots } = domain;
  if (trustDomain === options.trustDomain)
    throw unusable(`federation names ${trustDomain}, which is this mesh's own trust domain: its bundle comes with the identity`);
  const known: Pick<BundleEndpointOptions, 'clock' | 'timer' | 'snapshotDirectory'> = {
    ...(options.snapshotDirectory === undefined ? {} : { snapshotDirectory: options.snapshotDirectory }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.timer === undefined ? {} : { timer: options.timer }),
  };
  return createBundleEndpoint({
    ...{ ...known, trustDomain, url, profile },
    ...(endpointSpiffeId === undefined ? {} : { endpointSpiffeId }),
    ...rootsOption(domain, roots, options),
  });
}

function rootsOption(
  { trustDomain, profile, endpointSpiffeId }: FederatedDomain,
  path: string | undefined,
  options: FederationOptions,
): Pick<BundleEndpointOptions, 'roots'> {
  if (profile !== 'https_spiffe' || endpointSpiffeId === undefined)
    return path === undefined ? {} : { roots: () => readIdentityFile(path) };
  const of = parseSpiffeId(endpointSpiffeId).trustDomain;
  if (path !== undefined) return { roots: () => readRoots(path, of) };
  if (of === trustDomain) return {};
  return {
    async roots() {
      await options.bundlesReady();
      const bundle = options.bundles().get(of);
      if (bundle === undefined) throw unusable(`no bundle of ${of}, the trust domain of its server, is held`);
      return bundle.roots.join('');
    },
  };
}

/** A file of roots: PEM, or a SPIFFE bundle as trust domains hand them to each other. */
async function readRoots(path: string, trustDomain: string): Promise<string> {
  const text = await readIdentityFile(path);
  return text.trimStart().startsWith('{') ? parseSpiffeBundle(trustDomain, text).x509.roots.join('') : text;
}

function unusable(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_BUNDLE', `The bundle endpoint cannot be used: ${reason}`);
}
