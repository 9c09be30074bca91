import { EnmeshError, isEnmeshError } from '../errors.js';
import type { TrustBundleSource, Stop } from '../identity/source.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { parseTrustDomain } from '../identity/trust-domain.js';
import type { JwtBundle } from '../jwt/jwt-svid.js';
import { formatPem, parsePem } from '../x509/pem.js';
import { fetchBundle, parseEndpointUrl, type EndpointProof } from './bundle-fetch.js';
import { createBundleSnapshot, type BundleSnapshot } from './bundle-snapshot.js';
import { addWatcher, notice, timeText } from './held-svid.js';
import { createSeldom } from './seldom.js';
import { parseSpiffeBundle, type SpiffeBundle } from './spiffe-bundle.js';
import { unrefTimer, type Timer } from './timer.js';

/** Where a foreign trust domain publishes its bundle (SPIFFE Federation section 5.1), and how its server is known. */
export interface BundleEndpointOptions {
  /** The trust domain that the bundle is of: the bundle itself does not say. */
  readonly trustDomain: string;
  /** `https://...`, without a user. */
  readonly url: string;
  /** `https_web`: a certificate for the URL's host. `https_spiffe`: an X.509-SVID with `endpointSpiffeId`. */
  readonly profile: 'https_web' | 'https_spiffe';
  /** Of the endpoint's server; with `https_spiffe`, where it has to be. */
  readonly endpointSpiffeId?: string;
  /**
   * PEM. `https_web`: the authorities of the server's certificate, by default the public ones. `https_spiffe`: the roots of the trust domain of
   * `endpointSpiffeId`, which have to be; if that is `trustDomain` itself they are its first bundle, and each bundle fetched takes their place.
   * A function is asked before each fetch, as long as its answer counts; what it rejects with makes that fetch fail.
   */
  readonly roots?: string | (() => Promise<string>);
  /** For one fetch with its redirects; default 10 000 milliseconds. */
  readonly timeoutMs?: number;
  /** Largest bundle taken; default 1 MiB. */
  readonly maxBytes?: number;
  /** A directory where the last good bundle is kept for a restart while the endpoint is down; default none. */
  readonly snapshotDirectory?: string;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
  /** Default `setTimeout`, unref'ed. */
  readonly timer?: Timer;
}

/** The bundle of one foreign trust domain, kept fresh until it is closed; to be joined with the own ones by `joinBundles`. */
export interface BundleEndpoint extends TrustBundleSource {
  /** The keys of its JWT-SVIDs; undefined before the first fetch. */
  jwtBundle(): JwtBundle | undefined;
  /** Resolves after the first good fetch; rejects with `ENMESH_IDENTITY_NONE` when closed before. */
  ready(): Promise<void>;
  /** Resolves after the first attempt, good or bad, and when closed before. */
  tried(): Promise<void>;
  status(): BundleEndpointStatus;
  close(): void;
}

/** How a bundle endpoint has fared so far. */
export interface BundleEndpointStatus {
  readonly trustDomain: string;
  /** The URL without its query. */
  readonly endpoint: string;
  /** When the last good bundle was fetched, in milliseconds since the epoch; undefined before the first. */
  readonly fetchedAt: number | undefined;
  /** Attempts that failed, since the start. */
  readonly failures: number;
}

const defaultRefresh = 300;
const defaultMaxBytes = 1 << 20;
const leastRefresh = 10;
const mostRefresh = 24 * 3600;
const longestBackOff = 60_000;

/**
 * Keeps the trust bundle of a foreign trust domain from its SPIFFE bundle endpoint (SPIFFE Federation section 5): fetched at once, then as often as its
 * refresh hint says (10 s to a day, five minutes without one), after failures with growing pauses. The last good bundle stays, and an older one (by
 * `spiffe_sequence`) does not replace it. A bundle without keys ends the trust in that domain. With `snapshotDirectory` the last good bundle is used, for 24 hours
 * from its fetch, where the first fetch of a new process fails. Publishes the notices `bundle-refreshed`, `bundle-restored` and `bundle-failed`.
 * Throws `ENMESH_ISSUANCE_BUNDLE`, `ENMESH_IDENTITY_TRUST_DOMAIN_INVALID` or `ENMESH_IDENTITY_SPIFFE_ID_INVALID` for settings that can never work.
 *
 * @example
 * const partner = createBundleEndpoint({ trustDomain: 'partner.example', url: 'https://partner.example/bundle', profile: 'https_web' });
 * const bundles = joinBundles([identity.bundles, partner]);
 */
export function createBundleEndpoint(options: BundleEndpointOptions): BundleEndpoint {
  return new PolledEndpoint(options);
}

class PolledEndpoint implements BundleEndpoint {
  readonly #trustDomain: string;
  readonly #url: URL;
  readonly #proof: () => Promise<EndpointProof>;
  readonly #options: BundleEndpointOptions;
  readonly #clock: () => number;
  readonly #timer: Timer;
  readonly #watchers = new Set<(bundles: TrustBundleSet) => void>();
  readonly #waiting = new Set<{ readonly resolve: () => void; readonly reject: (error: Error) => void }>();
  readonly #closing = new AbortController();
  #bundles: TrustBundleSet | undefined;
  #fetched: SpiffeBundle | undefined;
  #failures = 0;
  #allFailures = 0;
  #fetchedAt: number | undefined;
  #isRestoreTried = false;
  #endFirstTry: () => void = () => {};
  readonly #firstTry = new Promise<void>((done) => (this.#endFirstTry = done));
  readonly #seldom = createSeldom({ firstMs: 300_000 });
  readonly #snapshot: BundleSnapshot | undefined;
  #stopTimer: () => void = () => {};

  constructor(options: BundleEndpointOptions) {
    this.#options = options;
    this.#trustDomain = parseTrustDomain(options.trustDomain);
    this.#url = parseEndpointUrl(options.url);
    this.#clock = options.clock ?? Date.now;
    this.#timer = options.timer ?? unrefTimer;
    this.#snapshot = this.#openSnapshot(options);
    this.#proof = options.profile === 'https_spiffe' ? this.#proveBySvid(options) : this.#proveByName(options);
    void this.#refresh();
  }

  current(): TrustBundleSet {
    if (this.#closing.signal.aborted) throw none('The bundle endpoint is closed');
    if (this.#bundles === undefined) throw none(`No bundle of ${this.#trustDomain} has been fetched yet`);
    return this.#bundles;
  }

  watch(onChange: (bundles: TrustBundleSet) => void): Stop {
    return addWatcher(this.#watchers, onChange);
  }

  jwtBundle(): JwtBundle | undefined {
    return this.#fetched?.jwt;
  }

  ready(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.reject(none('The bundle endpoint is closed'));
    if (this.#fetched !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => void this.#waiting.add({ resolve, reject }));
  }

  tried(): Promise<void> {
    return this.#firstTry;
  }

  status(): BundleEndpointStatus {
    const { origin, pathname } = this.#url;
    const [fetchedAt, failures] = [this.#fetchedAt, this.#allFailures];
    return { trustDomain: this.#trustDomain, endpoint: `${origin}${pathname}`, fetchedAt, failures };
  }

  close(): void {
    this.#closing.abort();
    this.#stopTimer();
    this.#endFirstTry();
    this.#watchers.clear();
    this.#bundles = undefined;
    this.#fetched = undefined;
    for (const { reject } of this.#waiting) reject(none('The bundle endpoint is closed'));
    this.#waiting.clear();
  }

  #proveByName({ profile, endpointSpiffeId, roots }: BundleEndpointOptions): () => Promise<EndpointProof> {
    if (profile !== 'https_web') throw unusable(`profile has to be https_web or https_spiffe, not ${JSON.stringify(profile)}`);
    if (endpointSpiffeId !== undefined) throw unusable('endpointSpiffeId belongs to the profile https_spiffe');
    if (typeof roots === 'string') certificatesOf(roots);
    return async () => ({ roots: typeof roots === 'function' ? certificatesOf(await roots()).join('') : roots });
  }

  #proveBySvid({ endpointSpiffeId, roots }: BundleEndpointOptions): () => Promise<EndpointProof> {
    if (endpointSpiffeId === undefined) throw unusable('the profile https_spiffe needs endpointSpiffeId');
    if (roots === undefined)
      throw unusable('the profile https_spiffe needs roots, those of the trust domain of endpointSpiffeId');
    const { uri: spiffeId, trustDomain } = parseSpiffeId(endpointSpiffeId);
    const known = typeof roots === 'string' ? firstBundle(trustDomain, roots) : undefined;
    const first = async (): Promise<TrustBundleSet> =>
      known ?? firstBundle(trustDomain, typeof roots === 'string' ? roots : await roots());
    if (trustDomain !== this.#trustDomain) return async () => ({ spiffeId, bundles: await first(), now: this.#clock() });
    this.#bundles = known;
    return async () => ({ spiffeId, bundles: (this.#bundles ??= await first()), now: this.#clock() });
  }

  async #refresh(): Promise<void> {
    let pause: number;
    try {
      const { timeoutMs = 10_000, maxBytes = defaultMaxBytes } = this.#options;
      const { signal } = this.#closing;
      // In the promise, so that what a proof lacks counts as a failed fetch.
      const proof = await this.#proof();
      if (signal.aborted) return;
      const text = await fetchBundle(this.#url, proof, { timeoutMs, maxBytes, signal });
      if (signal.aborted) return;
      pause = this.#accept(parseSpiffeBundle(this.#trustDomain, text));
      this.#snapshot?.keep(text.toString('utf8'), this.#clock());
    } catch (error) {
      if (!this.#closing.signal.aborted) await this.#restore();
      if (this.#closing.signal.aborted) return;
      pause = this.#fail(error);
    }
    this.#endFirstTry();
    this.#stopTimer = this.#timer(() => void this.#refresh(), pause);
  }

  #accept(bundle: SpiffeBundle): number {
    const before = this.#fetched?.sequence;
    if (before !== undefined && bundle.sequence !== undefined && bundle.sequence < before)
      throw unusable(`its bundle is older (spiffe_sequence ${bundle.sequence}) than the one held (${before})`);
    this.#failures = 0;
    this.#seldom.forget();
    this.#fetchedAt = this.#clock();
    this.#fetched = bundle;
    const held = this.#bundles?.get(this.#trustDomain);
    if (held === undefined || !isSameBundle(held, bundle.x509)) this.#hold(bundle);
    this.#endWaiting();
    return 1000 * Math.min(mostRefresh, Math.max(leastRefresh, bundle.refreshHint ?? defaultRefresh));
  }

  /** Where nothing has been fetched by this process, what an earlier one has fetched and kept. */
  async #restore(): Promise<void> {
    if (this.#fetched !== undefined || this.#isRestoreTried) return;
    this.#isRestoreTried = true;
    const kept = await this.#snapshot?.read();
    if (kept === undefined || this.#closing.signal.aborted) return;
    const { bundle, fetchedAt } = kept;
    [this.#fetched, this.#fetchedAt] = [bundle, fetchedAt];
    const message = `The bundle of trust domain ${this.#trustDomain} is taken from the disk, fetched ${timeText(fetchedAt)}`;
    notice({ kind: 'bundle-restored', level: 'warn', message, details: { trustDomain: this.#trustDomain, fetchedAt } });
    this.#hold(bundle);
    this.#endWaiting();
  }

  #endWaiting(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #openSnapshot({ snapshotDirectory: directory, maxBytes = defaultMaxBytes }: BundleEndpointOptions): BundleSnapshot | undefined {
    if (directory === undefined) return undefined;
    return createBundleSnapshot({ directory, trustDomain: this.#trustDomain, url: this.#url, maxBytes, clock: this.#clock });
  }

  #hold({ x509, sequence }: SpiffeBundle): void {
    const bundles = setOf(x509);
    this.#bundles = bundles;
    const count = x509.roots.length;
    const message =
      count === 0
        ? `Trust domain ${this.#trustDomain} has taken back all its roots: none of its peers is accepted`
        : `Holding ${count} root(s) of trust domain ${this.#trustDomain} from its bundle endpoint`;
    notice({
      kind: 'bundle-refreshed',
      level: count === 0 ? 'warn' : 'info',
      message,
      details: { trustDomain: this.#trustDomain, sequence },
    });
    for (const watcher of [...this.#watchers]) {
      try {
        watcher(bundles);
      } catch {
        notice({ kind: 'bundle-failed', level: 'error', message: `A listener did not take the bundle of ${this.#trustDomain}` });
      }
    }
  }

  #fail(error: unknown): number {
    const reason = isEnmeshError(error) ? error.message.replace(/^The bundle endpoint cannot be used: /, '') : 'the fetch failed';
    const kept = this.#bundles === undefined ? 'none of its peers is accepted yet' : 'the last good bundle is kept';
    const message = `No new bundle of trust domain ${this.#trustDomain} from ${this.#url.origin}: ${reason}; ${kept}`;
    if (this.#seldom.isDue(message, this.#clock())) {
      const code = isEnmeshError(error) ? error.code : 'ENMESH_ISSUANCE_BUNDLE';
      notice({ kind: 'bundle-failed', level: 'warn', code, message, details: { trustDomain: this.#trustDomain } });
    }
    this.#allFailures += 1;
    this.#failures = Math.min(this.#failures + 1, 16);
    return Math.min(longestBackOff, 1000 * 2 ** (this.#failures - 1));
  }
}

function firstBundle(trustDomain: string, pem: string): TrustBundleSet {
  return setOf({ trustDomain, roots: certificatesOf(pem) });
}

/** Node takes an empty list of authorities for an absent one, which would trust the public ones. */
function certificatesOf(pem: string): readonly string[] {
  const certificates = parsePem(pem, 'CERTIFICATE').map((der) => formatPem('CERTIFICATE', der));
  if (certificates.length === 0) throw unusable('roots holds no certificate');
  return certificates;
}

function setOf(bundle: TrustBundle): TrustBundleSet {
  return new Map([[bundle.trustDomain, bundle]]);
}

function isSameBundle(a: TrustBundle, b: TrustBundle): boolean {
  return a.roots.length === b.roots.length && a.roots.every((root) => b.roots.includes(root));
}

function none(message: string): EnmeshError {
  return new EnmeshError('ENMESH_IDENTITY_NONE', message);
}

function unusable(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_BUNDLE', `The bundle endpoint cannot be used: ${reason}`);
}
