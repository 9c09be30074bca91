import { EnmeshError } from '../errors.js';
import { maxFetchedBytes } from './fetch-text.js';
import type { RemoteKeySource } from './key-set-fetch.js';
import { createSnapshotFile, type SnapshotStore } from './snapshot-file.js';

/** Keeps the key set of a source in a file of its own; its `problem` is `ENMESH_JWT_SNAPSHOT`. */
export function createSnapshotStore(directory: string, { issuer, uri = '' }: RemoteKeySource): SnapshotStore {
  const problem = (message: string): EnmeshError => new EnmeshError('ENMESH_JWT_SNAPSHOT', message);
  return createSnapshotFile({ directory, of: { issuer, uri }, maxBodyBytes: maxFetchedBytes, problem });
}
