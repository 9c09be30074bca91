import type { MeshIdentity } from '../identity/source.js';
import type { Outliers } from './outliers.js';
import type { PlanSources } from './plan.js';

/** What every client of the mesh is made of. */
export interface OutboundOptions {
  readonly identity: MeshIdentity;
  /** The configuration in force; read at each call, so it must be cheap (a pointer). */
  readonly snapshot: () => PlanSources;
  /** For name, TCP and handshake of one endpoint together, in milliseconds; 10000 by default. */
  readonly connectTimeoutMs?: number;
  /** Shared by all clients of a mesh, so that what one of them found dead the others try last. */
  readonly outliers?: Outliers;
  /** Milliseconds since the epoch, by which certificates end; the system's by default. */
  readonly clock?: (() => number) | undefined;
}

/** {@link OutboundOptions.connectTimeoutMs} when none is given. */
export const defaultConnectTimeoutMs = 10_000;
