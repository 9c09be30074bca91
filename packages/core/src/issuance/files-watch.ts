import { watch, type FSWatcher } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

// The kernel's watches are few and shared by the user's programs; what lies in further folders is left to the poll.
const maxFolders = 16;

/** Watches over the folders of some files. */
export interface FolderWatches {
  /**
   * Watches the folders of these files from now on, and where symbolic links lead. Watching single files goes silent after Kubernetes' first `..data`
   * swap, so only folders are watched. Resolves true when a watch was begun: what changed before it stood was told by nobody.
   */
  follow(paths: readonly string[]): Promise<boolean>;
  close(): void;
}

/** Creates watches that call `onEvent` when something in a followed folder may have changed. They never keep the process alive and never throw. */
export function createFolderWatches(onEvent: () => void): FolderWatches {
  const watchers = new Map<string, FSWatcher>();
  let isClosed = false;

  const end = (key: string): void => {
    watchers.get(key)?.close();
    watchers.delete(key);
  };
  const begin = (key: string, folder: string): boolean => {
    try {
      const watcher = watch(folder, { persistent: false }, (event, name) => {
        // So the kernel says that the folder itself is gone: this watch is dead even if another appears under the name.
        if (event === 'rename' && name === basename(folder)) end(key);
        onEvent();
      });
      watcher.on('error', () => {
        end(key);
        onEvent();
      });
      watchers.set(key, watcher);
      return true;
    } catch {
      // Gone again, or the kernel's watches are used up: the poll is left.
      return false;
    }
  };

  return {
    async follow(paths) {
      const wanted = await foldersOf(paths);
      if (isClosed) return false;
      for (const key of watchers.keys()) if (!wanted.has(key)) end(key);
      let isNew = false;
      for (const [key, folder] of wanted) if (!watchers.has(key)) isNew = begin(key, folder) || isNew;
      return isNew;
    },
    close() {
      isClosed = true;
      for (const key of [...watchers.keys()]) end(key);
    },
  };
}

async function foldersOf(paths: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const folders = new Set<string>();
  for (const path of paths) {
    folders.add(dirname(path));
    const real = await realpath(path).catch(() => undefined);
    if (real !== undefined) folders.add(dirname(real));
  }
  const wanted = new Map<string, string>();
  for (const folder of [...folders].slice(0, maxFolders)) {
    const key = await keyOf(folder);
    if (key !== undefined && ![...wanted.keys()].includes(key)) wanted.set(key, folder);
  }
  return wanted;
}

// A folder made anew under its old name may get its old number; its birth tells the two apart.
async function keyOf(folder: string): Promise<string | undefined> {
  return stat(folder, { bigint: true }).then(
    (stats) => (stats.isDirectory() ? `${stats.dev}:${stats.ino}:${stats.birthtimeNs}` : undefined),
    () => undefined,
  );
}
