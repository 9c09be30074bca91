import { noticeEvents } from '../telemetry/events.js';
import { fetchText as ownFetchText, type FetchText } from './fetch-text.js';
import { createRemoteKeySet, type KeySet, type RemoteKeySet, type Timer } from './remote-key-set.js';
import type { JwtRule, JwtRuleSet } from './rules.js';

export type { KeySet } from './remote-key-set.js';

/** How key sets are fetched. `clock` is in ms since the epoch; `random` is in [0, 1) and spreads the fetches; `timer` keeps no process alive. */
export interface KeySetsOptions {
  /** Whether enmesh.yaml allows plain http for this issuer (`jwks: {"<issuer>": {insecureHttp: true}}`). */
  readonly insecureHttp: (issuer: string) => boolean;
  /** Whether `fetchText` reaches this host by mutual TLS, so that `http://` is secure. Ignored without a `fetchText`. */
  readonly isMeshHost?: (host: string, port: number) => boolean;
  /** Default: a connection of our own, with the limits of `fetch-text.ts`. */
  readonly fetchText?: FetchText;
  readonly clock?: () => number;
  readonly random?: () => number;
  readonly timer?: Timer;
}

/** The key sets of all rules in force. */
export interface KeySets {
  /** Makes these the rules in force: starts fetching new sets in the background, keeps those still used, closes those that nobody uses. */
  use(rules: JwtRuleSet): void;
  /** Resolves when every set in use was tried once, whatever came of it: keys that cannot be had refuse tokens, not the service. */
  ready(): Promise<void>;
  /** The keys of one rule; empty for a rule that is not in use. */
  of(rule: JwtRule): KeySet;
  /** Ends all fetching. */
  close(): void;
}

const unknownSet: KeySet = Object.freeze({ generation: 0, keys: [], freshUntil: -Infinity, missed: () => {} });

/** Creates the holder of the key sets (istio-semantics 2.8, 2.10). Nothing is fetched before {@link KeySets.use}. */
export function createKeySets(options: KeySetsOptions): KeySets {
  const { insecureHttp, isMeshHost, fetchText, clock = Date.now, random = Math.random, timer = idleTimer } = options;
  const remote = new Map<string, RemoteKeySet>();
  const inline = new WeakMap<JwtRule, KeySet>();
  const told = new Set<string>();
  let closed = false;
  const allowsHttp = (issuer: string): boolean => {
    const allowed = insecureHttp(issuer) === true;
    if (allowed && !told.has(issuer)) tellInsecure(issuer);
    if (allowed) told.add(issuer);
    return allowed;
  };
  const start = (source: Extract<JwtRule['keySource'], { kind: 'remote' }>): RemoteKeySet =>
    createRemoteKeySet({
      source,
      insecureHttp: allowsHttp,
      isMeshHost: (fetchText && isMeshHost) ?? (() => false),
      fetchText: fetchText ?? ownFetchText,
      clock,
      random,
      timer,
    });
  const keep = (used: ReadonlySet<string>): void => {
    for (const [id, set] of remote) {
      if (used.has(id)) continue;
      remote.delete(id);
      set.close();
    }
  };
  return {
    use({ rules }) {
      if (closed) return;
      const sources = new Map(rules.flatMap(({ keySource }) => (keySource.kind === 'remote' ? [[keySource.id, keySource]] : [])));
      keep(new Set(sources.keys()));
      for (const [id, source] of sources) if (!remote.has(id)) remote.set(id, start(source));
    },
    async ready() {
      await Promise.all([...remote.values()].map((set) => set.tried));
    },
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
      keep(new Set());
    },
  };
}

const idleTimer: Timer = (run, ms) => {
  const handle = setTimeout(run, ms).unref();
  return () => clearTimeout(handle);
};

function tellInsecure(issuer: string): void {
  if (!noticeEvents.hasSubscribers) return;
  const message = `keys of issuer ${JSON.stringify(issuer)} are fetched over plain http: whoever can change them on the way can sign tokens`;
  noticeEvents.publish({ kind: 'insecure-option', level: 'warn', message, details: { issuer } });
}
