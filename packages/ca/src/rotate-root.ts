import { createReadStream } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { EnmeshError } from '@enmesh/core/issuance';
import { codeOf, replaceFile } from './durable.js';
import { issuanceLogFile } from './issuance-log.js';
import { makeSigningDirectory, rootKeyFile, trustBundleFile } from './make-files.js';
import { readSigner, readTrusted, signingFile } from './signing-files.js';
import { readState, writeState, type CaState } from './state.js';

/** The steps of a root rotation, in their order. */
export const rotationSteps = ['prepare', 'activate', 'retire'] as const;

/** One of {@link rotationSteps}, or the way back from a rotation that has begun. */
export type RotationStep = (typeof rotationSteps)[number] | 'abandon';

/** Where a rotation stands and when its next step is safe. */
export interface RotationStatus {
  readonly state: CaState;
  readonly next: (typeof rotationSteps)[number];
  /** From when `next` can break nobody, in milliseconds since the epoch; 0 for at any time. */
  readonly safeFrom: number;
}

/** What a step is done to and with. */
export interface RotationOptions {
  readonly directory: string;
  readonly trustDomain: string;
  /** For `prepare`: a directory with the four files of the new signing certificate; without it they are made. */
  readonly from?: string;
  /** Go on although certificates are out whose holders may not have heard of the new root, or still stand on the old one. */
  readonly force?: boolean;
  readonly clock?: () => number;
}

/** Tells where the rotation of an authority stands. Throws `ENMESH_CA_FILES`. */
export async function readRotation(directory: string): Promise<RotationStatus> {
  const state = await readState(directory);
  const next = ({ settled: 'prepare', prepared: 'activate', activated: 'retire', abandoned: 'retire' } as const)[state.phase];
  return { state, next, safeFrom: next === 'prepare' ? 0 : await lastEndBefore(directory, state.since) };
}

/**
 * Does one step of a root rotation, by changing one file: `prepare` makes the new root trusted beside the old, `activate` signs with it, `retire`
 * ends the trust in the old and removes its keys. A running authority follows within a second. Each step but the first waits until every certificate
 * given out before the last one has ended, so that all workloads hold what they need: renewals bring it to them.
 * `abandon` gives a begun rotation up, at any time: a root that is only prepared has signed nothing and goes at once; after `activate` the old root signs
 * again and the new one stays trusted until `retire`, which waits until every certificate below it has ended.
 * Throws `ENMESH_CA_ROTATION` for a step out of turn or too early, `ENMESH_CA_FILES` and `ENMESH_CA_EXPIRED` for unusable files.
 */
export async function rotateRoot(step: RotationStep, options: RotationOptions): Promise<RotationStatus> {
  const { directory, clock = Date.now } = options;
  const now = clock();
  const { state, next, safeFrom } = await readRotation(directory);
  if (step === 'abandon' ? !mayAbandon(state) : step !== next)
    throw rotationError(`The rotation stands at "${state.phase}": the next step is ${next}, not ${step}`);
  if (step !== 'abandon' && now < safeFrom && options.force !== true) throw tooEarly(step, state, safeFrom);
  await { prepare, activate, retire, abandon }[step](state, options, now);
  await writeTrustBundle(directory);
  return readRotation(directory);
}

async function writeTrustBundle(directory: string): Promise<void> {
  const { trusted } = await readState(directory);
  const parts = await Promise.all(trusted.map((name) => readTrusted(join(directory, name))));
  await replaceFile(join(directory, trustBundleFile), [...new Set(parts.flatMap(({ roots }) => roots))].join(''), 0o644);
}

async function prepare(state: CaState, o: RotationOptions, now: number): Promise<void> {
  const name = await newName(o.directory);
  await makeSigningDirectory({ directory: join(o.directory, name), trustDomain: o.trustDomain, from: o.from, now });
  await writeState(o.directory, { ...state, phase: 'prepared', trusted: [...state.trusted, name], since: now });
}

async function activate(state: CaState, o: RotationOptions, now: number): Promise<void> {
  const signer = state.trusted.at(-1) ?? state.signer;
  await readSigner(join(o.directory, signer), o.trustDomain, now);
  await writeState(o.directory, { ...state, phase: 'activated', signer, since: now });
}

const mayAbandon = ({ phase }: CaState): boolean => phase === 'prepared' || phase === 'activated';

/** The old root signs the serving certificate until `retire`: it is the one to go back to. */
async function abandon(state: CaState, o: RotationOptions, now: number): Promise<void> {
  const back: CaState = { ...state, signer: state.serving, since: now };
  if (state.phase === 'prepared') return retire(back, o, now);
  await readSigner(join(o.directory, back.signer), o.trustDomain, now);
  await writeState(o.directory, { ...back, phase: 'abandoned' });
}

async function retire(state: CaState, o: RotationOptions, now: number): Promise<void> {
  await readSigner(join(o.directory, state.signer), o.trustDomain, now);
  await writeState(o.directory, {
    phase: 'settled',
    signer: state.signer,
    serving: state.signer,
    trusted: [state.signer],
    since: now,
  });
  // Nothing believes these any more; keys that sign nothing are only there to be stolen.
  for (const old of state.trusted.filter((name) => name !== state.signer))
    for (const file of [signingFile.key, rootKeyFile]) await rm(join(o.directory, old, file), { force: true });
}

async function newName(directory: string): Promise<string> {
  const names = await readdir(directory);
  const numbers = names.map((name) => Number(/^root-(\d+)$/.exec(name)?.[1] ?? 1));
  return `root-${Math.max(1, ...numbers) + 1}`;
}

/** The latest end of the certificates that were given out before `since`, by the log, read line by line because it only ever grows. */
async function lastEndBefore(directory: string, since: number): Promise<number> {
  let last = 0;
  try {
    const file = createReadStream(join(directory, issuanceLogFile), 'utf8');
    for await (const line of createInterface({ input: file, crlfDelay: Infinity })) {
      const { time, end } = timesOf(line);
      // Two seconds of grace: the authority takes up a step at its next look at the file.
      if (time <= since + 2000 && end > last) last = end;
    }
    return last;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return 0;
    throw new EnmeshError('ENMESH_CA_LOG', `The issuance log cannot be read (${codeOf(error)})`);
  }
}

/** When a record was written and when its certificate ends; a line that a crash cut off stands for a certificate that nobody got. */
function timesOf(line: string): { readonly time: number; readonly end: number } {
  try {
    const { time, notAfter } = JSON.parse(line) as Partial<Record<string, unknown>>;
    return { time: Date.parse(String(time)), end: Date.parse(String(notAfter)) };
  } catch {
    return { time: Number.NaN, end: Number.NaN };
  }
}

function tooEarly(step: RotationStep, { phase }: CaState, safeFrom: number): EnmeshError {
  const what =
    phase === 'abandoned' ? 'certificates below the abandoned root live' : 'certificates given out before the last step live';
  const why = phase === 'abandoned' ? '' : ' Their holders may not know the roots yet.';
  return rotationError(`It is too early to ${step}: ${what} until ${new Date(safeFrom).toISOString()}.${why}`);
}

function rotationError(message: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_ROTATION', message);
}
