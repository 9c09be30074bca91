import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  addWatcher,
  EnmeshError,
  isEnmeshError,
  markOfStats,
  noticeEvents,
  type NoticeEvent,
  type Stop,
  type TrustBundleSet,
} from '@enmesh/core/issuance';
import { codeOf } from './durable.js';
import { formerFile, rememberIntermediates } from './former-intermediates.js';
import { readSigner, readTrusted, signingFile, type Signer } from './signing-files.js';
import { readState, stateFile, type CaState } from './state.js';

/** Everything that an authority signs and believes with at one moment. */
export interface AuthorityKeys {
  readonly state: CaState;
  readonly signer: Signer;
  /** Signs the serving certificate. */
  readonly serving: Signer;
  /** The roots of all trusted directories, the signer's first: what every answer carries. PEM, one each. */
  readonly roots: readonly string[];
  /** Of all trusted directories, and those of before that have not ended. PEM, one each. */
  readonly intermediates: readonly string[];
  readonly bundles: TrustBundleSet;
}

/** The keys of an authority, kept as its files are. */
export interface Authority {
  current(): AuthorityKeys;
  /** Reads the files again if one has changed; on any error the last good keys stay and one notice says why. Never rejects. */
  refresh(): Promise<void>;
  watch(onChange: (keys: AuthorityKeys) => void): Stop;
}

const soon = 60 * 86_400_000;

/** Opens the keys of an authority. Rejects with `ENMESH_CA_FILES` or `ENMESH_CA_EXPIRED` when they cannot sign. */
export async function openAuthority(o: {
  readonly directory: string;
  readonly trustDomain: string;
  readonly clock: () => number;
}): Promise<Authority> {
  const { directory, trustDomain, clock } = o;
  await checkOwner(directory);
  const watchers = new Set<(keys: AuthorityKeys) => void>();
  const read = async (): Promise<AuthorityKeys> => {
    const keys = await readKeys(directory, trustDomain, clock());
    const former = await rememberIntermediates(directory, keys.intermediates, clock()).catch((error: unknown) => {
      tell(
        'warn',
        `${formerFile} cannot be written (${codeOf(error)}): after a change of the signing certificate some may have to prove themselves anew`,
      );
      return [];
    });
    return { ...keys, intermediates: [...keys.intermediates, ...former] };
  };
  let keys = await read();
  let mark = '';
  let told = '';
  const reload = async (): Promise<void> => {
    const seen = await markFiles(directory, keys.state.trusted);
    if (seen === mark) return;
    const next = await read();
    // Marked as it was before reading, so that what changed meanwhile is read again; with other directories the mark is another anyway.
    mark = seen;
    told = '';
    if (isSame(next, keys)) return;
    keys = next;
    tell('info', `Signing with ${describe(next)}`);
    warnOfEnd(next, clock());
    for (const watcher of [...watchers]) watcher(next);
  };
  warnOfEnd(keys, clock());
  return {
    current: () => keys,
    async refresh() {
      try {
        await reload();
      } catch (error) {
        const message = isEnmeshError(error) ? error.message : 'the files cannot be read';
        if (message !== told) tell('error', `${message}; the last good keys stay in use`, error);
        told = message;
      }
    },
    watch: (onChange) => addWatcher(watchers, onChange),
  };
}

/** Whoever can put files into the directory can be anybody. Windows has no such modes. */
async function checkOwner(directory: string): Promise<void> {
  const problem = (reason: string): EnmeshError =>
    new EnmeshError('ENMESH_CA_FILES', `${directory}: ${reason}`, { details: { path: directory } });
  const stats = await stat(directory).catch((error: unknown) => Promise.reject(problem(`it cannot be read (${codeOf(error)})`)));
  if (process.platform !== 'win32' && (stats.mode & 0o022) !== 0)
    throw problem(`other users may write it (mode ${(stats.mode & 0o777).toString(8)}); chmod 700 it`);
}

/** Reads state and files once. Throws `ENMESH_CA_FILES` or `ENMESH_CA_EXPIRED`. */
export async function readKeys(directory: string, trustDomain: string, now: number): Promise<AuthorityKeys> {
  const state = await readState(directory);
  const signer = await readSigner(join(directory, state.signer), trustDomain, now);
  const serving = state.serving === state.signer ? signer : await readSigner(join(directory, state.serving), trustDomain, now);
  const order = [state.signer, ...state.trusted.filter((name) => name !== state.signer)];
  const trusted = await Promise.all(order.map((name) => readTrusted(join(directory, name))));
  const roots = [...new Set(trusted.flatMap((part) => part.roots))];
  const intermediates = [...new Set(trusted.flatMap((part) => part.intermediates))];
  return { state, signer, serving, roots, intermediates, bundles: new Map([[trustDomain, { trustDomain, roots }]]) };
}

function isSame(a: AuthorityKeys, b: AuthorityKeys): boolean {
  const textOf = ({ state, signer, serving, roots, intermediates }: AuthorityKeys): string =>
    JSON.stringify([state, signer.certificate, signer.intermediates, serving.certificate, roots, intermediates]);
  return textOf(a) === textOf(b);
}

/** A text that differs when any file that counts is another one or was written to. */
async function markFiles(directory: string, trusted: readonly string[]): Promise<string> {
  const paths = trusted.flatMap((name) => Object.values(signingFile).map((file) => join(directory, name, file)));
  const marks = await Promise.all(
    [join(directory, stateFile), ...paths].map((path) =>
      stat(path).then(
        (stats) => markOfStats(stats),
        () => '-',
      ),
    ),
  );
  return marks.join('\n');
}

function describe({ state, signer, roots }: AuthorityKeys): string {
  const where = state.signer === '.' ? 'the signing certificate' : `the signing certificate of ${state.signer}`;
  return `${where} until ${new Date(signer.notAfter).toISOString()}; ${roots.length} trusted root${roots.length === 1 ? '' : 's'}, phase ${state.phase}`;
}

function warnOfEnd({ signer }: AuthorityKeys, now: number): void {
  const days = Math.floor((signer.notAfter - now) / 86_400_000);
  if (signer.notAfter - now < soon)
    tell('warn', `The signing certificate (or one above it) ends in ${days} days: plug in another, or rotate the root`);
}

function tell(level: NoticeEvent['level'], message: string, error?: unknown): void {
  if (!noticeEvents.hasSubscribers) return;
  const code = isEnmeshError(error) ? { code: error.code } : {};
  noticeEvents.publish({ kind: 'authority-changed', level, message, ...code });
}
