import { Pool } from 'undici';
import type { X509Svid } from '../identity/svid.js';
import { createConnector } from './connector.js';
import { pinIdentity, usesIdentity } from './epoch.js';
import { defaultConnectTimeoutMs, type OutboundOptions } from './options.js';
import type { CallPlan, PlanSources, ServicePlan } from './plan.js';

/** What is known of one origin: its plan under one snapshot, and the pools it goes through. */
export interface Route {
  readonly origin: string;
  readonly plan: CallPlan;
  /** Under which configuration and identity the plan was made. */
  readonly snapshot: PlanSources;
  readonly epoch: number;
  /** One pool per endpoint, all of one identity epoch; empty where no service is called. */
  readonly pools: readonly Pool[];
  /** The SVID that all connections of the pools show; undefined where none is shown. */
  readonly svid: X509Svid | undefined;
  turn: number;
  /** Cleared by every sweep, set by every call. */
  isUsed: boolean;
}

/** A route for `plan`, on the pools of `previous` where these are still right. */
export function createRoute(
  options: OutboundOptions,
  facts: Pick<Route, 'origin' | 'plan' | 'snapshot' | 'epoch'>,
  previous: Route | undefined,
  onDrain: () => void,
): Route {
  const { plan } = facts;
  const kept =
    plan.kind !== 'service'
      ? { pools: [], svid: undefined }
      : keepsPools(plan, facts.epoch, previous)
        ? { pools: previous.pools, svid: previous.svid }
        : createPools(options, facts.origin, plan, onDrain);
  return { ...facts, ...kept, turn: previous?.turn ?? 0, isUsed: true };
}

function keepsPools(plan: ServicePlan, epoch: number, previous: Route | undefined): previous is Route {
  if (previous?.plan.kind !== 'service' || previous.plan.key !== plan.key) return false;
  return previous.epoch === epoch || !usesIdentity(plan);
}

function createPools(
  options: OutboundOptions,
  origin: string,
  plan: ServicePlan,
  onDrain: () => void,
): Pick<Route, 'pools' | 'svid'> {
  const identity = pinIdentity(options.identity, plan);
  const connector = createConnector({
    plan,
    identity,
    timeoutMs: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
    outliers: options.outliers,
  });
  const pools = plan.targets.map((_, i) => {
    // The pool's origin is the logical one: it gives the Host header, while the connector alone decides where a connection goes.
    const pool = new Pool(origin, {
      connect: (_o, callback) => connector.connect(i, callback as Parameters<typeof connector.connect>[1]),
    });
    pool.on('drain', onDrain);
    return pool;
  });
  return { pools, svid: usesIdentity(plan) ? identity.svid.current() : undefined };
}

/** The pool of the next call: endpoints take turns. */
export function nextPool(route: Route): Pool | undefined {
  const { pools } = route;
  if (pools.length === 1) return pools[0];
  route.turn = (route.turn + 1) % pools.length;
  return pools[route.turn];
}
