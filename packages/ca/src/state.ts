import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EnmeshError, fileProblem, readSmallFileIfThere } from '@enmesh/core/issuance';
import { replaceFile } from './durable.js';

/** Where the rotation of the root stands. Directories are relative to the authority's; `.` is the authority's own. */
export interface CaState {
  readonly phase: 'settled' | 'prepared' | 'activated' | 'abandoned';
  /** Whose key signs the certificates of workloads. */
  readonly signer: string;
  /** Whose key signs the authority's own serving certificate: the old one until clients have had time to learn the new root. */
  readonly serving: string;
  /** Whose roots are given out and believed, the signer's first. */
  readonly trusted: readonly string[];
  /** When this phase began, in milliseconds since the epoch. */
  readonly since: number;
}

/** The file that says which signing directory counts; it alone is changed by a rotation, in one step. */
export const stateFile = 'state.json';

const settled: CaState = { phase: 'settled', signer: '.', serving: '.', trusted: ['.'], since: 0 };
const phases: readonly string[] = ['settled', 'prepared', 'activated', 'abandoned'];
const isDirectoryName = (name: unknown): name is string =>
  typeof name === 'string' && (name === '.' || /^root-[1-9]\d{0,5}$/.test(name));

/**
 * Reads where a rotation stands; a directory of plugged-in files that was never rotated has no such file. Throws `ENMESH_CA_FILES` for a file that
 * is damaged, or gone although there was a rotation: guessing would bring an old root back.
 */
export async function readState(directory: string): Promise<CaState> {
  const path = join(directory, stateFile);
  try {
    const file = await readSmallFileIfThere(path, 65_536);
    if (file !== undefined) return parseState(file.text, path);
    const rotated = (await readdir(directory)).some((name) => name !== '.' && isDirectoryName(name));
    if (!rotated) return settled;
  } catch (error) {
    if (error instanceof EnmeshError) throw error;
    throw damaged(path, fileProblem(error));
  }
  throw damaged(path, 'it is gone although the root was rotated');
}

/** Puts a state in force, in one step. */
export async function writeState(directory: string, state: CaState): Promise<void> {
  await replaceFile(join(directory, stateFile), `${JSON.stringify({ version: 1, ...state }, undefined, 2)}\n`, 0o600);
}

function parseState(text: string, path: string): CaState {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(path, 'it is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw damaged(path, 'it is no object');
  const { version, phase, signer, serving, trusted, since } = value as Partial<Record<string, unknown>>;
  const isKnown =
    version === 1 &&
    phases.includes(String(phase)) &&
    isDirectoryName(signer) &&
    isDirectoryName(serving) &&
    Array.isArray(trusted) &&
    trusted.every(isDirectoryName) &&
    trusted.includes(signer) &&
    trusted.includes(serving) &&
    typeof since === 'number';
  if (!isKnown) throw damaged(path, 'it does not say what it should');
  return { phase: phase as CaState['phase'], signer, serving, trusted, since };
}

function damaged(path: string, problem: string): EnmeshError {
  return new EnmeshError('ENMESH_CA_FILES', `${path}: ${problem}`, { details: { path } });
}
