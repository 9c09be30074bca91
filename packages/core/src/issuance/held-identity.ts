import { EnmeshError, isEnmeshError } from '../errors.js';
import type { SvidSource, TrustBundleSource } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { addWatcher, checkCurrent, closedError, tellExpiring, tellRenewalFailed, tellRotated } from './held-svid.js';

/** The part of an SVID's life that is left when its approaching end is told. */
const warnAtRest = 0.2;

/** An identity that is handed in from outside, for sources that are told of renewal instead of asking for it. */
export interface HeldIdentity {
  readonly svid: SvidSource;
  readonly bundles: TrustBundleSource;
  readonly isHeld: boolean;
  /**
   * Holds these from now on. Values that are the very ones held are no news; only what changed is told. Publishes `identity-rotated` for a new SVID.
   */
  accept(svid: X509Svid, bundles: TrustBundleSet): void;
  /** Holds nothing from now on, because the source took the identity back: `current()` throws with this reason, `ready()` waits for the next one. */
  drop(reason: string): void;
  /** To be called now and then: publishes `identity-expiring` when a fifth of the SVID's life is left, and when it has ended. */
  watchExpiry(now: number): void;
  /** Resolves once something is held; rejects with `ENMESH_IDENTITY_NONE` when closed before. */
  ready(): Promise<void>;
  /** Forgets everything. */
  close(): void;
}

/**
 * Creates an identity that holds nothing yet. `svid.current()` throws `ENMESH_IDENTITY_NONE` while there is none, it has expired or is not valid yet;
 * `bundles.current()` while there is none. `clock` gives milliseconds since the epoch.
 */
export function createHeldIdentity(options: { readonly clock: () => number }): HeldIdentity {
  return new Holder(options.clock);
}

class Holder implements HeldIdentity {
  readonly svid: SvidSource = { current: () => this.#currentSvid(), watch: (tell) => addWatcher(this.#svidWatchers, tell) };
  readonly bundles: TrustBundleSource = {
    current: () => this.#currentBundles(),
    watch: (tell) => addWatcher(this.#bundleWatchers, tell),
  };
  readonly #clock: () => number;
  readonly #svidWatchers = new Set<(svid: X509Svid) => void>();
  readonly #bundleWatchers = new Set<(bundles: TrustBundleSet) => void>();
  readonly #waiting = new Set<{ readonly resolve: () => void; readonly reject: (error: Error) => void }>();
  #held: { readonly svid: X509Svid; readonly bundles: TrustBundleSet } | undefined;
  #warnAt = Infinity;
  #isClosed = false;
  #reason = 'No SVID is held yet';

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get isHeld(): boolean {
    return this.#held !== undefined;
  }

  accept(svid: X509Svid, bundles: TrustBundleSet): void {
    if (this.#isClosed) return;
    const before = this.#held;
    this.#held = { svid, bundles };
    if (before?.svid !== svid) {
      this.#warnAt = svid.notAfter - warnAtRest * (svid.notAfter - svid.notBefore);
      tellRotated(svid);
    }
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
    // Whoever is told of an SVID finds the bundles that came with it already in place.
    if (before?.bundles !== bundles) tellAll(this.#bundleWatchers, bundles);
    if (before?.svid !== svid) tellAll(this.#svidWatchers, svid);
  }

  drop(reason: string): void {
    this.#held = undefined;
    this.#warnAt = Infinity;
    this.#reason = reason;
  }

  watchExpiry(now: number): void {
    const svid = this.#held?.svid;
    if (svid === undefined || now < this.#warnAt) return;
    this.#warnAt = now >= svid.notAfter ? Infinity : svid.notAfter;
    tellExpiring(svid, now, 'has not been renewed');
  }

  ready(): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (this.#held !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => void this.#waiting.add({ resolve, reject }));
  }

  close(): void {
    this.#isClosed = true;
    this.#held = undefined;
    this.#svidWatchers.clear();
    this.#bundleWatchers.clear();
    for (const { reject } of this.#waiting) reject(closedError());
    this.#waiting.clear();
  }

  #currentSvid(): X509Svid {
    return checkCurrent(this.#any().svid, this.#clock());
  }

  #currentBundles(): TrustBundleSet {
    return this.#any().bundles;
  }

  #any(): { readonly svid: X509Svid; readonly bundles: TrustBundleSet } {
    if (this.#isClosed) throw closedError();
    if (this.#held === undefined) throw new EnmeshError('ENMESH_IDENTITY_NONE', this.#reason);
    return this.#held;
  }
}

function tellAll<T>(watchers: ReadonlySet<(value: T) => void>, value: T): void {
  for (const watcher of [...watchers]) {
    try {
      watcher(value);
    } catch (error) {
      const what = isEnmeshError(error) ? error.message : error instanceof Error ? error.name : typeof error;
      tellRenewalFailed({ level: 'error', message: `A listener did not take the new identity: ${what}` });
    }
  }
}
