import { fixedSvidSource } from '../identity/svid.js';
import { fixedTrustBundleSource, type TrustBundleSet } from '../identity/trust-bundle.js';
import type { MeshIdentity, Stop } from '../identity/source.js';
import type { ServicePlan } from './plan.js';

/** Counts the identities this workload has had: every new SVID or trust bundle is a new epoch. */
export interface IdentityEpochs {
  /** -1 while there is no identity: connections of an SVID that has expired, or that its platform took back, are not used any more. */
  readonly current: number;
  readonly stop: Stop;
}

/** Watches an identity and calls `onChange` after each step of the count. */
export function watchEpochs(identity: MeshIdentity, onChange: () => void): IdentityEpochs {
  let count = 0;
  const step = (): void => {
    count++;
    onChange();
  };
  const stop = watchIdentity(identity, step);
  return {
    get current() {
      return isHeld(identity) ? count : -1;
    },
    stop,
  };
}

/** Tells of every new SVID and every change of the trust bundles. */
export function watchIdentity(identity: MeshIdentity, onChange: () => void): Stop {
  const stops = [identity.svid.watch(onChange), identity.bundles.watch(onChange)];
  return () => stops.forEach((stop) => stop());
}

function isHeld(identity: MeshIdentity): boolean {
  try {
    identity.svid.current();
    return true;
  } catch {
    return false;
  }
}

/** The bundles as they are now; undefined while there are none. */
export function bundlesOf(identity: MeshIdentity): TrustBundleSet | undefined {
  try {
    return identity.bundles.current();
  } catch {
    return undefined;
  }
}

/** Whether a plan's connections show our identity, so that a new epoch means new connections. */
export function usesIdentity(plan: ServicePlan): boolean {
  return plan.targets.some(({ tls }) => tls === 'ISTIO_MUTUAL');
}

/**
 * The identity as it is now, for the whole life of a pool: no pool mixes epochs. A plan without mutual TLS needs none.
 * Throws `ENMESH_IDENTITY_NONE` while there is none.
 */
export function pinIdentity(identity: MeshIdentity, plan: ServicePlan): MeshIdentity {
  if (!usesIdentity(plan)) return identity;
  return { svid: fixedSvidSource(identity.svid.current()), bundles: fixedTrustBundleSource(identity.bundles.current()) };
}
