import type { Resource, WorkloadSelector } from '../identity/workload.js';

/** A mode as written in PeerAuthentication; absent means UNSET. */
export type MtlsModeSpec = 'UNSET' | 'DISABLE' | 'PERMISSIVE' | 'STRICT';

/** `spec` of PeerAuthentication (security.istio.io/v1). Keys of `portLevelMtls` are the workload's own ports. */
export interface PeerAuthenticationSpec {
  readonly selector?: WorkloadSelector;
  readonly mtls?: { readonly mode?: MtlsModeSpec };
  readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: MtlsModeSpec } | null>>;
}

export type PeerAuthentication = Resource<PeerAuthenticationSpec>;
