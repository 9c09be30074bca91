import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { EnmeshError } from '../errors.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** Keys as they were fetched: the very text, and when (ms since the epoch). */
export interface Snapshot {
  readonly body: string;
  readonly fetchedAt: number;
}

/** Where fetched keys outlive the process. */
export interface SnapshotStore {
  /** What was kept, undefined when nothing was. Rejects with a `problem` when it is not ours, not private, or not what was written. */
  read(): Promise<Snapshot | undefined>;
  /** Replaces what was kept, whole or not at all. Rejects with a `problem`. */
  write(snapshot: Snapshot): Promise<void>;
}

/** What a snapshot is of, and its bounds. */
export interface SnapshotFileOptions {
  readonly directory: string;
  /** Whose keys, and from where: what is read back must name the same. */
  readonly of: Readonly<Record<string, string>>;
  readonly maxBodyBytes: number;
  /** Makes the error of a sentence that begins with "its snapshot". */
  readonly problem: (message: string) => EnmeshError;
}

/** Whether a snapshot is young enough to be taken into use: of a minute of the future too, as clocks differ. */
export function isRecent({ fetchedAt }: Snapshot, now: number, maxAgeMs: number): boolean {
  const age = now - fetchedAt;
  return age >= -60_000 && age <= maxAgeMs;
}

/**
 * Keeps fetched keys in a file of their own: readable by nobody else (mode 0600, in a directory 0700), written beside and renamed. What is read
 * back must belong to this user, be writable by no other, and name whose it is: whoever could write it could speak for its owner.
 */
export function createSnapshotFile({ directory, of, maxBodyBytes, problem }: SnapshotFileOptions): SnapshotStore {
  const name = createHash('sha256')
    .update(JSON.stringify(Object.values(of)))
    .digest('hex')
    .slice(0, 32);
  const path = join(directory, `${name}.json`);
  return {
    async read() {
      // A body may need twice its length inside a JSON string, and some.
      const text = await readPrivate(path, 2 * maxBodyBytes + 4096, problem);
      return text === undefined ? undefined : parseSnapshot(text, of, problem);
    },
    async write({ body, fetchedAt }) {
      const text = JSON.stringify({ version: 1, ...of, fetchedAt, body });
      const beside = `${path}.${randomUUID()}`;
      try {
        await mkdir(directory, { recursive: true, mode: 0o700 });
        await writePrivate(beside, text);
        await rename(beside, path);
      } catch (cause) {
        await rm(beside, { force: true }).catch(() => {});
        throw problem(`its snapshot cannot be written (${nameOf(cause)})`);
      }
    },
  };
}

async function writePrivate(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text, 'utf8');
    // A rename may reach the disk before what it names.
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readPrivate(path: string, maxBytes: number, problem: Problem): Promise<string | undefined> {
  const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
  let file;
  try {
    file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw problem(`its snapshot cannot be read (${nameOf(cause)})`);
  }
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw problem('its snapshot is no file');
    // Windows has neither owner nor mode in this sense.
    const user = process.getuid?.();
    if (user !== undefined && (facts.uid !== user || (facts.mode & 0o077) !== 0))
      throw problem('its snapshot belongs to, or is open to, another user');
    if (facts.size > maxBytes) throw problem('its snapshot is too large');
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function parseSnapshot(text: string, of: SnapshotFileOptions['of'], problem: Problem): Snapshot {
  let value: unknown;
  try {
    value = parseStrictJson(text);
  } catch {
    throw problem('its snapshot is damaged');
  }
  if (!isJsonObject(value) || value['version'] !== 1) throw problem('its snapshot is damaged');
  if (Object.entries(of).some(([name, said]) => value[name] !== said)) throw problem('its snapshot is of other keys');
  const { body, fetchedAt } = value;
  if (typeof body !== 'string' || typeof fetchedAt !== 'number') throw problem('its snapshot is damaged');
  return { body, fetchedAt };
}

type Problem = SnapshotFileOptions['problem'];

const nameOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? 'unknown error';
