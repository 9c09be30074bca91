import { EnmeshError } from '../errors.js';
import { createAuthoritiesFile } from '../x509/authorities-file.js';
import { fetchText as ownFetchText, type FetchText } from './fetch-text.js';
import type { RemoteKeySource } from './key-set-fetch.js';
import { tellInsecure } from './key-set-notices.js';
import { createSnapshotStore } from './key-set-snapshot.js';
import {
  createRemoteKeySet,
  type HeldKeySet,
  type KeySet,
  type KeySetStatus,
  type RemoteKeySet,
  type Timer,
} from './remote-key-set.js';
import type { JwtRule, JwtRuleSet } from './rules.js';

export type { KeySet, KeySetState, KeySetStatus } from './remote-key-set.js';

/** How key sets are fetched. `clock` is in ms since the epoch; `random` is in [0, 1) and spreads the fetches; `timer` keeps no process alive. */
export interface KeySetsOptions {
  /** Whether enmesh.yaml allows plain http for this issuer (`jwks: {"<issuer>": {insecureHttp: true}}`). */
  readonly insecureHttp: (issuer: string) => boolean;
  /** The file of the authorities of the servers that give this issuer's keys (`caFile`), read at each fetch; undefined, and by default, the system's. */
  readonly caFile?: (issuer: string) => string | undefined;
  /** Whether `fetchText` reaches this host by mutual TLS, so that `http://` is secure. Ignored without a `fetchText`. */
  readonly isMeshHost?: (host: string, port: number) => boolean;
  /** Default: a connection of our own, with the limits of `fetch-text.ts`. */
  readonly fetchText?: FetchText;
  /** A directory where fetched sets are kept for a restart while their issuer is down; default: none. Whoever may write there can sign tokens. */
  readonly snapshotDirectory?: string;
  readonly clock?: () => number;
  readonly random?: () => number;
  readonly timer?: Timer;
}

/** The key sets of all rules in force. */
export interface KeySets {
  /** Makes these the rules in force: starts fetching new sets in the background, keeps those still used, closes those that nobody uses. */
  use(rules: JwtRuleSet): void;
  /**
   * Resolves when every set in use was tried once, whatever came of it, or after 10 seconds: keys that cannot be had refuse tokens, not the service,
   * and an issuer that does not answer keeps nobody waiting.
   */
  ready(): Promise<void>;
  /** How each fetched set in use stands. */
  status(): readonly KeySetStatus[];
  /** The keys of one rule; empty for a rule that is not in use. */
  of(rule: JwtRule): KeySet;
  /** Ends all fetching. */
  close(): void;
}

const readyWithin = 10_000;
const unknownSet: KeySet = Object.freeze({ generation: 0, keys: [], freshUntil: -Infinity, missed: () => {} });

/** Creates the holder of the key sets (istio-semantics 2.8, 2.10). Nothing is fetched before {@link KeySets.use}. */
export function createKeySets(options: KeySetsOptions): KeySets {
  const { insecureHttp, isMeshHost, fetchText, clock = Date.now, random = Math.random, timer = idleTimer } = options;
  const { snapshotDirectory, caFile } = options;
  const remote = new Map<string, RemoteKeySet>();
  let sources: ReadonlyMap<string, RemoteKeySource> = new Map();
  const inline = new WeakMap<JwtRule, KeySet>();
  const told = new Set<string>();
  let closed = false;
  const allowsHttp = (issuer: string): boolean => {
    const allowed = insecureHttp(issuer) === true;
    if (allowed && !told.has(issuer)) tellInsecure(issuer);
    if (allowed) told.add(issuer);
    return allowed;
  };
  const start = (source: RemoteKeySource): RemoteKeySet =>
    createRemoteKeySet({
      source,
      inherited: heldFor(source),
      insecureHttp: allowsHttp,
      authorities: authoritiesOf(source.issuer, caFile),
      isMeshHost: (fetchText && isMeshHost) ?? (() => false),
      fetchText: fetchText ?? ownFetchText,
      clock,
      random,
      timer,
      snapshot: snapshotDirectory === undefined ? undefined : createSnapshotStore(snapshotDirectory, source),
    });
  /** What a set of the same issuer and place holds: a rule whose timeout was changed, perhaps because the issuer is slow, must not lose its keys. */
  const heldFor = ({ issuer, uri }: RemoteKeySource): HeldKeySet | undefined =>
    [...remote].find(([id]) => sources.get(id)?.issuer === issuer && sources.get(id)?.uri === uri)?.[1].held();
  const keep = (used: ReadonlyMap<string, unknown>): void => {
    for (const [id, set] of remote) {
      if (used.has(id)) continue;
      remote.delete(id);
      set.close();
    }
  };
  return {
    use({ rules }) {
      if (closed) return;
      const used = new Map(rules.flatMap(({ keySource }) => (keySource.kind === 'remote' ? [[keySource.id, keySource]] : [])));
      for (const [id, source] of used) if (!remote.has(id)) remote.set(id, start(source));
      keep(used);
      sources = used;
    },
    async ready() {
      let cancel = (): void => {};
      const late = new Promise<void>((done) => (cancel = timer(done, readyWithin)));
      await Promise.race([late, Promise.all([...remote.values()].map((set) => set.tried))]);
      cancel();
    },
    status: () => [...remote.values()].map((set) => set.status()),
    of(rule) {
      const { keySource } = rule;
      if (keySource.kind === 'remote') return remote.get(keySource.id) ?? unknownSet;
      let set = inline.get(rule);
      if (set === undefined)
        inline.set(rule, (set = { generation: 1, keys: keySource.keys, freshUntil: Infinity, missed: () => {} }));
      return set;
    },
    close() {
      closed = true;
      keep(new Map());
    },
  };
}

function authoritiesOf(issuer: string, caFile: KeySetsOptions['caFile']): (() => Promise<string>) | undefined {
  const path = caFile?.(issuer);
  if (path === undefined) return undefined;
  return createAuthoritiesFile(
    path,
    (reason) => new EnmeshError('ENMESH_JWT_FETCH_FAILED', `the caFile of this issuer ${reason}`),
  );
}

const idleTimer: Timer = (run, ms) => {
  const handle = setTimeout(run, ms).unref();
  return () => clearTimeout(handle);
};
