import {
  addWatcher,
  EnmeshError,
  fileProblem,
  isEnmeshError,
  readSmallFile,
  type Timer,
  type TrustBundleSet,
  type TrustBundleSource,
} from '@enmesh/core/issuance';
import { formatPem, parsePem, readCertificateFacts } from '@enmesh/core/x509';
import type { IstioSettings } from './settings.js';

/** Whom the workload trusts: the roots of the CA's last answer, and those of the mounted file while they are the mesh's. */
export interface Trust {
  readonly bundles: TrustBundleSource;
  /** The roots that came with an SVID, PEM, one certificate each. */
  answered(roots: readonly string[]): void;
  /** The roots of the file in PEM, for the connection to the CA; undefined for those of the system. Rejects with `ENMESH_ISSUANCE_CA_UNREACHABLE`. */
  caRoots(): Promise<string | undefined>;
  close(): void;
}

/** What trust is made of. */
export interface TrustOptions {
  readonly settings: Pick<IstioSettings, 'trustDomain' | 'rootCert' | 'isConfigMap'>;
  readonly timer: Timer;
  readonly warn: (message: string) => void;
}

const maxBytes = 1024 * 1024;
const maxRoots = 128;
/** A mounted ConfigMap is swapped by symbolic links, which a watch does not see everywhere: it is read again and compared. */
const lookEveryMs = 5_000;

/**
 * Keeps the trust bundle of the own trust domain. The file is read for each certificate and every five seconds; one that cannot be read changes nothing. A
 * file of other roots than the ConfigMap's (of a private or public PKI in front of the CA) says nothing about peers, unless it holds a root that the CA gave too.
 */
export function createTrust(options: TrustOptions): Trust {
  return new MountedTrust(options);
}

class MountedTrust implements Trust {
  readonly bundles: TrustBundleSource = {
    current: () => this.#current(),
    watch: (onChange) => addWatcher(this.#watchers, onChange),
  };
  readonly #options: TrustOptions;
  readonly #watchers = new Set<(bundles: TrustBundleSet) => void>();
  #answered: readonly string[] = [];
  #mounted: readonly string[] = [];
  #held: TrustBundleSet | undefined;
  #closed = false;
  #stopTimer: () => void = () => {};

  constructor(options: TrustOptions) {
    this.#options = options;
    if (options.settings.rootCert !== undefined) this.#lookLater();
  }

  answered(roots: readonly string[]): void {
    this.#answered = roots;
    this.#renew();
  }

  async caRoots(): Promise<string | undefined> {
    const { rootCert } = this.#options.settings;
    if (rootCert === undefined) return undefined;
    try {
      this.#mounted = await readRoots(rootCert);
    } catch (error) {
      const message = `the root of the CA cannot be read from ${rootCert}: ${problemOf(error)}`;
      // The last good roots are still the CA's: a file that is being replaced is no reason to stop.
      if (this.#mounted.length === 0) throw new EnmeshError('ENMESH_ISSUANCE_CA_UNREACHABLE', message);
      this.#options.warn(`${message}; going on with the roots that were read before`);
    }
    return this.#mounted.join('');
  }

  close(): void {
    this.#closed = true;
    this.#stopTimer();
    this.#held = undefined;
    this.#watchers.clear();
  }

  #current(): TrustBundleSet {
    if (this.#held === undefined)
      throw new EnmeshError('ENMESH_IDENTITY_NONE', 'No trust bundle is held: the CA has not answered yet');
    return this.#held;
  }

  #lookLater(): void {
    if (!this.#closed) this.#stopTimer = this.#options.timer(() => void this.#look(), lookEveryMs);
  }

  async #look(): Promise<void> {
    // Before the first answer there is nothing to change, and the attempt for it reads the file itself.
    if (this.#held !== undefined) {
      await this.caRoots().catch(() => undefined);
      this.#renew();
    }
    this.#lookLater();
  }

  #renew(): void {
    if (this.#closed || this.#answered.length === 0) return;
    const { trustDomain, isConfigMap } = this.#options.settings;
    const isMeshs = isConfigMap || this.#mounted.some((root) => this.#answered.includes(root));
    const roots = [...new Set([...this.#answered, ...(isMeshs ? this.#mounted : [])])];
    const before = this.#held?.get(trustDomain)?.roots;
    if (before !== undefined && before.length === roots.length && roots.every((root) => before.includes(root))) return;
    const bundles: TrustBundleSet = new Map([[trustDomain, { trustDomain, roots }]]);
    this.#held = bundles;
    for (const watcher of [...this.#watchers]) this.#tell(watcher, bundles);
  }

  #tell(watcher: (bundles: TrustBundleSet) => void, bundles: TrustBundleSet): void {
    try {
      watcher(bundles);
    } catch {
      this.#options.warn(`A listener did not take the new roots of trust domain ${this.#options.settings.trustDomain}`);
    }
  }
}

async function readRoots(path: string): Promise<readonly string[]> {
  const certificates = parsePem((await readSmallFile(path, maxBytes)).text, 'CERTIFICATE');
  if (certificates.length === 0 || certificates.length > maxRoots)
    throw new RangeError(`it holds ${certificates.length} certificates, and 1 to ${maxRoots} are expected`);
  for (const der of certificates) readCertificateFacts(der);
  return certificates.map((der) => formatPem('CERTIFICATE', der));
}

function problemOf(error: unknown): string {
  return isEnmeshError(error) ? error.message : fileProblem(error);
}
