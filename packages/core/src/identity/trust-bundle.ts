import type { TrustBundleSource } from './source.js';

/** The X.509 authorities of one trust domain; `roots` is PEM, one certificate per element. */
export interface TrustBundle {
  readonly trustDomain: string;
  readonly roots: readonly string[];
  /** Certificate revocation lists in DER: what a signer of a chain has revoked in one of them is not accepted. Lists that nobody of the chain signed count for nothing. */
  readonly crls?: readonly Uint8Array[];
}

/** Trust bundles by trust domain name. A peer is checked only against the bundle of its own trust domain. */
export type TrustBundleSet = ReadonlyMap<string, TrustBundle>;

/** A source that holds one set of bundles forever. */
export function fixedTrustBundleSource(bundles: TrustBundleSet): TrustBundleSource {
  return { current: () => bundles, watch: () => () => {} };
}
