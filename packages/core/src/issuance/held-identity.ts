import { EnmeshError, isEnmeshError } from '../errors.js';
import type { Stop, SvidSource, TrustBundleSource } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';

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
  readonly svid: SvidSource = { current: () => this.#currentSvid(), watch: (tell) => watchIn(this.#svidWatchers, tell) };
  readonly bundles: TrustBundleSource = {
    current: () => this.#currentBundles(),
    watch: (tell) => watchIn(this.#bundleWatchers, tell),
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
      const message = `Holding an SVID of ${svid.id.uri} until ${timeText(svid.notAfter)}`;
      notice({ kind: 'identity-rotated', level: 'info', message, details: detailsOf(svid) });
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
    const isExpired = now >= svid.notAfter;
    this.#warnAt = isExpired ? Infinity : svid.notAfter;
    const message = isExpired
      ? `The SVID of ${svid.id.uri} expired at ${timeText(svid.notAfter)}: handshakes are refused both ways until there is a new one`
      : `The SVID of ${svid.id.uri} has not been renewed and ends at ${timeText(svid.notAfter)}`;
    notice({ kind: 'identity-expiring', level: isExpired ? 'error' : 'warn', message, details: detailsOf(svid) });
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
    const svid = this.#any().svid;
    const now = this.#clock();
    if (now >= svid.notAfter)
      throw new EnmeshError('ENMESH_IDENTITY_NONE', `The SVID of ${svid.id.uri} expired at ${timeText(svid.notAfter)}`);
    if (now < svid.notBefore) {
      const message = `The clock (${timeText(now)}) stands before the beginning of the SVID of ${svid.id.uri} (${timeText(svid.notBefore)})`;
      throw new EnmeshError('ENMESH_IDENTITY_NONE', message);
    }
    return svid;
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

function watchIn<T>(watchers: Set<(value: T) => void>, onChange: (value: T) => void): Stop {
  // A listener given twice is two watches, each with a stop of its own.
  const watcher = (value: T): void => onChange(value);
  watchers.add(watcher);
  return () => void watchers.delete(watcher);
}

function tellAll<T>(watchers: ReadonlySet<(value: T) => void>, value: T): void {
  for (const watcher of [...watchers]) {
    try {
      watcher(value);
    } catch (error) {
      const what = isEnmeshError(error) ? error.message : error instanceof Error ? error.name : typeof error;
      notice({ kind: 'identity-renewal-failed', level: 'error', message: `A listener did not take the new identity: ${what}` });
    }
  }
}

function notice(event: NoticeEvent): void {
  if (noticeEvents.hasSubscribers) noticeEvents.publish(event);
}

function detailsOf(svid: X509Svid): Readonly<Record<string, unknown>> {
  return { spiffeId: svid.id.uri, serial: svid.serial, notBefore: svid.notBefore, notAfter: svid.notAfter };
}

function closedError(): EnmeshError {
  return new EnmeshError('ENMESH_IDENTITY_NONE', 'The identity source is closed');
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
