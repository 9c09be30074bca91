import type { MeshIdentity } from '../identity/source.js';
import type { Workload } from '../identity/workload.js';

/** For whom an identity is asked, and the world it is asked in. */
export interface IdentityRequest {
  readonly workload: Workload;
  /** The mesh's own trust domain (MeshConfig `trustDomain`). */
  readonly trustDomain: string;
  /** Other names of it that an SVID may carry (MeshConfig `trustDomainAliases`). */
  readonly trustDomainAliases?: readonly string[];
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
}

/** An identity that a platform gives: it renews itself until it is closed. */
export interface PlatformIdentity extends MeshIdentity {
  /** Where it comes from, for people: `Istio's CA at istiod.istio-system.svc:15012`. */
  readonly description: string;
  /** Resolves once an SVID and its bundle are held; rejects with `ENMESH_IDENTITY_NONE` when closed before. */
  ready(): Promise<void>;
  close(): void | Promise<void>;
}
