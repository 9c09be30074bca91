import { watch, type FSWatcher } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Stop } from '../identity/source.js';
import { isConfigName, ownFolder, type DirectoryScan } from './scan.js';
import type { Touch } from './settle.js';

/** How a configuration directory is watched. Times are milliseconds. */
export interface WatchOptions {
  readonly path: string;
  readonly scan: () => Promise<DirectoryScan>;
  /** Called when something may have changed; a reader finds out whether anything did. */
  readonly onChange: () => void;
  /** Told of each event of a configuration file, by its real path. */
  readonly onTouch?: (path: string, touch: Touch) => void;
  /** How often the directory is looked at without any event, for file systems that send none. Default 2000. */
  readonly pollMs?: number;
  /** Events closer together than this are told once. Default 20. */
  readonly throttleMs?: number;
}

/** A watch under way; `ready` resolves when every change from then on is heard, as far as the file system tells of changes. */
export interface Watching {
  readonly ready: Promise<void>;
  readonly stop: Stop;
}

// The kernel's watches are few and shared by the user's programs; what is behind further symbolic links is left to the poll.
const maxFolders = 32;

/**
 * Watches a configuration directory: the directory itself, `enmesh/` in it, where symbolic links lead, and the parent, so that a directory which is
 * deleted and made anew is found again. Watching single files goes silent after Kubernetes' first `..data` swap, so only directories are.
 * A slow poll catches what no event told. Never keeps the process alive.
 */
export function watchDirectory(o: WatchOptions): Watching {
  const watching = new DirectoryWatch(o);
  const ready = new Promise<void>((resolve) => watching.start(resolve));
  return { ready, stop: () => watching.close() };
}

class DirectoryWatch {
  readonly #options: WatchOptions;
  readonly #pollMs: number;
  readonly #throttleMs: number;
  readonly #watchers = new Map<string, FSWatcher>();
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;
  #isChecking = false;
  #isClosed = false;
  #wasHeard = true;
  #lastSignature = '';
  #onReady: (() => void) | undefined;

  constructor(o: WatchOptions) {
    this.#options = o;
    this.#pollMs = o.pollMs ?? 2000;
    this.#throttleMs = o.throttleMs ?? 20;
  }

  start(onReady: () => void): void {
    this.#onReady = onReady;
    void this.#check();
  }

  close(): void {
    this.#isClosed = true;
    this.#onReady?.();
    clearTimeout(this.#timer);
    for (const key of this.#watchers.keys()) this.#unfollow(key);
  }

  checkIn(ms: number): void {
    const at = performance.now() + ms;
    if (this.#isClosed || this.#isChecking || at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(() => void this.#check(), ms).unref();
  }

  async #check(): Promise<void> {
    this.#dueAt = Infinity;
    this.#isChecking = true;
    const startedAt = performance.now();
    const wasHeard = this.#wasHeard;
    this.#wasHeard = false;
    const { signature, folders } = await look(this.#options);
    const wanted = await wantedFolders(this.#options.path, folders);
    this.#isChecking = false;
    if (this.#isClosed) return;
    const isNew = this.#followOnly(wanted);
    this.#onReady?.();
    const isChanged = wasHeard || signature !== this.#lastSignature;
    this.#lastSignature = signature;
    // What happened before a new watch stood was told by nobody, hence one more look.
    if (isNew) this.#wasHeard = true;
    const pollMs = Math.max(this.#pollMs, 50 * (performance.now() - startedAt));
    this.checkIn(this.#wasHeard ? this.#throttleMs : pollMs);
    if (isChanged) this.#options.onChange();
  }

  #followOnly(wanted: ReadonlyMap<string, WantedFolder>): boolean {
    for (const key of this.#watchers.keys()) if (!wanted.has(key)) this.#unfollow(key);
    let isNew = false;
    for (const [key, folder] of wanted) if (!this.#watchers.has(key)) isNew = this.#follow(key, folder) || isNew;
    return isNew;
  }

  #follow(key: string, { path, isRelevant }: WantedFolder): boolean {
    try {
      const watcher = watch(path, { persistent: false }, (event, name) => {
        // So the kernel says that the directory itself is gone: this watch is dead even if another appears under the name.
        if (event === 'rename' && name === basename(path)) this.#unfollow(key);
        if (!isRelevant(name)) return;
        if (name !== null) this.#options.onTouch?.(join(path, name), event === 'rename' ? 'moved' : 'written');
        this.#hear();
      });
      watcher.on('error', () => {
        this.#unfollow(key);
        this.#hear();
      });
      this.#watchers.set(key, watcher);
      return true;
    } catch {
      // No such directory any more, or the kernel's watches are used up: the poll is left.
      return false;
    }
  }

  #unfollow(key: string): void {
    this.#watchers.get(key)?.close();
    this.#watchers.delete(key);
  }

  #hear(): void {
    this.#wasHeard = true;
    this.checkIn(this.#throttleMs);
  }
}

interface WantedFolder {
  readonly path: string;
  readonly isRelevant: (name: string | null) => boolean;
}

interface Look {
  /** Every file's place and marks, or the failure to look: what the poll compares. */
  readonly signature: string;
  readonly folders: readonly string[];
}

async function look(o: WatchOptions): Promise<Look> {
  try {
    const { files, folders, ignored } = await o.scan();
    const marks = files.map(({ name, real, mark }) =>
      [name, real, mark.identity, mark.size, mark.mtimeNs, mark.ctimeNs].join(' '),
    );
    return { signature: [...marks, ...ignored].join('\n'), folders: folders.slice(0, maxFolders) };
  } catch (error) {
    const real = await realpath(o.path).catch(() => undefined);
    return { signature: String(error), folders: real === undefined ? [] : [real] };
  }
}

async function wantedFolders(path: string, folders: readonly string[]): Promise<ReadonlyMap<string, WantedFolder>> {
  const full = resolve(path);
  const wanted = new Map<string, WantedFolder>();
  const want = async (role: string, folder: string, isRelevant: (name: string | null) => boolean): Promise<void> => {
    const key = await keyOf(folder);
    if (key !== undefined) wanted.set(`${role} ${key} ${folder}`, { path: folder, isRelevant });
  };
  await want('parent', dirname(full), (name) => name === null || name === basename(full));
  for (const folder of folders) {
    await want(
      'folder',
      folder,
      (name) => name === null || isConfigName(name) || name.startsWith('..') || name === ownFolder || name === basename(folder),
    );
  }
  return wanted;
}

// A directory made anew under its old name may get its old number; its birth tells the two apart.
async function keyOf(folder: string): Promise<string | undefined> {
  return stat(folder, { bigint: true }).then(
    (stats) => (stats.isDirectory() ? `${stats.dev}:${stats.ino}:${stats.birthtimeNs}` : undefined),
    () => undefined,
  );
}
