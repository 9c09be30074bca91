import { setTimeout as sleep } from 'node:timers/promises';
import { EnmeshError } from '../errors.js';
import type { Stop } from '../identity/source.js';
import type { Workload } from '../identity/workload.js';
import type { ConfigSource } from './directory.js';
import { loadOnce, type InForce, type LoadOutcome, type QuietTimes } from './load.js';
import { createLoadNotices, type LoadNotices } from './notices.js';
import { createValidator, type Validator } from './off-thread.js';
import { runInSlices } from './slices.js';
import type { MeshSnapshot } from './snapshot.js';
import type { MeshResources } from './validate.js';
import { warnForWorkloadInSteps } from './workload-doubts.js';

/** The configuration in force, and its renewal from the source. */
export interface ConfigStore {
  /** The snapshot in force: one pointer, read anew by each connection and request. */
  current(): MeshSnapshot;
  /** Calls `onSwap` after each swap; what it throws is told as a notice and changes nothing. */
  watch(onSwap: (snapshot: MeshSnapshot) => void): Stop;
  /**
   * Reads the source now, without waiting for quiet: whoever calls says that the files are whole. True when a new snapshot is in force;
   * false when the content is the same or was rejected.
   */
  reload(): Promise<boolean>;
  /** Tells that a server of the workload listens, on `port` as policies name it: soon after the last one, ports that nobody listens on are warned of. */
  reportPort(port: number): void;
  /** Ends watching, and the worker. The last snapshot stays readable. */
  close(): Promise<void>;
}

/** How {@link createConfigStore} loads; times are milliseconds. */
export interface ConfigStoreOptions {
  readonly source: ConfigSource;
  readonly workload: Workload;
  /** Default 250 and 2000. */
  readonly quiet?: QuietTimes;
  /** How long the first load waits for files that are being written. Default 10 000. */
  readonly firstLoadMs?: number;
  /** Closed with the store. Default: {@link createValidator}, which uses a worker for big sets. */
  readonly validator?: Validator;
  /** Throws what speaks against valid resources in this process: the set is then rejected like an invalid one. */
  readonly admit?: (resources: MeshResources) => void;
  /** How long after the last server has begun to listen all ports are taken for known. Default 1000. */
  readonly portsKnownMs?: number;
}

/**
 * Loads the configuration and keeps it up to date: a reload reads all, validates all, compiles all and swaps one pointer; on any error the last good
 * snapshot stays. Rejects when the first load fails, with the source's error, `ENMESH_CONFIG_INVALID`, `ENMESH_CONFIG_UNSETTLED` or a compiler's.
 */
export async function createConfigStore(o: ConfigStoreOptions): Promise<ConfigStore> {
  const store = new SourceStore(o);
  try {
    await store.loadFirst(o.firstLoadMs ?? 10_000);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

const noQuiet: QuietTimes = { changedMs: 0, removedMs: 0 };

class SourceStore implements ConfigStore {
  readonly #source: ConfigSource;
  readonly #workload: Workload;
  readonly #quiet: QuietTimes;
  readonly #notices: LoadNotices;
  readonly #validator: Validator;
  readonly #admit: ConfigStoreOptions['admit'];
  readonly #listeners = new Set<(snapshot: MeshSnapshot) => void>();
  readonly #stop: Stop;
  #inForce: InForce | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  readonly #ports = new Set<number>();
  readonly #portsKnownMs: number;
  #portsTimer: NodeJS.Timeout | undefined;
  #isQueued = false;
  #isClosed = false;

  constructor(o: ConfigStoreOptions) {
    this.#source = o.source;
    this.#workload = o.workload;
    this.#quiet = o.quiet ?? { changedMs: 250, removedMs: 2000 };
    this.#notices = createLoadNotices(o.source.label ?? 'configuration');
    this.#validator = o.validator ?? createValidator();
    this.#admit = o.admit;
    this.#portsKnownMs = o.portsKnownMs ?? 1000;
    this.#stop = o.source.watch(() => this.#refreshSoon());
  }

  loadFirst(withinMs: number): Promise<void> {
    return this.#serially(async () => {
      const deadline = performance.now() + withinMs;
      for (;;) {
        const outcome = await this.#attempt(this.#quiet);
        if (outcome.kind === 'rejected') throw outcome.error;
        if (outcome.kind !== 'unsettled') return;
        if (performance.now() > deadline) throw unsettled(this.#source);
        await sleep(outcome.waitMs);
      }
    });
  }

  current(): MeshSnapshot {
    return this.#inForce!.snapshot;
  }

  watch(onSwap: (snapshot: MeshSnapshot) => void): Stop {
    // A function of its own, so that a listener given twice is ended one at a time.
    const listener = (snapshot: MeshSnapshot): void => onSwap(snapshot);
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  reload(): Promise<boolean> {
    return this.#serially(async () => {
      if (this.#isClosed) return false;
      const outcome = await this.#attempt(noQuiet);
      return outcome.kind === 'loaded' && !this.#isClosed;
    });
  }

  reportPort(port: number): void {
    if (this.#isClosed) return;
    this.#ports.add(port);
    clearTimeout(this.#portsTimer);
    const warn = (): void => void this.#serially(() => this.#warnForWorkload());
    this.#portsTimer = setTimeout(warn, this.#portsKnownMs).unref();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#portsTimer);
    this.#stop();
    await this.#validator.close();
    await this.#turn;
  }

  #refreshSoon(): void {
    if (this.#isQueued || this.#isClosed) return;
    this.#isQueued = true;
    void this.#serially(async () => {
      this.#isQueued = false;
      if (this.#isClosed || this.#inForce === undefined) return;
      clearTimeout(this.#timer);
      const outcome = await this.#attempt(this.#quiet);
      if (outcome.kind === 'unsettled' && !this.#isClosed) {
        this.#timer = setTimeout(() => this.#refreshSoon(), outcome.waitMs).unref();
      }
    });
  }

  async #attempt(quiet: QuietTimes): Promise<LoadOutcome> {
    const startedAt = performance.now();
    const outcome = await loadOnce({
      source: this.#source,
      workload: this.#workload,
      validate: (files) => this.#validator.validate(files),
      quiet,
      inForce: this.#inForce,
      admit: this.#admit,
    });
    if (this.#isClosed) return outcome;
    if (outcome.kind === 'unchanged') this.#notices.restored();
    if (outcome.kind === 'rejected' && this.#inForce !== undefined) this.#notices.rejected(outcome.error, outcome.fingerprint);
    if (outcome.kind === 'loaded') {
      this.#inForce = outcome;
      this.#notices.loaded(outcome.snapshot, outcome.problems, outcome.files, Math.round(performance.now() - startedAt));
      this.#tell(outcome.snapshot);
      await this.#warnForWorkload();
    }
    return outcome;
  }

  /** After the swap: a doubt delays nothing, and whatever fails here changes nothing. */
  async #warnForWorkload(): Promise<void> {
    if (this.#isClosed || this.#inForce === undefined) return;
    const ports = this.#ports.size === 0 ? undefined : [...this.#ports];
    try {
      const { resources } = this.#inForce.snapshot;
      this.#notices.doubted(await runInSlices(warnForWorkloadInSteps(resources, this.#workload, { ports })));
    } catch (error) {
      this.#notices.listenerFailed(error, 'looking for doubtful documents');
    }
  }

  #tell(snapshot: MeshSnapshot): void {
    for (const listener of this.#listeners) {
      try {
        listener(snapshot);
      } catch (error) {
        this.#notices.listenerFailed(error);
      }
    }
  }

  #serially<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

function unsettled(source: ConfigSource): EnmeshError {
  const label = source.label ?? 'configuration';
  return new EnmeshError('ENMESH_CONFIG_UNSETTLED', `${label} did not come to rest: its files are being written all the time`);
}
