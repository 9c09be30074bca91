import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { EnmeshError } from '../errors.js';

interface Holder {
  readonly pid: number;
  readonly host: string;
  readonly token: string;
}

// Whoever holds the lock writes two small files; after this long it has died or stands still, and the work is safe to repeat.
const staleAfterMs = 30_000;
const pauseMs = 20;

/**
 * Runs `work` while holding a lock file, so that it runs in one process of this machine at a time. The lock of a process that has died is taken over.
 * `work` must still be safe if a stalled holder wakes up beside it. Throws `ENMESH_ISSUANCE_LOCKED` after `waitMs` (default 35 s).
 */
export async function withLock<T>(path: string, work: () => Promise<T>, options: { readonly waitMs?: number } = {}): Promise<T> {
  const holder: Holder = { pid: process.pid, host: hostname(), token: randomUUID() };
  const deadline = performance.now() + (options.waitMs ?? 35_000);
  while (!(await tryTake(path, holder))) {
    if (await isStale(path)) await takeAway(path);
    else if (performance.now() > deadline) throw await lockedError(path);
    else await pause(pauseMs);
  }
  try {
    return await work();
  } finally {
    await release(path, holder);
  }
}

async function tryTake(path: string, holder: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(holder), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(path: string): Promise<boolean> {
  const age =
    Date.now() -
    (await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => Date.now(),
    ));
  if (age > staleAfterMs) return true;
  const holder = await readHolder(path);
  return holder !== undefined && holder.host === hostname() && !isAlive(holder.pid);
}

/** Two processes may find the same stale lock: renamed to a name of its own it goes to one of them only. */
async function takeAway(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  await rename(path, aside).catch(() => {});
  await rm(aside, { force: true });
}

async function release(path: string, holder: Holder): Promise<void> {
  const present = await readHolder(path);
  if (present?.token === holder.token) await rm(path, { force: true });
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isHolder(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

function isHolder(value: unknown): value is Holder {
  const { pid, host, token } = (value ?? {}) as Partial<Record<keyof Holder, unknown>>;
  return Number.isInteger(pid) && (pid as number) > 0 && typeof host === 'string' && typeof token === 'string';
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

async function lockedError(path: string): Promise<EnmeshError> {
  const holder = await readHolder(path);
  const who = holder === undefined ? 'an unknown process' : `process ${holder.pid} on ${holder.host}`;
  return new EnmeshError('ENMESH_ISSUANCE_LOCKED', `${path} is held by ${who}; delete the file if that is not running`);
}
