import type { Dispatcher } from 'undici';
import { EnmeshError } from '../errors.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { graceMs, type Servers } from './servers.js';

/** The connections to one endpoint, under one identity epoch. */
export interface EndpointPool {
  readonly pool: Dispatcher;
  readonly servers: Servers;
}

/** Pools that finish their calls and take no more. */
export interface RetiredPools {
  /** Ends idle connections now. Calls in flight finish, unless their server's certificate ends or its root leaves: then they have 15 s. */
  retire(pool: EndpointPool, now: number): void;
  /** Bounds those whose servers' certificates have ended. */
  expire(now: number): void;
  /** Bounds those whose servers the bundles no longer accept; undefined bundles accept nobody. */
  judge(bundles: TrustBundleSet | undefined, now: number): void;
  readonly pools: readonly Dispatcher[];
  /** Settles when the last of those there are now is gone. */
  gone(): Promise<void>;
}

interface Retired extends EndpointPool {
  readonly closed: Promise<void>;
  timer: NodeJS.Timeout | undefined;
}

/** Creates an empty set of retired pools. */
export function createRetiredPools(): RetiredPools {
  const all = new Set<Retired>();
  const bound = (each: Retired): void => {
    each.timer ??= setTimeout(() => void each.pool.destroy(distrusted()).catch(() => {}), graceMs).unref();
  };
  return {
    retire({ pool, servers }, now) {
      // What is in flight finishes; errors reach the calls themselves.
      const closed = pool.close().catch(() => {});
      const retired: Retired = { pool, servers, closed, timer: undefined };
      all.add(retired);
      if (servers.until <= now) bound(retired);
      void closed.then(() => {
        clearTimeout(retired.timer);
        all.delete(retired);
      });
    },
    expire(now) {
      for (const each of all) if (each.servers.until <= now) bound(each);
    },
    judge(bundles, now) {
      for (const each of all) {
        const isAsked = each.timer === undefined && each.servers.until < Infinity;
        if (isAsked && (bundles === undefined || !each.servers.isTrusted(bundles, now))) bound(each);
      }
    },
    get pools() {
      return [...all].map(({ pool }) => pool);
    },
    gone: () => Promise.all([...all].map(({ closed }) => closed)).then(() => {}),
  };
}

/** What a call is told that outlived the trust in its server. */
export function distrusted(): EnmeshError {
  return new EnmeshError(
    'ENMESH_OUTBOUND_DISTRUSTED',
    'the certificate of the server has ended or lost its root, and the call did not finish in time',
  );
}
