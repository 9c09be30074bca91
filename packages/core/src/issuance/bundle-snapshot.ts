import { EnmeshError, isEnmeshError } from '../errors.js';
import { createSnapshotFile, isRecent } from '../jwt/snapshot-file.js';
import { notice } from './held-svid.js';
import { parseSpiffeBundle, type SpiffeBundle } from './spiffe-bundle.js';

/** A bundle of the disk. */
export interface KeptBundle {
  readonly bundle: SpiffeBundle;
  /** When it was fetched, in milliseconds since the epoch. */
  readonly fetchedAt: number;
}

/** The last good bundle of one endpoint, on disk. */
export interface BundleSnapshot {
  /** What was kept, checked as if it had been fetched; undefined where there is none that may be used, which is told. Never rejects. */
  read(): Promise<KeptBundle | undefined>;
  /** Keeps a bundle, in nobody's way: at once where it is another, else once an hour. */
  keep(text: string, fetchedAt: number): void;
}

const maxAgeMs = 24 * 3_600_000;
const keepAgainMs = 3_600_000;

/**
 * Keeps the bundle of a trust domain over a restart: private to this user, bound to its endpoint, for 24 hours from the fetch. Whoever can write the file can make peers of
 * that trust domain. What goes wrong is told by `bundle-failed`.
 */
export function createBundleSnapshot(o: {
  readonly directory: string;
  readonly trustDomain: string;
  readonly url: URL;
  readonly maxBytes: number;
  readonly clock: () => number;
}): BundleSnapshot {
  const { directory, trustDomain, url, clock } = o;
  const store = createSnapshotFile({
    directory,
    of: { trustDomain, url: url.href },
    maxBodyBytes: o.maxBytes,
    problem: unusable,
  });
  let writing = Promise.resolve();
  let kept: { readonly text: string; readonly at: number } | undefined;
  const tell = (error: unknown): void => {
    const reason = isEnmeshError(error) ? error.message : 'its snapshot cannot be used';
    const message = `The bundle of trust domain ${trustDomain}: ${reason}`;
    notice({ kind: 'bundle-failed', level: 'warn', code: 'ENMESH_ISSUANCE_BUNDLE', message, details: { trustDomain } });
  };
  return {
    async read() {
      try {
        const snapshot = await store.read();
        if (snapshot === undefined) return undefined;
        if (!isRecent(snapshot, clock(), maxAgeMs)) throw unusable('its snapshot is older than 24 hours, or of the future');
        return { bundle: parseSpiffeBundle(trustDomain, snapshot.body), fetchedAt: snapshot.fetchedAt };
      } catch (error) {
        tell(error);
        return undefined;
      }
    },
    keep(text, fetchedAt) {
      if (kept?.text === text && Math.abs(fetchedAt - kept.at) < keepAgainMs) return;
      kept = { text, at: fetchedAt };
      writing = writing.then(() => store.write({ body: text, fetchedAt })).catch(tell);
    },
  };
}

function unusable(message: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_BUNDLE', message);
}
