import type { X509Svid } from './svid.js';
import type { TrustBundleSet } from './trust-bundle.js';

/** Ends a watch; calling it again does nothing. */
export type Stop = () => void;

/**
 * Where the service's own X.509-SVID comes from. Rotation is invisible above this contract: readers call
 * `current()` at each handshake. Throws `ENMESH_IDENTITY_NONE` while there is none.
 */
export interface SvidSource {
  current(): X509Svid;
  watch(onChange: (svid: X509Svid) => void): Stop;
}

/** Where the trust bundles come from, one for each trust domain whose peers are accepted. Throws `ENMESH_IDENTITY_NONE` while there is none. */
export interface TrustBundleSource {
  current(): TrustBundleSet;
  watch(onChange: (bundles: TrustBundleSet) => void): Stop;
}

/** Both halves of what a workload needs to speak mutual TLS: its own SVID, and whom it trusts. */
export interface MeshIdentity {
  readonly svid: SvidSource;
  readonly bundles: TrustBundleSource;
  /**
   * A JWT-SVID of the identity that `svid` holds now, for one audience, to be used at once; absent where the platform gives none. It is a secret.
   * Rejects with the code of what kept it from coming.
   */
  fetchJwtSvid?(audience: string): Promise<string>;
}
