import { EnmeshError } from '../errors.js';
import { createHeldKeys, staleAfter, type HeldKeys, type HeldKeySet, type KeysInUse } from './held-keys.js';
import type { JwtKey } from './jwk.js';
import { createKeySetFetch, type KeySetFetchOptions } from './key-set-fetch.js';
import { placeOf, tellFailed, tellRefreshed, tellRestored, tellSnapshotProblem } from './key-set-notices.js';
import { isRecent, type Snapshot, type SnapshotStore } from './snapshot-file.js';
import { createMissBudget } from './miss-budget.js';

export type { HeldKeySet } from './held-keys.js';
export type { Timer } from './key-set-fetch.js';

/** The keys of an issuer as verification sees them. `generation` changes whenever `keys` does; after `freshUntil` (ms) they no longer count. */
export interface KeySet {
  readonly generation: number;
  readonly keys: readonly JwtKey[];
  /** -Infinity while nothing was ever fetched. */
  readonly freshUntil: number;
  /** Tells the set that a token came which it has no key for (`kid` empty: it names none); a fetched set is then fetched again, at most twice a minute. */
  missed(kid: string): void;
}

/**
 * How a fetched key set stands. `waiting`: not tried yet; `fresh`: the last fetch was good; `stale`: the last keys count although the issuer cannot be
 * reached; `unavailable`: no keys count, tokens of this issuer are refused.
 */
export type KeySetState = 'waiting' | 'fresh' | 'stale' | 'unavailable';

/** What is told of a fetched key set; times in ms since the epoch, undefined while nothing was fetched. */
export interface KeySetStatus {
  readonly issuer: string;
  /** Where it is fetched, without anything secret. */
  readonly place: string;
  readonly state: KeySetState;
  readonly keys: number;
  /** Grows with every other set that is taken into use. */
  readonly generation: number;
  readonly fetchedAt: number | undefined;
  readonly usableUntil: number | undefined;
  /** Fetches that failed since the last good one. */
  readonly failures: number;
  /** Whether the keys in use were read from the disk. */
  readonly restored: boolean;
}

/** A key set that is fetched and renewed in the background until it is closed. */
export interface RemoteKeySet extends KeySet {
  /** Settles when the first attempt has, whatever came of it. */
  readonly tried: Promise<void>;
  status(): KeySetStatus;
  /** What is in use, for a set that takes this one's place; undefined while nothing is. */
  held(): HeldKeySet | undefined;
  close(): void;
}

/** What a remote key set works with; see `createKeySets`. */
export interface RemoteKeySetOptions extends KeySetFetchOptions {
  readonly random: () => number;
  /** Where the keys outlive the process, undefined: nowhere. */
  readonly snapshot: SnapshotStore | undefined;
  /** What another set of this issuer and place holds, used until the first fetch is there. */
  readonly inherited: HeldKeySet | undefined;
}

const minute = 60_000;
const longestRefresh = 20 * minute;
const shortestRefresh = minute;
const firstRetry = minute;
const lastRetry = 60 * minute;
const missWhileFailing = 30_000;

/**
 * Starts fetching a key set: at once, then ahead of what its cache headers say, never later than 20 minutes and never sooner than one (less up to 20 % of
 * jitter); after a failure in 1 minute, doubling up to 60 (istio-semantics 2.8), give or take 10 %. Keys that the issuer removed are dropped;
 * while it cannot be reached, the last ones count for 24 hours, those of a snapshot on disk included when it fails from the start.
 */
export function createRemoteKeySet(options: RemoteKeySetOptions): RemoteKeySet {
  const { source, clock, random, timer, inherited } = options;
  const fetchKeys = createKeySetFetch(options);
  const budget = createMissBudget();
  const held = createHeldKeys(options);
  const keep = createKeeper(options);
  let failures = 0;
  let attemptedAt = -Infinity;
  let running = false;
  let cancel = (): void => {};
  const closing = new AbortController();

  const schedule = (delay: number): void => {
    cancel();
    if (!closing.signal.aborted) cancel = timer(() => void attempt(), delay);
  };
  const succeed = (body: string, maxAgeMs = longestRefresh): void => {
    const set = { body, fetchedAt: clock(), restored: false };
    const parsed = held.hold(set);
    if (parsed !== undefined || failures > 0) tellRefreshed(source, usableIn(held.current.keys), parsed?.skipped ?? 0);
    failures = 0;
    keep(set);
    schedule(Math.min(Math.max(maxAgeMs, shortestRefresh), longestRefresh) * (0.8 + 0.2 * random()));
  };
  const fail = async (error: unknown): Promise<void> => {
    failures++;
    schedule(Math.min(firstRetry * 2 ** (failures - 1), lastRetry) * (0.9 + 0.2 * random()));
    if (held.current.from === undefined) await restore(options, held, closing.signal);
    if (!closing.signal.aborted) tellFailed(source, error, held.current.freshUntil > clock());
  };
  const attempt = async (): Promise<void> => {
    if (running || closing.signal.aborted) return;
    running = true;
    attemptedAt = clock();
    try {
      const { body, maxAgeMs } = await fetchKeys(closing.signal);
      if (!closing.signal.aborted) succeed(body, maxAgeMs);
    } catch (error) {
      if (!closing.signal.aborted) await fail(error);
    } finally {
      running = false;
    }
  };
  const isAllowed = (kid: string): boolean => {
    const now = clock();
    // While it fails, only time helps. A clock that went back must not hold it for ever.
    if (failures > 0 || held.current.from === undefined) return now - attemptedAt >= missWhileFailing || now < attemptedAt;
    return budget.allows(kid, now);
  };
  if (inherited !== undefined) held.hold(inherited);
  return remoteKeySet(held, {
    tried: attempt(),
    missed(kid) {
      if (!running && !closing.signal.aborted && isAllowed(kid)) void attempt();
    },
    status: () => statusOf(options, held.current, failures),
    close() {
      closing.abort();
      cancel();
      held.drop();
    },
  });
}

/** The set as its readers see it: always the keys of this moment. */
function remoteKeySet(held: HeldKeys, rest: Pick<RemoteKeySet, 'tried' | 'missed' | 'status' | 'close'>): RemoteKeySet {
  return {
    ...rest,
    get generation() {
      return held.current.generation;
    },
    get keys() {
      return held.current.keys;
    },
    get freshUntil() {
      return held.current.freshUntil;
    },
    held: () => held.current.from,
  };
}

/** Writes sets to the disk, one after the other and in nobody's way. */
function createKeeper({ source, snapshot }: RemoteKeySetOptions): (set: Snapshot) => void {
  let writing = Promise.resolve();
  return ({ body, fetchedAt }) => {
    if (snapshot === undefined) return;
    writing = writing
      .then(() => snapshot.write({ body, fetchedAt }))
      .catch((error: unknown) => tellSnapshotProblem(source, error));
  };
}

/** Takes the set of the disk into use, if there is one that may be. */
async function restore({ source, snapshot, clock }: RemoteKeySetOptions, held: HeldKeys, closing: AbortSignal): Promise<void> {
  try {
    const kept = await snapshot?.read();
    if (kept === undefined || closing.aborted) return;
    if (!isRecent(kept, clock(), staleAfter))
      throw new EnmeshError('ENMESH_JWT_SNAPSHOT', 'its snapshot is older than 24 hours, or of the future');
    held.hold({ ...kept, restored: true });
    tellRestored(source, usableIn(held.current.keys), kept.fetchedAt);
  } catch (error) {
    tellSnapshotProblem(source, error);
  }
}

function statusOf(
  { source, clock }: RemoteKeySetOptions,
  { keys, generation, freshUntil, from }: KeysInUse,
  failures: number,
): KeySetStatus {
  const { issuer } = source;
  const restored = from?.restored ?? false;
  return {
    issuer,
    place: placeOf(source),
    state: stateOf(clock() <= freshUntil, from !== undefined, failures === 0 && !restored),
    keys: usableIn(keys),
    generation,
    fetchedAt: from?.fetchedAt,
    usableUntil: from === undefined ? undefined : freshUntil,
    failures,
    restored,
  };
}

/** A key that may verify nothing only keeps its place in the order of the set. */
const usableIn = (keys: readonly JwtKey[]): number => keys.filter(({ algorithms }) => algorithms.size > 0).length;

function stateOf(usable: boolean, had: boolean, good: boolean): KeySetState {
  if (usable) return good ? 'fresh' : 'stale';
  return had || !good ? 'unavailable' : 'waiting';
}
