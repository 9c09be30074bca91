import { Pool, type Dispatcher } from 'undici';
import type { X509Svid } from '../identity/svid.js';
import { openOutside } from './call-context.js';
import { createConnector, type SocketCallback } from './connector.js';
import { pinIdentity, usesIdentity } from './epoch.js';
import { defaultConnectTimeoutMs, type OutboundOptions } from './options.js';
import type { CallPlan, PlanSources, ServicePlan } from './plan.js';
import type { EndpointPool } from './retired-pools.js';
import { createServers } from './servers.js';
import { noteServer } from './upgraded.js';

/** What is known of one origin: its plan under one snapshot, and the pools it goes through. */
export interface Route {
  readonly origin: string;
  readonly plan: CallPlan;
  /** Under which configuration and identity the plan was made. */
  readonly snapshot: PlanSources;
  readonly epoch: number;
  /** Empty where no service is called. */
  readonly pools: RoutePools;
  /** The SVID that all connections of the pools show; undefined where none is shown. */
  readonly svid: X509Svid | undefined;
  turn: number;
  /** Cleared by every sweep, set by every call. */
  isUsed: boolean;
}

/** One pool per endpoint, all of one identity epoch. */
export interface RoutePools {
  readonly list: readonly EndpointPool[];
  /** When the first certificate of a server they lead to ends, in milliseconds since the epoch. */
  readonly until: number;
  /** Puts fresh pools in the place of those whose server's certificate has ended, and answers these. */
  replaceEnded(now: number): readonly EndpointPool[];
}

/** The pools of a route that has none. */
export const noPools: RoutePools = { list: [], until: Infinity, replaceEnded: () => [] };

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
      ? { pools: noPools, svid: undefined }
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
  const { tokens } = options;
  const identity = pinIdentity(options.identity, plan);
  const connector = createConnector({
    plan,
    identity,
    timeoutMs: options.connectTimeoutMs ?? defaultConnectTimeoutMs,
    outliers: options.outliers,
    clock: options.clock,
  });
  const createPool = (i: number): EndpointPool => {
    const servers = createServers((until) => (pools.until = Math.min(pools.until, until)));
    // The pool's origin is the logical one: it gives the Host header, while the connector alone decides where a connection goes.
    const pool = new Pool(origin, {
      connect: (_o, callback) =>
        openOutside(tokens, callback as SocketCallback, (tell) =>
          connector.connect(i, (error, socket, server) => {
            if (server !== undefined) {
              servers.add(server);
              if (socket !== null) noteServer(socket, server);
            }
            tell(error, socket);
          }),
        ),
    });
    pool.on('drain', onDrain);
    return { pool, servers };
  };
  const list: EndpointPool[] = [];
  const pools = {
    list,
    until: Infinity,
    replaceEnded(now: number): readonly EndpointPool[] {
      const ended = list.filter(({ servers }) => servers.until <= now);
      for (const each of ended) list[list.indexOf(each)] = createPool(list.indexOf(each));
      pools.until = Math.min(...list.map(({ servers }) => servers.until));
      return ended;
    },
  };
  plan.targets.forEach((_, i) => list.push(createPool(i)));
  return { pools, svid: usesIdentity(plan) ? identity.svid.current() : undefined };
}

/** The pool of the next call: endpoints take turns. */
export function nextPool(route: Route): Dispatcher | undefined {
  const { list } = route.pools;
  if (list.length === 1) return list[0]?.pool;
  route.turn = (route.turn + 1) % list.length;
  return list[route.turn]?.pool;
}
