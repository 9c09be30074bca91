import { EnmeshError, isEnmeshError } from '../errors.js';
import type { Workload } from '../identity/workload.js';
import type { ConfigSource } from './directory.js';
import { fingerprintFiles } from './fingerprint.js';
import { countsOf, invalidConfiguration } from './notices.js';
import type { ConfigProblem } from './problem.js';
import { removesAnything } from './removal.js';
import { compileSnapshotInSlices, type MeshSnapshot } from './snapshot.js';
import type { ConfigFile, MeshResources, ValidationResult } from './validate.js';

/** How long files that are changed in place must be left alone before they are believed, in milliseconds (docs/architecture.md, configuration). */
export interface QuietTimes {
  /** Default 250. */
  readonly changedMs: number;
  /** When the new set says less than the one in force. Default 2000. */
  readonly removedMs: number;
}

/** What one attempt to load came to. `waitMs`: nothing is decided, try again after so long. `fingerprint` stands for the content that was read. */
export type LoadOutcome =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'unsettled'; readonly waitMs: number }
  | { readonly kind: 'rejected'; readonly error: EnmeshError; readonly fingerprint: string }
  | {
      readonly kind: 'loaded';
      readonly snapshot: MeshSnapshot;
      readonly problems: readonly ConfigProblem[];
      readonly fingerprint: string;
      readonly files: number;
    };

/** The snapshot that decides now, and the content it came from. */
export interface InForce {
  readonly snapshot: MeshSnapshot;
  readonly fingerprint: string;
}

/** What a load is made from: `inForce` is what it would replace. */
export interface LoadInputs {
  readonly source: ConfigSource;
  readonly workload: Workload;
  readonly validate: (files: readonly ConfigFile[]) => Promise<ValidationResult>;
  readonly quiet: QuietTimes;
  readonly inForce: InForce | undefined;
  /** Throws what speaks against valid resources in this process, such as a package that is not installed. */
  readonly admit?: ((resources: MeshResources) => void) | undefined;
}

/**
 * Reads all, validates all and compiles all, and changes nothing: the caller puts the snapshot in force. Never rejects: whatever fails is the error
 * of a `rejected` outcome, so that a half-written or unreadable set can open nothing.
 */
export async function loadOnce(inputs: LoadInputs): Promise<LoadOutcome> {
  try {
    return await load(inputs);
  } catch (cause) {
    const error = isEnmeshError(cause)
      ? cause
      : new EnmeshError('ENMESH_CONFIG_FAULT', `loading failed: ${faultOf(cause)}`, { cause });
    const waitMs = missingQuiet(inputs.source, inputs.quiet.changedMs);
    if (waitMs > 0) return { kind: 'unsettled', waitMs };
    return { kind: 'rejected', error, fingerprint: `${error.code} ${error.message}` };
  }
}

async function load({ source, workload, validate, quiet, inForce, admit }: LoadInputs): Promise<LoadOutcome> {
  const files = await source.read();
  const fingerprint = await fingerprintFiles(files);
  if (fingerprint === inForce?.fingerprint) return { kind: 'unchanged' };
  const waitMs = missingQuiet(source, quiet.changedMs);
  if (waitMs > 0) return { kind: 'unsettled', waitMs };
  const { resources, problems } = await validate(files);
  if (resources === undefined) {
    return { kind: 'rejected', error: invalidConfiguration(source.label ?? 'configuration', problems), fingerprint };
  }
  admit?.(resources);
  const removalMs = missingQuiet(source, quiet.removedMs);
  if (removalMs > 0 && inForce !== undefined && (await removesAnything(inForce.snapshot.resources, resources))) {
    return { kind: 'unsettled', waitMs: removalMs };
  }
  if (inForce !== undefined && saysNothing(resources) && !saysNothing(inForce.snapshot.resources)) {
    return { kind: 'rejected', error: emptied(source.label ?? 'configuration'), fingerprint };
  }
  const snapshot = await compileSnapshotInSlices(resources, workload, (inForce?.snapshot.generation ?? 0) + 1);
  return { kind: 'loaded', snapshot, problems, fingerprint, files: files.length };
}

const saysNothing = (resources: MeshResources): boolean => Object.keys(countsOf(resources)).length === 0;

// A full disk or a careless `>` leaves an empty file, and nothing in it says that everything shall be allowed from now on.
function emptied(label: string): EnmeshError {
  const message = `${label} holds no document any more; to run without any, restart the service`;
  return new EnmeshError('ENMESH_CONFIG_DIRECTORY_EMPTY', message, { details: { path: label } });
}

function missingQuiet(source: ConfigSource, wantedMs: number): number {
  const quietMs = source.quietFor?.() ?? Infinity;
  return quietMs >= wantedMs ? 0 : Math.max(1, wantedMs - quietMs);
}

// The text of an unforeseen error may quote what it choked on; its kind and place in the code do not.
function faultOf(cause: unknown): string {
  return cause instanceof Error ? cause.name : typeof cause;
}
