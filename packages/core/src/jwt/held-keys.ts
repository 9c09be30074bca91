import { EnmeshError } from '../errors.js';
import { parseKeySet, type JwtKey, type ParsedKeySet } from './jwk.js';
import type { RemoteKeySource, Timer } from './key-set-fetch.js';
import { tellExpired } from './key-set-notices.js';
import type { Snapshot } from './snapshot-file.js';

/** A key set in use, as it was fetched. */
export interface HeldKeySet extends Snapshot {
  /** Whether it was read from the disk. */
  readonly restored: boolean;
}

/** The keys in use; after `freshUntil` (ms, -Infinity while there never were any) they no longer count. `generation` changes whenever `keys` does. */
export interface KeysInUse {
  readonly generation: number;
  readonly keys: readonly JwtKey[];
  readonly freshUntil: number;
  readonly from: HeldKeySet | undefined;
}

/** The keys of one fetched set and how long they count. */
export interface HeldKeys {
  readonly current: KeysInUse;
  /** Takes a set into use. Answers what is new in it, undefined when it is what was held. Throws `ENMESH_JWT_KEY_SET_INVALID`, and holds what it held. */
  hold(set: HeldKeySet): ParsedKeySet | undefined;
  /** Lets everything go: whoever still holds a verdict made with these keys has to ask again. */
  drop(): void;
}

/** How long keys count without a new fetch, in milliseconds. */
export const staleAfter = 24 * 60 * 60_000;

/** Creates a holder of keys that tells when they have become too old. */
export function createHeldKeys(options: { source: RemoteKeySource; clock: () => number; timer: Timer }): HeldKeys {
  const { source, clock, timer } = options;
  let current: KeysInUse = { generation: 0, keys: [], freshUntil: -Infinity, from: undefined };
  let cancel = (): void => {};
  return {
    get current() {
      return current;
    },
    hold(from) {
      const parsed = from.body === current.from?.body ? undefined : parseFetched(from.body);
      const { generation, keys } = parsed === undefined ? current : { generation: current.generation + 1, keys: parsed.keys };
      current = { generation, keys, freshUntil: from.fetchedAt + staleAfter, from };
      cancel();
      cancel = timer(() => tellExpired(source), current.freshUntil - clock() + 1);
      return parsed;
    },
    drop() {
      cancel();
      current = { generation: current.generation + 1, keys: [], freshUntil: -Infinity, from: undefined };
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
