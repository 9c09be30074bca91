import { Dispatcher, type Agent } from 'undici';
import { EnmeshError } from '../errors.js';
import { noteCall } from './audit.js';
import { inContext } from './call-context.js';
import { withHeaderLines, withoutIdentityHeaders, type HeaderLine } from './call-headers.js';
import { isHeard, linesFor } from './carry.js';
import { bundlesOf, usesIdentity, watchEpochs, type IdentityEpochs } from './epoch.js';
import { checked } from './guard-call.js';
import { checkDispatch } from './guard-dispatch.js';
import type { OutboundOptions } from './options.js';
import { objectToRequestLine, planCall, refusedBy, type CallPlan, type CallTarget, type RefusedPlan } from './plan.js';
import { reportCall } from './report.js';
import { createRetiredPools, type EndpointPool } from './retired-pools.js';
import { createRoute, nextPool, noPools, type Route } from './route.js';
import { createPassthrough, tellUndeclaredPort } from './passthrough.js';
import { createServers, expirySweepMs } from './servers.js';
import { createUpgradedConnections } from './upgraded.js';

export type { OutboundOptions } from './options.js';

/** More origins than a service calls; beyond it the oldest makes room, its calls in flight finish. */
const mostRoutes = 512;

/** A route nobody used between two sweeps is closed. */
const sweepMs = 60_000;

/**
 * Creates undici's Dispatcher for the mesh. Each call is resolved by the host and port of its URL: a declared service goes out by the mode that the
 * configuration gives (mutual TLS with secure naming where the mesh says so), anything else by `outboundTrafficPolicy`. The Host header stays the URL's.
 * Works under undici's own API and under the global fetch (`{dispatcher}`) of Node 20, 22 and 24. Proxies of the environment are not used.
 *
 * Refusals reach the caller as errors (`fetch`: as the cause) with an `ENMESH_OUTBOUND_` or `ENMESH_TLS_` code; nothing has been sent then.
 */
export function createMeshDispatcher(options: OutboundOptions): Dispatcher {
  return new MeshDispatcher(options);
}

class MeshDispatcher extends Dispatcher {
  readonly #options: OutboundOptions;
  readonly #routes = new Map<string, Route>();
  readonly #retired = createRetiredPools();
  readonly #upgraded = createUpgradedConnections();
  readonly #clock: () => number;
  readonly #epochs: IdentityEpochs;
  readonly #sweepers: readonly NodeJS.Timeout[];
  #passthrough: Agent | undefined;
  #isClosed = false;

  constructor(options: OutboundOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#epochs = watchEpochs(options.identity, () => this.#retireStale());
    this.#sweepers = [
      setInterval(() => this.#sweep(), sweepMs).unref(),
      setInterval(() => this.#retireUntrusted(), expirySweepMs).unref(),
    ];
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    try {
      if (this.#isClosed) throw new EnmeshError('ENMESH_OUTBOUND_CLOSED', 'the mesh client is closed');
      const route = this.#routeOf(options.origin);
      noteCall(this.#options, handler, { method: options.method, path: options.path, headers: () => options.headers });
      const call = { options: this.#options, plan: route.plan, origin: route.origin, subject: handler };
      return this.#send(
        route,
        checked(call, (checks) => checkDispatch(checks, options), options),
        handler,
      );
    } catch (error) {
      return fail(handler, error as Error);
    }
  }

  /** The warm path: one look in a map and three comparisons. */
  #routeOf(origin: string | URL | undefined): Route {
    const key = typeof origin === 'string' ? origin : (origin?.origin ?? '');
    const route = this.#routes.get(key);
    if (route !== undefined && route.epoch === this.#epochs.current && route.snapshot === this.#options.snapshot()) {
      route.isUsed = true;
      if (route.pools.until <= this.#clock()) this.#retireEnded();
      return route;
    }
    return this.#refresh(key, route);
  }

  #refresh(key: string, previous: Route | undefined): Route {
    const snapshot = this.#options.snapshot();
    const target = parseOrigin(key);
    const facts = { origin: key, plan: planCall(snapshot, target), snapshot, epoch: this.#epochs.current };
    tellUndeclaredPort(facts.plan, target, snapshot);
    let route: Route;
    try {
      route = createRoute(this.#options, facts, previous, () => this.emit('drain', new URL(key)));
    } catch (error) {
      // No identity yet: this call is refused, the next one asks again.
      return { ...facts, plan: refusedBy(error), pools: noPools, svid: undefined, turn: 0, isUsed: true };
    }
    this.#routes.set(key, route);
    if (previous !== undefined && previous.pools !== route.pools) this.#retire(previous.pools.list);
    if (this.#routes.size > mostRoutes) this.#evictOldest();
    return route;
  }

  #send(route: Route, options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const isPlain = isOrdinary(options);
    const plan = isPlain ? route.plan : judged(route.plan, options);
    const receiver = isPlain ? handler : this.#upgraded.watching(handler);
    if (plan.kind === 'refused' || plan.carries === undefined) {
      if (isHeard()) reportCall(plan, route.origin, handler);
      if (plan.kind === 'refused') throw plan.error;
      return this.#transmit(route, plan, undefined, options, receiver);
    }
    const lines = linesFor({ tokens: this.#options.tokens, plan, svid: route.svid, origin: route.origin, subject: handler });
    if (!(lines instanceof Promise)) return this.#transmit(route, plan, lines, options, receiver);
    const { carries } = plan;
    void lines
      .then((later) => {
        const now = this.#isClosed ? route : this.#routeOf(options.origin);
        // The configuration changed while the provider was asked: what it gave may no longer be what is to be sent.
        if (this.#isClosed || now.plan.kind === 'refused' || now.plan.carries?.entry !== carries.entry)
          return this.dispatch(options, handler);
        return this.#transmit(now, now.plan, later, options, receiver);
      })
      .catch((error: unknown) => fail(handler, error as Error));
    return true;
  }

  #transmit(
    route: Route,
    plan: Exclude<CallPlan, RefusedPlan>,
    lines: readonly HeaderLine[] | undefined,
    options: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ): boolean {
    const sent =
      lines !== undefined && lines.length > 0
        ? { ...options, headers: withHeaderLines(options.headers, lines) }
        : plan.strips
          ? { ...options, headers: withoutIdentityHeaders(options.headers) }
          : options;
    const { tokens, snapshot } = this.#options;
    const through = plan.kind === 'pass' ? (this.#passthrough ??= createPassthrough(snapshot, tokens)) : nextPool(route);
    if (through === undefined) throw new EnmeshError('ENMESH_OUTBOUND_UNREACHABLE', `${route.origin} has no endpoint`);
    return through.dispatch(sent as Dispatcher.DispatchOptions, inContext(handler, tokens));
  }

  #retire(pools: readonly EndpointPool[]): void {
    const now = this.#clock();
    for (const pool of pools) this.#retired.retire(pool, now);
  }

  /** No call may go to a server by a certificate that has ended. */
  #retireEnded(): void {
    const now = this.#clock();
    for (const { pools } of this.#routes.values()) if (pools.until <= now) this.#retire(pools.replaceEnded(now));
    this.#retired.expire(now);
  }

  #drop(route: Route): void {
    this.#routes.delete(route.origin);
    this.#retire(route.pools.list);
  }

  #evictOldest(): void {
    const [oldest] = this.#routes.values();
    if (oldest !== undefined) this.#drop(oldest);
  }

  /** After a rotation no new call may find an old connection, and idle ones end now. */
  #retireStale(): void {
    for (const route of [...this.#routes.values()])
      if (route.plan.kind === 'service' && usesIdentity(route.plan)) this.#drop(route);
    this.#judge();
  }

  /** One that was being connected when the bundles changed was not among those judged then. */
  #retireUntrusted(): void {
    this.#retireEnded();
    this.#judge();
  }

  #judge(): void {
    const [bundles, now] = [bundlesOf(this.#options.identity), this.#clock()];
    this.#retired.judge(bundles, now);
    this.#upgraded.judge(bundles, now);
  }

  #sweep(): void {
    for (const route of [...this.#routes.values()]) {
      if (!route.isUsed) this.#drop(route);
      route.isUsed = false;
    }
  }

  #end(): EndpointPool[] {
    this.#isClosed = true;
    for (const sweeper of this.#sweepers) clearInterval(sweeper);
    this.#epochs.stop();
    const all = [...this.#routes.values()].flatMap(({ pools }) => pools.list);
    if (this.#passthrough !== undefined) all.push({ pool: this.#passthrough, servers: createServers() });
    this.#routes.clear();
    this.#passthrough = undefined;
    return all;
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | void {
    this.#retire(this.#end());
    return answer(
      Promise.all([this.#retired.gone(), this.#upgraded.gone()]).then(() => {}),
      callback,
    );
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(error?: Error | null | (() => void), callback?: () => void): Promise<void> | void {
    const reason = typeof error === 'function' ? null : (error ?? null);
    const all = [...this.#end().map(({ pool }) => pool), ...this.#retired.pools];
    this.#upgraded.destroy(reason);
    const ended = Promise.all(all.map((each) => each.destroy(reason))).then(() => {});
    return answer(ended, typeof error === 'function' ? error : callback);
  }
}

function answer(ended: Promise<void>, callback: (() => void) | undefined): Promise<void> | void {
  if (callback === undefined) return ended;
  void ended.then(callback, callback);
}

function parseOrigin(origin: string): CallTarget {
  const { protocol, hostname, port } = new URL(origin);
  if (protocol !== 'http:' && protocol !== 'https:') throw new TypeError(`cannot call ${protocol} URLs`);
  return { protocol, host: hostname, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

/** Nearly every call: no tunnel, no upgrade, a path that is one. */
function isOrdinary({ method, path, upgrade }: Dispatcher.DispatchOptions): boolean {
  return path?.charCodeAt(0) === 0x2f && method !== 'CONNECT' && (upgrade === undefined || upgrade === null);
}

function judged(plan: CallPlan, { method, path, upgrade }: Dispatcher.DispatchOptions): CallPlan {
  const isUpgrade = upgrade !== undefined && upgrade !== null && (upgrade as unknown) !== false;
  return objectToRequestLine(plan, method, String(path), isUpgrade) ?? plan;
}

/** Ends a call with an error. undici's handlers have two forms: the older one is what the global fetch of Node 20 and 22 sends. */
export function fail(handler: Dispatcher.DispatchHandler, error: Error): false {
  const { onResponseError, onError } = handler as unknown as {
    onResponseError?: (controller: null, error: Error) => void;
    onError?: (error: Error) => void;
  };
  if (typeof onResponseError === 'function') onResponseError.call(handler, null, error);
  else if (typeof onError === 'function') onError.call(handler, error);
  else throw error;
  return false;
}
