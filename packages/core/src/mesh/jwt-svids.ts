import type { MeshResources } from '../config/validate.js';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import type { Workload } from '../identity/workload.js';
import { compilePropagation } from '../propagation/plan.js';
import type { ExchangeSpec } from '../propagation/resource.js';

/** Holds the JWT-SVIDs that the exchanges of a configuration need against what the identity of the workload can give. */
export interface JwtSvidCheck {
  /** Throws `ENMESH_PROPAGATION_EXCHANGE_SETTINGS` for a configuration that needs what is not to be had; takes all until the identity is known. */
  readonly admit: (resources: MeshResources) => void;
  /** The identity is known: judges the configuration in force by it, and all later ones. */
  use(identity: MeshIdentity, inForce: MeshResources): void;
}

/** Creates the check of one workload. */
export function createJwtSvidCheck(workload: Workload): JwtSvidCheck {
  let identity: MeshIdentity | undefined;
  const admit = (resources: MeshResources): void => {
    if (identity === undefined || identity.fetchJwtSvid !== undefined) return;
    const { outbound } = compilePropagation(resources.tokenPropagations, workload, resources.mesh);
    for (const { policy, spec } of outbound) {
      const need = spec.exchange === undefined ? undefined : needOf(spec.exchange);
      if (need !== undefined) throw refusal(need, policy, resources);
    }
  };
  return {
    admit,
    use(given, inForce) {
      identity = given;
      admit(inForce);
    },
  };
}

function needOf({ clientAuth, actorToken }: ExchangeSpec): string | undefined {
  if (clientAuth.method === 'jwt_svid') return 'clientAuth.method jwt_svid';
  return actorToken === 'svid-jwt' ? 'actorToken svid-jwt' : undefined;
}

function refusal(need: string, policy: string, { tokenPropagations }: MeshResources): EnmeshError {
  const source = tokenPropagations.find(({ meta }) => `${meta.namespace}/${meta.name}` === policy)?.meta.source;
  const place = source === undefined ? '' : `${source.file}:${source.line}:${source.column} `;
  return new EnmeshError(
    'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
    `${place}TokenPropagation ${policy}: ${need} needs JWT-SVIDs, and the identity of this workload comes from where none are given. ` +
      '`identity: spiffe` gives them (a SPIFFE Workload API, such as the agent of SPIRE); dev, files and istio do not',
  );
}
