import type { MeshIdentity } from '../identity/source.js';
import type { EgressGuard } from '../propagation/egress-guard.js';
import type { AuditScope } from '../telemetry/audit.js';
import type { CallTokens } from './call-tokens.js';
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
  /** What gives calls the tokens that the configuration says; absent where all go as the service alone. */
  readonly tokens?: CallTokens;
  /** Looks for the user's token in calls; absent where it is off. */
  readonly egressGuard?: EgressGuard | undefined;
  /** The transaction token of the request being handled, which goes on to services of the mesh; absent where none does. */
  readonly transactionToken?: () => string | undefined;
  /** What events of `enmesh:audit` are made with; absent where none are. */
  readonly audit?: AuditScope | undefined;
  /** Milliseconds since the epoch, by which certificates end; the system's by default. */
  readonly clock?: (() => number) | undefined;
}

/** {@link OutboundOptions.connectTimeoutMs} when none is given. */
export const defaultConnectTimeoutMs = 10_000;
