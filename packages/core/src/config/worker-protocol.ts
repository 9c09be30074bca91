import { dismantle, type Part } from './parts.js';
import { validateDocuments, type ConfigFile, type MeshResources, type ValidationResult } from './validate.js';

/** What the serving thread sends to the validation worker: the files one by one, then `validate`, then `next` for each part of the answer. */
export type WorkerRequest =
  { readonly type: 'file'; readonly file: ConfigFile } | { readonly type: 'validate' } | { readonly type: 'next' };

/** What the validation worker answers: the result without its heavy lists, then their elements part by part. */
export type WorkerReply =
  | { readonly type: 'result'; readonly result: ValidationResult; readonly parts: number }
  | { readonly type: 'part'; readonly part: Part };

/** The `workerData` by which the worker knows that it was started to validate. */
export const workerMark = 'enmesh-config-worker';

// Rebuilding this many values takes the serving thread about a millisecond.
const valuesPerPart = 1000;

/** The worker's half: answers the requests of one thread, in order. */
export function serveValidation(post: (reply: WorkerReply) => void): (request: WorkerRequest) => void {
  let files: ConfigFile[] = [];
  let parts: readonly Part[] = [];
  let sent = 0;
  return (request) => {
    if (request.type === 'file') {
      files.push(request.file);
    } else if (request.type === 'validate') {
      const dismantled = dismantle(withoutRepeats(validateDocuments(files)), valuesPerPart);
      files = [];
      parts = dismantled.parts;
      sent = 0;
      post({ type: 'result', result: dismantled.root as ValidationResult, parts: parts.length });
    } else {
      const part = parts[sent++];
      if (part !== undefined) post({ type: 'part', part });
      if (sent >= parts.length) parts = [];
    }
  };
}

/** Undoes what {@link serveValidation} does to the registry: the same PeerAuthentications stand in two places and travel once. */
export function withRepeats(result: ValidationResult): ValidationResult {
  return mapRegistry(result, (resources) => resources.peerAuthentications);
}

function withoutRepeats(result: ValidationResult): ValidationResult {
  return mapRegistry(result, () => []);
}

function mapRegistry(
  result: ValidationResult,
  of: (resources: MeshResources) => MeshResources['peerAuthentications'],
): ValidationResult {
  const { resources } = result;
  if (resources === undefined) return result;
  return { ...result, resources: { ...resources, registry: { ...resources.registry, peerAuthentications: of(resources) } } };
}
