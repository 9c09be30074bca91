import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError } from '../errors.js';
import { maxFetchedBytes } from './fetch-text.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';
import type { RemoteKeySource } from './key-set-fetch.js';

/** A key set as it was fetched: the very text, and when (ms since the epoch). */
export interface KeySetSnapshot {
  readonly body: string;
  readonly fetchedAt: number;
}

/** Where the key sets of one issuer outlive the process. */
export interface SnapshotStore {
  /** What was kept, undefined when nothing was. Rejects with `ENMESH_JWT_SNAPSHOT` when it is not ours, not private, or not what was written. */
  read(): Promise<KeySetSnapshot | undefined>;
  /** Replaces what was kept, whole or not at all. Rejects with `ENMESH_JWT_SNAPSHOT`. */
  write(snapshot: KeySetSnapshot): Promise<void>;
}

// A body may need twice its length inside a JSON string, and some.
const maxFileBytes = 2 * maxFetchedBytes + 4096;

/**
 * Keeps the key set of a source in a file of its own: readable by nobody else (mode 0600, in a directory 0700), written beside and renamed. What is read
 * back must belong to this user, be writable by no other, and name its issuer and place: whoever could write it could sign tokens.
 */
export function createSnapshotStore(directory: string, { issuer, uri = '' }: RemoteKeySource): SnapshotStore {
  const name = createHash('sha256')
    .update(JSON.stringify([issuer, uri]))
    .digest('hex')
    .slice(0, 32);
  const path = join(directory, `${name}.json`);
  return {
    async read() {
      const text = await readPrivate(path);
      return text === undefined ? undefined : parseSnapshot(text, { issuer, uri });
    },
    async write({ body, fetchedAt }) {
      const text = JSON.stringify({ version: 1, issuer, uri, fetchedAt, body });
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

async function readPrivate(path: string): Promise<string | undefined> {
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
    if (facts.size > maxFileBytes) throw problem('its snapshot is too large');
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function parseSnapshot(text: string, { issuer, uri }: { issuer: string; uri: string }): KeySetSnapshot {
  let value: unknown;
  try {
    value = parseStrictJson(text);
  } catch {
    throw problem('its snapshot is damaged');
  }
  if (!isJsonObject(value) || value['version'] !== 1) throw problem('its snapshot is damaged');
  if (value['issuer'] !== issuer || value['uri'] !== uri) throw problem('its snapshot is of another key set');
  const { body, fetchedAt } = value;
  if (typeof body !== 'string' || typeof fetchedAt !== 'number') throw problem('its snapshot is damaged');
  return { body, fetchedAt };
}

const problem = (message: string): EnmeshError => new EnmeshError('ENMESH_JWT_SNAPSHOT', message);
const nameOf = (cause: unknown): string => (cause as NodeJS.ErrnoException).code ?? 'unknown error';
