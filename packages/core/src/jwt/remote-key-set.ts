import { EnmeshError } from '../errors.js';
import { parseKeySet, type JwtKey, type ParsedKeySet } from './jwk.js';
import { createKeySetFetch, type KeySetFetchOptions } from './key-set-fetch.js';
import { placeOf, tellExpired, tellFailed, tellRefreshed, tellRestored, tellSnapshotProblem } from './key-set-notices.js';
import type { KeySetSnapshot, SnapshotStore } from './key-set-snapshot.js';
import { createMissBudget } from './miss-budget.js';

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
  readonly fetchedAt: number | undefined;
  readonly usableUntil: number | undefined;
  /** Fetches that failed since the last good one. */
  readonly failures: number;
  /** Whether the keys in use were read from the disk. */
  readonly restored: boolean;
}

/** A key set in use, as it was fetched. */
export interface HeldKeySet extends KeySetSnapshot {
  /** Whether it was read from the disk. */
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
const staleAfter = 24 * 60 * minute;
const snapshotSkew = minute;

interface State {
  readonly generation: number;
  readonly keys: readonly JwtKey[];
  readonly freshUntil: number;
  readonly body: string;
  readonly fetchedAt: number | undefined;
  readonly restored: boolean;
}

const nothing = { keys: [], freshUntil: -Infinity, body: '', fetchedAt: undefined, restored: false } as const;

/**
 * Starts fetching a key set: at once, then ahead of what its cache headers say, never later than 20 minutes and never sooner than one (less up to 20 % of
 * jitter); after a failure in 1 minute, doubling up to 60 (istio-semantics 2.8), give or take 10 %. Keys that the issuer removed are dropped;
 * while it cannot be reached, the last ones count for 24 hours, those of a snapshot on disk included when it fails from the start.
 */
export function createRemoteKeySet(options: RemoteKeySetOptions): RemoteKeySet {
  const { source, clock, random, timer, snapshot } = options;
  const fetchKeys = createKeySetFetch(options);
  const budget = createMissBudget();
  let state: State = { generation: 0, ...nothing };
  let failures = 0;
  let attemptedAt = -Infinity;
  let running = false;
  let cancelFetch = (): void => {};
  let cancelExpiry = (): void => {};
  let writing = Promise.resolve();
  const closing = new AbortController();

  const schedule = (delay: number): void => {
    cancelFetch();
    if (!closing.signal.aborted) cancelFetch = timer(() => void attempt(), delay);
  };
  const hold = (body: string, fetchedAt: number, restored: boolean): ParsedKeySet | undefined => {
    const parsed = body === state.body ? undefined : parseFetched(body);
    const { generation, keys } = parsed === undefined ? state : { generation: state.generation + 1, keys: parsed.keys };
    state = { generation, keys, freshUntil: fetchedAt + staleAfter, body, fetchedAt, restored };
    cancelExpiry();
    cancelExpiry = timer(() => tellExpired(source), state.freshUntil - clock() + 1);
    return parsed;
  };
  const succeed = (body: string, maxAgeMs: number | undefined): void => {
    const fetchedAt = clock();
    const parsed = hold(body, fetchedAt, false);
    if (parsed !== undefined || failures > 0) tellRefreshed(source, state.keys.length, parsed?.skipped ?? 0);
    failures = 0;
    keep({ body, fetchedAt });
    schedule(Math.min(Math.max(maxAgeMs ?? longestRefresh, shortestRefresh), longestRefresh) * (0.8 + 0.2 * random()));
  };
  const keep = (kept: KeySetSnapshot): void => {
    if (snapshot !== undefined)
      writing = writing.then(() => snapshot.write(kept)).catch((error: unknown) => tellSnapshotProblem(source, error));
  };
  const restore = async (): Promise<void> => {
    if (snapshot === undefined || state.freshUntil !== -Infinity) return;
    try {
      const kept = await snapshot.read();
      if (kept === undefined || closing.signal.aborted) return;
      const age = clock() - kept.fetchedAt;
      if (!(age >= -snapshotSkew && age <= staleAfter))
        throw new EnmeshError('ENMESH_JWT_SNAPSHOT', 'its snapshot is older than 24 hours, or of the future');
      hold(kept.body, kept.fetchedAt, true);
      tellRestored(source, state.keys.length, kept.fetchedAt);
    } catch (error) {
      tellSnapshotProblem(source, error);
    }
  };
  const fail = async (error: unknown): Promise<void> => {
    failures++;
    schedule(Math.min(firstRetry * 2 ** (failures - 1), lastRetry) * (0.9 + 0.2 * random()));
    await restore();
    if (!closing.signal.aborted) tellFailed(source, error, state.freshUntil > clock());
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
    if (failures > 0 || state.fetchedAt === undefined) return now - attemptedAt >= missWhileFailing || now < attemptedAt;
    return budget.allows(kid, now);
  };
  if (options.inherited !== undefined) hold(options.inherited.body, options.inherited.fetchedAt, options.inherited.restored);
  const tried = attempt();
  return {
    tried,
    get generation() {
      return state.generation;
    },
    get keys() {
      return state.keys;
    },
    get freshUntil() {
      return state.freshUntil;
    },
    missed(kid) {
      if (!running && !closing.signal.aborted && isAllowed(kid)) void attempt();
    },
    status: () => statusOf(options, state, failures),
    held() {
      const { body, fetchedAt, restored } = state;
      return fetchedAt === undefined ? undefined : { body, fetchedAt, restored };
    },
    close() {
      closing.abort();
      cancelFetch();
      cancelExpiry();
      // Whoever still holds a verdict made with these keys has to ask again.
      state = { generation: state.generation + 1, ...nothing };
    },
  };
}

/** A private key that lies open is everybody's: the set that shows it is not used at all. */
function parseFetched(body: string): ParsedKeySet {
  const parsed = parseKeySet(body);
  if (parsed.privateKeys === 0) return parsed;
  const message = 'it holds a private key, so whoever reads it can sign tokens; the issuer must replace that key';
  throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', message);
}

function statusOf({ source, clock }: RemoteKeySetOptions, state: State, failures: number): KeySetStatus {
  const { keys, fetchedAt, freshUntil, restored } = state;
  const usable = clock() <= freshUntil;
  const kind = usable
    ? failures === 0 && !restored
      ? 'fresh'
      : 'stale'
    : failures === 0 && fetchedAt === undefined
      ? 'waiting'
      : 'unavailable';
  const { issuer } = source;
  const usableUntil = freshUntil === -Infinity ? undefined : freshUntil;
  return { issuer, place: placeOf(source), state: kind, keys: keys.length, fetchedAt, usableUntil, failures, restored };
}
