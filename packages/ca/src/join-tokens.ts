import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError, formatIstioId, joinTokenPrefix, readSmallFileIfThere } from '@enmesh/core/issuance';
import { codeOf, syncDirectory, writeNew } from './durable.js';

/** Where the hashes of tokens that were not used yet are kept, one file each. */
export const tokensDirectory = 'tokens';

/** For whom a join token is. */
export interface JoinTokenOptions {
  /** The authority's. */
  readonly directory: string;
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** From now, in seconds, at most 30 days. */
  readonly lifeSeconds: number;
  readonly clock?: () => number;
}

/** A join token: whoever holds it gets one certificate. `id` names it in the log and says nothing of it. */
export interface JoinToken {
  readonly token: string;
  readonly id: string;
  readonly identity: string;
  readonly expiresAt: number;
}

/** A token that is good and still there. */
export interface FoundToken {
  readonly id: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Uses it up: true for exactly one caller, whatever crashes or races. */
  take(): Promise<boolean>;
}

const month = 30 * 86_400;
const form = /^enmesh-join\.[A-Za-z0-9_-]{43}$/;

/**
 * Makes a token of 256 random bits with which one workload gets its first certificate. Only its hash is stored; it is never shown again.
 * Throws `ENMESH_CA_TOKEN` for an impossible identity or life or where `directory` is no authority's.
 */
export async function createJoinToken(options: JoinTokenOptions): Promise<JoinToken> {
  const { directory, lifeSeconds, clock = Date.now, namespace, serviceAccount } = options;
  if (!Number.isInteger(lifeSeconds) || lifeSeconds < 1 || lifeSeconds > month)
    throw tokenError('its life must be from 1 s to 30 days');
  const identity = identityOf(options);
  const token = joinTokenPrefix + randomBytes(32).toString('base64url');
  const hash = hashOf(token);
  const expiresAt = clock() + lifeSeconds * 1000;
  const tokens = join(directory, tokensDirectory);
  try {
    await writeNew(join(tokens, `${hash}.json`), `${JSON.stringify({ namespace, serviceAccount, expiresAt })}\n`, 0o600);
    await syncDirectory(tokens);
  } catch (error) {
    throw tokenError(`${tokens} cannot be written (${codeOf(error)})`);
  }
  return { token, id: hash.slice(0, 12), identity, expiresAt };
}

/** Finds a join token that is good at `now`: undefined for one that was used, has expired, or never was. Rejects when the files cannot be read. */
export async function findJoinToken(directory: string, token: string, now: number): Promise<FoundToken | undefined> {
  if (!form.test(token)) return undefined;
  const hash = hashOf(token);
  const tokens = join(directory, tokensDirectory);
  const path = join(tokens, `${hash}.json`);
  const file = await readSmallFileIfThere(path, 4096);
  const stored = file === undefined ? undefined : parseStored(file.text);
  if (stored === undefined || now >= stored.expiresAt) return undefined;
  const { namespace, serviceAccount } = stored;
  return { id: hash.slice(0, 12), namespace, serviceAccount, take: () => takeAway(path, tokens) };
}

/** Removes the tokens that have expired. Never rejects. */
export async function sweepJoinTokens(directory: string, now: number): Promise<void> {
  const tokens = join(directory, tokensDirectory);
  const names = await readdir(tokens).catch(() => []);
  for (const name of names) {
    const path = join(tokens, name);
    const file = await readSmallFileIfThere(path, 4096).catch(() => undefined);
    const stored = file === undefined ? undefined : parseStored(file.text);
    // A file that is not whole yet is being written; one that stays so was cut off by a crash.
    const written = stored === undefined ? await stat(path).catch(() => undefined) : undefined;
    const isOver = stored === undefined ? written !== undefined && now - written.mtimeMs > 86_400_000 : now >= stored.expiresAt;
    if (isOver) await rm(path, { force: true }).catch(() => {});
  }
}

/** Of all that remove a name, the file system lets one succeed; on disk before anything is signed, so a crash cannot bring it back. */
async function takeAway(path: string, tokens: string): Promise<boolean> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  await syncDirectory(tokens);
  return true;
}

function parseStored(
  text: string,
): { readonly namespace: string; readonly serviceAccount: string; readonly expiresAt: number } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { namespace, serviceAccount, expiresAt } = (value ?? {}) as Partial<Record<string, unknown>>;
  if (typeof namespace !== 'string' || typeof serviceAccount !== 'string' || typeof expiresAt !== 'number') return undefined;
  return { namespace, serviceAccount, expiresAt };
}

function identityOf({ trustDomain, namespace, serviceAccount }: JoinTokenOptions): string {
  try {
    return formatIstioId({ trustDomain, namespace, serviceAccount });
  } catch {
    throw tokenError('namespace and service account must be one word each, of letters, digits, dots, dashes and underscores');
  }
}

const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

function tokenError(problem: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_TOKEN', `No join token was made: ${problem}`);
}
