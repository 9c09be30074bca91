import { EnmeshError } from '../errors.js';
import type { CarriedToken, PropagationPlan } from '../propagation/plan.js';
import type { CallPlan, CallTarget } from './plan.js';

/** What calls of one plan carry besides the service itself. */
export interface Carriage {
  readonly entry: CarriedToken;
  /** SPIFFE IDs the destination may have: whom a hop token is for. */
  readonly audience: readonly string[];
  /** Why nothing may be carried there; calls with a user are refused with it, and none goes out without what it should carry. */
  readonly objection: EnmeshError | undefined;
}

/** The carriage of a planned call to `host` (full name, as entries name it); undefined where no TokenPropagation speaks of it. */
export function carriageOf(
  propagation: PropagationPlan | undefined,
  host: string | undefined,
  plan: CallPlan,
  { protocol }: CallTarget,
): Carriage | undefined {
  const entry = host === undefined ? undefined : propagation?.outboundFor(host);
  if (entry === undefined || plan.kind === 'refused') return undefined;
  const names = plan.kind === 'service' ? (plan.destination.subjectAltNames ?? []) : [];
  const audience = Object.freeze(names.filter((name) => name.startsWith('spiffe://')));
  return { entry, audience, objection: objectTo(entry, plan, protocol) };
}

function objectTo({ mode, policy }: CarriedToken, plan: CallPlan, protocol: CallTarget['protocol']): EnmeshError | undefined {
  const isSecure =
    mode === 'EXCHANGE'
      ? protocol === 'https:' || isEncrypted(plan)
      : plan.kind === 'service' && plan.targets.every(({ tls }) => tls === 'ISTIO_MUTUAL');
  if (mode === 'NONE' || isSecure) return undefined;
  const wanted = mode === 'EXCHANGE' ? 'encryption' : 'mutual TLS of the mesh';
  const service = plan.kind === 'service' ? plan.service : 'this host';
  return new EnmeshError(
    'ENMESH_PROPAGATION_NOT_MUTUAL',
    `${mode} of TokenPropagation ${policy} needs ${wanted}, and ${service} is not reached by it`,
  );
}

function isEncrypted(plan: CallPlan): boolean {
  if (plan.kind !== 'service') return false;
  const { targets, destination } = plan;
  return targets.every(({ tls }) => tls === 'ISTIO_MUTUAL' || (tls !== 'DISABLE' && destination.ca !== 'none'));
}
