import { EnmeshError, isEnmeshError, type ErrorCode } from '../errors.js';
import type { FilesIdentitySettings } from '../identity/choice.js';
import type { X509Svid } from '../identity/svid.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { noticeEvents } from '../telemetry/events.js';
import { readFilesSettings, type FilesPlace, type IdentityPaths } from './files-layout.js';
import { nameDoubt, readBundle, readMaterial } from './files-material.js';
import { markOf, readIdentityFile, readNames } from './files-read.js';
import { createTrouble, type Trouble } from './files-trouble.js';
import { createFolderWatches, type FolderWatches } from './files-watch.js';
import { createHeldIdentity, type HeldIdentity } from './held-identity.js';
import type { IdentityRequest, PlatformIdentity } from './provider.js';
import { unrefTimer, type Timer } from './timer.js';

/** Which files, and for whom. */
export interface FilesIdentityOptions extends FilesIdentitySettings, IdentityRequest {
  /** Default `setTimeout`, unref'ed. */
  readonly timer?: Timer;
}

const debounceMs = 100;
const pollMs = 10_000;
/** While something is awaited or wrong, and no event may come: a folder that does not exist cannot be watched. */
const eagerPollMs = 1_000;

/**
 * An identity from files that somebody else writes and renews: Istio's agent, GKE, cert-manager, csi-driver-spiffe, or three files by name. They are
 * watched, Kubernetes' `..data` swaps included, and never written. What is half written, does not belong together or is not valid is not used: the last good
 * identity stays, and `identity-waiting` or `identity-renewal-failed` is published once after 5 s (at the start without any file: at once).
 * Rejects with `ENMESH_ISSUANCE_FILES_SETTINGS` or `ENMESH_IDENTITY_TRUST_DOMAIN_INVALID` for settings that can never work.
 */
export async function createFilesIdentity(options: FilesIdentityOptions): Promise<PlatformIdentity> {
  const identity = new FilesIdentity(options, readFilesSettings(options));
  identity.start();
  return identity;
}

interface Federated {
  readonly text: string;
  readonly bundle: TrustBundle;
}

class FilesIdentity implements PlatformIdentity {
  readonly description: string;
  readonly svid: PlatformIdentity['svid'];
  readonly bundles: PlatformIdentity['bundles'];
  readonly #request: IdentityRequest;
  readonly #place: FilesPlace;
  readonly #clock: () => number;
  readonly #timer: Timer;
  readonly #held: HeldIdentity;
  readonly #watches: FolderWatches;
  readonly #trouble: Trouble;
  readonly #federatedTroubles = new Map<string, Trouble>();
  readonly #federated = new Map<string, Federated>();
  #failure: unknown;
  #doubted = '';
  #marks = '';
  #readAt = -Infinity;
  #current: { readonly svid: X509Svid; readonly bundles: TrustBundleSet } | undefined;
  #isLooking = false;
  #isClosed = false;
  #dueAt = Infinity;
  #stopTimer: () => void = () => {};

  constructor(options: FilesIdentityOptions, place: FilesPlace) {
    this.#request = options;
    this.#place = place;
    this.#clock = options.clock ?? Date.now;
    this.#timer = options.timer ?? unrefTimer;
    this.#held = createHeldIdentity({ clock: this.#clock });
    this.svid = this.#held.svid;
    this.bundles = this.#held.bundles;
    this.description = `files of ${place.label}`;
    this.#watches = createFolderWatches(() => this.#lookIn(debounceMs));
    const isHeld = (): boolean => this.#held.isHeld;
    this.#trouble = createTrouble({ isHeld, sentence: (reason, code) => this.#sentence(reason, code) });
  }

  start(): void {
    void this.#look();
  }

  ready(): Promise<void> {
    return this.#held.ready();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopTimer();
    this.#watches.close();
    this.#held.close();
    this.#current = undefined;
  }

  #sentence(reason: string, code: ErrorCode): string {
    const svid = this.#current?.svid;
    if (svid === undefined)
      return code === 'ENMESH_ISSUANCE_FILES_ABSENT'
        ? `No identity yet: ${reason}. Looked for: ${this.#place.wanted}`
        : `No identity yet, the files of ${this.#place.label} cannot be used: ${reason}. They are read again when they change`;
    return `The files of ${this.#place.label} are not used: ${reason}. The SVID held stays, until ${new Date(svid.notAfter).toISOString()}`;
  }

  #lookIn(ms: number): void {
    const at = this.#clock() + ms;
    // A clock set back would put the next look far off.
    const isSooner = at < this.#dueAt || this.#dueAt - this.#clock() > pollMs;
    if (this.#isClosed || !isSooner) return;
    this.#dueAt = at;
    this.#stopTimer();
    if (!this.#isLooking) this.#stopTimer = this.#timer(() => void this.#look(), ms);
  }

  /** Looks at the files once. What is heard meanwhile is looked at afterwards. */
  async #look(): Promise<void> {
    this.#stopTimer();
    this.#isLooking = true;
    this.#dueAt = Infinity;
    let paths: IdentityPaths | undefined;
    try {
      paths = await this.#paths();
      await this.#read(paths);
    } catch (error) {
      // Where no name is there at all, or chain and key are whole and somebody else's, nobody is in the middle of writing.
      const isWhole = isEnmeshError(error) && error.code === 'ENMESH_ISSUANCE_TRUST_DOMAIN';
      this.#fail(error, (paths === undefined || isWhole) && !this.#held.isHeld);
    }
    const isNew = await this.#watches.follow(this.#followed(paths));
    this.#isLooking = false;
    if (this.#isClosed) return;
    this.#held.watchExpiry(this.#clock());
    const next = isNew ? debounceMs : this.#isSettled ? pollMs : eagerPollMs;
    const heard = this.#dueAt - this.#clock();
    this.#dueAt = Infinity;
    this.#lookIn(Math.max(0, Math.min(next, heard)));
  }

  get #isSettled(): boolean {
    return this.#held.isHeld && !this.#trouble.isUnderway && ![...this.#federatedTroubles.values()].some((one) => one.isUnderway);
  }

  async #paths(): Promise<IdentityPaths> {
    const { directory } = this.#place;
    const names = directory === undefined ? [] : await readNames(directory);
    const paths = this.#place.paths(names ?? []);
    if (paths !== undefined) return paths;
    const what = names === undefined ? 'does not exist' : 'holds no certificate under a known name';
    throw new EnmeshError('ENMESH_ISSUANCE_FILES_ABSENT', `${directory} ${what}`);
  }

  #followed(paths: IdentityPaths | undefined): readonly string[] {
    const { directory } = this.#place;
    const own = directory === undefined ? [] : [directory, `${directory}/.`];
    if (paths === undefined) return own;
    return [...own, paths.certificate, paths.privateKey, paths.roots, ...paths.federated.map(({ path }) => path)];
  }

  async #read(paths: IdentityPaths): Promise<void> {
    const files = [paths.certificate, paths.privateKey, paths.roots, ...paths.federated.map(({ path }) => path)];
    const marks = (await Promise.all(files.map(markOf))).join('\n');
    const now = this.#clock();
    // What failed for the time of day is looked at again without a change: a certificate may be of the next minute.
    if (marks === this.#marks && (this.#isSettled || Math.abs(now - this.#readAt) < pollMs)) {
      if (this.#failure !== undefined) this.#fail(this.#failure, false);
      return;
    }
    this.#marks = marks;
    this.#readAt = now;
    const [certificate, privateKey, roots] = await Promise.all(files.slice(0, 3).map(readIdentityFile));
    const texts = { certificate: certificate!, privateKey: privateKey!, roots: roots! };
    const { svid, bundle } = readMaterial(texts, this.#request, this.#clock());
    for (const one of paths.federated) await this.#readFederated(one);
    this.#take(svid, bundle);
  }

  async #readFederated({ trustDomain, path }: IdentityPaths['federated'][number]): Promise<void> {
    const trouble = this.#federatedTrouble(trustDomain);
    try {
      const text = await readIdentityFile(path);
      if (this.#federated.get(trustDomain)?.text !== text)
        this.#federated.set(trustDomain, { text, bundle: readBundle(text, trustDomain) });
      trouble.ended();
    } catch (error) {
      trouble.failed(error, this.#clock(), false);
    }
  }

  #federatedTrouble(trustDomain: string): Trouble {
    const known = this.#federatedTroubles.get(trustDomain);
    if (known !== undefined) return known;
    const isHeld = (): boolean => this.#federated.has(trustDomain);
    const sentence = (reason: string): string =>
      `The bundle of trust domain ${trustDomain} is not used: ${reason}. ${isHeld() ? 'The one held stays' : 'Peers of that domain are refused'}`;
    const trouble = createTrouble({ isHeld, sentence });
    this.#federatedTroubles.set(trustDomain, trouble);
    return trouble;
  }

  #take(svid: X509Svid, bundle: TrustBundle): void {
    if (this.#isClosed) return;
    this.#failure = undefined;
    this.#trouble.ended();
    const before = this.#current;
    const bundles = new Map([...this.#federated].map(([name, one]) => [name, one.bundle] as const));
    const more = bundles.get(bundle.trustDomain)?.roots ?? [];
    bundles.set(bundle.trustDomain, { ...bundle, roots: [...new Set([...bundle.roots, ...more])] });
    const kept = {
      svid: before !== undefined && before.svid.chain === svid.chain ? before.svid : svid,
      bundles: before !== undefined && isSameSet(before.bundles, bundles) ? before.bundles : bundles,
    };
    this.#current = kept;
    this.#doubt(svid);
    this.#held.accept(kept.svid, kept.bundles);
  }

  #doubt(svid: X509Svid): void {
    const message = nameDoubt(svid, this.#request);
    if (message === undefined || this.#doubted === svid.id.uri) return;
    this.#doubted = svid.id.uri;
    if (noticeEvents.hasSubscribers) noticeEvents.publish({ kind: 'identity-doubtful', level: 'warn', message });
  }

  #fail(error: unknown, isUrgent: boolean): void {
    if (this.#isClosed) return;
    this.#failure = error;
    this.#trouble.failed(error, this.#clock(), isUrgent);
  }
}

function isSameSet(a: TrustBundleSet, b: TrustBundleSet): boolean {
  return a.size === b.size && [...a].every(([name, { roots }]) => b.get(name)?.roots.join('') === roots.join(''));
}
