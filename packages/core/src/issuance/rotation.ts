import { EnmeshError, isEnmeshError } from '../errors.js';
import type { SvidSource } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import {
  addWatcher,
  checkCurrent,
  clockText,
  closedError,
  tellExpiring,
  tellRenewalFailed,
  tellRotated,
  timeText,
} from './held-svid.js';
import { createSeldom } from './seldom.js';
import { unrefTimer, withDeadline, type Timer } from './timer.js';

/** How an SVID is kept fresh. */
export interface RotationOptions {
  /** Gets a new SVID. A rejection, a throw, or silence for `issueTimeoutMs` counts as a failure and is tried again. */
  readonly issue: () => Promise<X509Svid>;
  /** An SVID to begin with; without one `issue` is called at once. */
  readonly first?: X509Svid;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
  /** From 0 to below 1; default `Math.random`. */
  readonly random?: () => number;
  /** Default `setTimeout`, unref'ed: it never keeps a process alive. */
  readonly timer?: Timer;
  /** Default 30 000. */
  readonly issueTimeoutMs?: number;
  /** How much of its life an SVID has left when it is renewed, between 0 and 1, and how far that is spread to both sides; default 0.5 and 0.01. */
  readonly grace?: { readonly ratio: number; readonly jitter: number };
}

/** An SVID that renews itself. */
export interface Rotation {
  readonly svid: SvidSource;
  /** Resolves once an SVID is held; rejects with `ENMESH_IDENTITY_NONE` when closed before. */
  ready(): Promise<void>;
  /** Ends all renewal and forgets the SVID. */
  close(): void;
}

const longestSleep = 60_000;
const shortestSleep = 250;
const firstBackOff = 1_000;
/** With nothing valid to show, a source that is back has to be noticed within five seconds. */
const urgentBackOff = 4_000;
/** With the end near, a source that is back should be noticed before it; on average still less than one try a second. */
const endingBackOff = 1_500;
/** The last tries before the end: one of them is half a second before it, and an outage of a life of six seconds is still asked less than once a second. */
const lastBackOff = 800;

/**
 * Keeps an SVID fresh: renews it when half of its life is left (Istio's grace period, 0.5 +- 0.01), backs off with jitter after failures (for a minute
 * at most, less as the end comes near, down to 1.5 seconds and then to half of what is left; four without a valid SVID) and keeps the old one while it lives. It looks at the clock at least once a
 * minute, so a clock that jumps or a laptop that slept is noticed.
 * `svid.current()` throws `ENMESH_IDENTITY_NONE` while there is none, it has expired, or the clock stands before its beginning.
 * Publishes the notices `identity-rotated`, `identity-renewal-failed` (of the same reason after a minute, then less and less often, down to once in five) and
 * `identity-expiring`. A `first` SVID that is not valid now
 * throws `ENMESH_ISSUANCE_CLOCK` or `ENMESH_ISSUANCE_FAILED`.
 */
export function createRotation(options: RotationOptions): Rotation {
  const rotation = new SvidRotation(options);
  rotation.start(options.first);
  return rotation;
}

class SvidRotation implements Rotation {
  readonly svid: SvidSource = { current: () => this.#current(), watch: (onChange) => addWatcher(this.#watchers, onChange) };
  readonly #issue: () => Promise<X509Svid>;
  readonly #clock: () => number;
  readonly #random: () => number;
  readonly #timer: Timer;
  readonly #issueTimeoutMs: number;
  readonly #grace: { readonly ratio: number; readonly jitter: number };
  readonly #watchers = new Set<(svid: X509Svid) => void>();
  readonly #waiting = new Set<{ readonly resolve: () => void; readonly reject: (error: Error) => void }>();
  #held: X509Svid | undefined;
  #renewAt = -Infinity;
  #warnAt = Infinity;
  #failures = 0;
  readonly #seldom = createSeldom({ firstMs: 60_000, longestMs: 300_000 });
  #closed = false;
  #stopTimer: () => void = () => {};

  constructor(options: RotationOptions) {
    this.#issue = options.issue;
    this.#clock = options.clock ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#timer = options.timer ?? unrefTimer;
    this.#issueTimeoutMs = options.issueTimeoutMs ?? 30_000;
    this.#grace = options.grace ?? { ratio: 0.5, jitter: 0.01 };
  }

  start(first: X509Svid | undefined): void {
    if (first === undefined) return void this.#attempt();
    this.#accept(first);
    this.#sleep();
  }

  ready(): Promise<void> {
    if (this.#closed) return Promise.reject(closedError());
    if (this.#held !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => void this.#waiting.add({ resolve, reject }));
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer();
    this.#held = undefined;
    this.#watchers.clear();
    for (const { reject } of this.#waiting) reject(closedError());
    this.#waiting.clear();
  }

  #current(): X509Svid {
    if (this.#closed) throw closedError();
    const svid = this.#held;
    if (svid === undefined) throw new EnmeshError('ENMESH_IDENTITY_NONE', 'No SVID is held yet');
    return checkCurrent(svid, this.#clock());
  }

  #sleep(): void {
    this.#stopTimer();
    if (this.#closed) return;
    const ms = Math.min(longestSleep, Math.max(shortestSleep, this.#renewAt - this.#clock()));
    this.#stopTimer = this.#timer(() => this.#wake(), ms);
  }

  #wake(): void {
    const now = this.#clock();
    // After a jump back the time of the next try may be far off: an SVID of the future, or a pause, is then not waited for.
    const jumpedBack =
      this.#failures > 0 ? this.#renewAt - now > longestSleep : this.#held !== undefined && now < this.#held.notBefore;
    if (now < this.#renewAt && !jumpedBack) this.#sleep();
    else void this.#attempt();
  }

  async #attempt(): Promise<void> {
    try {
      const svid = await withDeadline(this.#issue, this.#issueTimeoutMs, this.#timer);
      if (!this.#closed) this.#accept(svid);
    } catch (error) {
      if (!this.#closed) this.#fail(error);
    }
    this.#sleep();
  }

  #accept(svid: X509Svid): void {
    const now = this.#clock();
    checkUsable(svid, now);
    const life = svid.notAfter - now;
    this.#held = svid;
    this.#failures = 0;
    this.#seldom.forget();
    const left = Math.min(1, Math.max(0, this.#grace.ratio - this.#grace.jitter * (2 * this.#random() - 1)));
    this.#renewAt = now + life * (1 - left);
    // Half of the time that was meant for renewing has passed: at the default three quarters of the life.
    this.#warnAt = now + life * (1 - this.#grace.ratio / 2);
    tellRotated(svid);
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
    for (const watcher of [...this.#watchers]) tell(watcher, svid);
  }

  #fail(error: unknown): void {
    const now = this.#clock();
    const rest = (this.#held?.notAfter ?? now) - now;
    const longest = rest > 0 ? longestPause(rest) : urgentBackOff;
    const backOff = Math.min(longest, firstBackOff * 2 ** Math.min(this.#failures, 16)) * (0.5 + 0.5 * this.#random());
    this.#failures += 1;
    this.#renewAt = now + backOff;
    const code = isEnmeshError(error) ? error.code : 'ENMESH_ISSUANCE_FAILED';
    const reason = reasonOf(error);
    const times = this.#failures === 1 ? '' : ` (failed ${this.#failures} times in a row)`;
    const message = `No new SVID: ${reason}${times}; trying again in ${Math.ceil(backOff / 1000)} s`;
    const details = { failures: this.#failures };
    tellRenewalFailed({ level: 'warn', code, message, details }, this.#seldom.isDue(reason, now));
    this.#warnWhenExpiring(now);
  }

  #warnWhenExpiring(now: number): void {
    const svid = this.#held;
    if (svid === undefined || now < this.#warnAt) return;
    this.#warnAt = now >= svid.notAfter ? Infinity : svid.notAfter;
    tellExpiring(svid, now, 'cannot be renewed');
  }
}

/** The longest pause before the next try with so much of the life left: several tries fit into it however short it is. */
function longestPause(rest: number): number {
  return Math.min(longestSleep, Math.max(endingBackOff, rest / 10), Math.max(lastBackOff, rest / 2));
}

function checkUsable(svid: X509Svid, now: number): void {
  if (now < svid.notBefore) throw new EnmeshError('ENMESH_ISSUANCE_CLOCK', clockText(svid, now));
  if (now >= svid.notAfter)
    throw new EnmeshError('ENMESH_ISSUANCE_FAILED', `the new SVID ended already, at ${timeText(svid.notAfter)}`);
}

function tell(watcher: (svid: X509Svid) => void, svid: X509Svid): void {
  try {
    watcher(svid);
  } catch (error) {
    const message = `A listener did not take the new SVID of ${svid.id.uri}: ${reasonOf(error)}`;
    tellRenewalFailed({ level: 'error', message });
  }
}

/** Only our own messages are known to hold no secret; of any other error its code or name must do. */
function reasonOf(error: unknown): string {
  if (isEnmeshError(error)) return error.message;
  const { code, name } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return code ?? name ?? 'the identity source failed';
}
