import { join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import type { CaSettings } from '@enmesh/ca';
import { fileProblem, isEnmeshError, readSmallFile, type ErrorCode } from '@enmesh/core/issuance';
import { exitCodes, MisuseError, paint, printable } from '../output.js';

/** The settings file of an authority, in its directory. */
export const settingsFile = 'ca.yaml';

/** What all commands of an authority take: where it is. */
export const directoryOption = ['-d, --directory <directory>', "the authority's", 'ca'] as const;

const maxLength = 1 << 20;

/** Reads the settings of the authority in a directory. Throws `MisuseError` when there is none or they cannot be read. */
export async function readCaSettings(directory: string): Promise<CaSettings> {
  const path = join(resolve(directory), settingsFile);
  const { text } = await readSmallFile(path, maxLength).catch((error: unknown) => {
    const hint = (error as NodeJS.ErrnoException).code === 'ENOENT' ? '; enmesh ca init makes an authority' : '';
    throw new MisuseError(`${path}: ${fileProblem(error)}${hint}`);
  });
  const document = parseDocument(text, { prettyErrors: true });
  const [problem] = document.errors;
  if (problem !== undefined) throw new MisuseError(`${path}: ${problem.message.split('\n')[0]}`);
  const { parseCaSettings } = await import('@enmesh/ca');
  return inTerms(path, () => parseCaSettings(document.toJS({ maxAliasCount: 20 }) as unknown, directory));
}

function inTerms<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new MisuseError(`${path}: ${error instanceof Error ? error.message : 'cannot be read'}`);
  }
}

const misuses: readonly ErrorCode[] = [
  'ENMESH_CA_SETTINGS',
  'ENMESH_CA_EXISTS',
  'ENMESH_CA_TOKEN',
  'ENMESH_IDENTITY_TRUST_DOMAIN_INVALID',
];

/**
 * Runs the work of a command on an authority. What the command line could have said otherwise becomes a `MisuseError`; what the authority cannot do is
 * said on standard error, with its remedy, and ends with exit code 1.
 */
export async function withAuthority(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isEnmeshError(error)) throw error;
    const text = `${error.message}\n\t${error.remedy} (${error.code})`;
    if (misuses.includes(error.code)) throw new MisuseError(text);
    process.stderr.write(`${paint('red', 'enmesh:', process.stderr)} ${printable(text, '\n\t')}\n`);
    process.exitCode = exitCodes.finding;
  }
}
