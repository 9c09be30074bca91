import { createRequire } from 'node:module';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { EnmeshError } from '../errors.js';
import { noticeEvents } from '../telemetry/events.js';
import { restore } from './parts.js';
import { validateDocuments, type ConfigFile, type ValidationResult } from './validate.js';
import { withRepeats, workerMark, type WorkerReply, type WorkerRequest } from './worker-protocol.js';

/** Validates sets of files, one after the other, without being felt by the requests that the same thread serves. */
export interface Validator {
  /** Rejects with `ENMESH_CONFIG_WORKER_FAILED` when the worker dies or does not answer in time. */
  validate(files: readonly ConfigFile[]): Promise<ValidationResult>;
  close(): Promise<void>;
}

/** How a {@link Validator} works; times are milliseconds. */
export interface ValidatorOptions {
  /** Beyond how many characters the worker is used. Default {@link inlineLength}. */
  readonly inlineLength?: number;
  /** The same, until a first set was good and requests can be served. Default {@link firstInlineLength}. */
  readonly firstInlineLength?: number;
  /** How long one validation may take. Default 60 000. */
  readonly timeoutMs?: number;
  /** How long the worker waits for the next set before it ends. Default 5000. */
  readonly idleMs?: number;
  /** The worker's file. Default: `@enmesh/core/config-worker`. */
  readonly workerFile?: string;
}

/** Up to this many characters a set is parsed and validated on the serving thread: measured, a KiB takes up to a millisecond, and 5 would be felt. */
export const inlineLength = 3 * 1024;

/** Before the first configuration nobody is served, and up to about here starting a worker takes longer than doing its work. */
export const firstInlineLength = 64 * 1024;

/** Creates a validator; its worker starts when the first big set comes and ends when idle. */
export function createValidator(o: ValidatorOptions = {}): Validator {
  let worker: Worker | undefined;
  let idle: NodeJS.Timeout | undefined;
  let isInlineOnly = false;
  let isClosed = false;
  let isServing = false;
  let turn: Promise<unknown> = Promise.resolve();

  const end = async (): Promise<void> => {
    clearTimeout(idle);
    const ending = worker;
    worker = undefined;
    await ending?.terminate();
  };
  const start = (): Worker | undefined => {
    if (worker !== undefined || isInlineOnly) return worker;
    try {
      worker = startWorker(o.workerFile ?? createRequire(import.meta.url).resolve('@enmesh/core/config-worker'));
      worker.once('exit', () => void (worker = undefined));
      // Without a listener, the death of an idle worker would be an uncaught error of the application.
      worker.on('error', () => {});
    } catch (error) {
      isInlineOnly = true;
      warnInline(error);
    }
    return worker;
  };
  const run = async (files: readonly ConfigFile[]): Promise<ValidationResult> => {
    clearTimeout(idle);
    if (isClosed) throw new EnmeshError('ENMESH_CONFIG_WORKER_FAILED', 'configuration is no longer loaded: the mesh is closed');
    const length = files.reduce((sum, file) => sum + file.text.length, 0);
    const limit = isServing ? (o.inlineLength ?? inlineLength) : (o.firstInlineLength ?? firstInlineLength);
    const running = length > limit ? start() : undefined;
    const result = running === undefined ? validateDocuments(files) : await runIn(running, files);
    isServing ||= result.resources !== undefined;
    return result;
  };
  const runIn = async (running: Worker, files: readonly ConfigFile[]): Promise<ValidationResult> => {
    running.ref();
    try {
      const result = await askWorker(running, files, o.timeoutMs ?? 60_000);
      idle = setTimeout(() => void end(), o.idleMs ?? 5000).unref();
      return result;
    } catch (error) {
      await end();
      throw error;
    } finally {
      running.unref();
    }
  };
  return {
    validate(files) {
      const result = turn.then(() => run(files));
      turn = result.catch(() => {});
      return result;
    },
    close() {
      isClosed = true;
      return end();
    },
  };
}

// Neither the application's flags (`--import`, `--inspect`) nor its environment are the worker's business, and both could run code in it.
function startWorker(file: string): Worker {
  return new Worker(file, {
    name: 'enmesh-config',
    workerData: workerMark,
    execArgv: [],
    env: {},
    argv: [],
    resourceLimits: { maxOldGenerationSizeMb: 2048 },
  });
}

async function askWorker(worker: Worker, files: readonly ConfigFile[], timeoutMs: number): Promise<ValidationResult> {
  const { promise, succeed, fail } = outcome();
  let result: ValidationResult | undefined;
  let missing = 0;
  const onMessage = (reply: WorkerReply): void => {
    try {
      if (reply.type === 'result') {
        result = reply.result;
        missing = reply.parts;
      } else {
        restore(result, reply.part);
        missing -= 1;
      }
      if (missing === 0 && result !== undefined) succeed(withRepeats(result));
      // One part to a turn of the event loop: messages that lie ready would all be rebuilt in one go.
      else setImmediate(() => worker.postMessage({ type: 'next' } satisfies WorkerRequest));
    } catch (error) {
      fail(error);
    }
  };
  const onExit = (code: number): void => fail(new Error(`it ended with code ${code}`));
  const timer = setTimeout(() => fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  worker.on('message', onMessage).on('error', fail).on('messageerror', fail).on('exit', onExit);
  try {
    for (const file of files) {
      worker.postMessage({ type: 'file', file } satisfies WorkerRequest);
      if (file.text.length > 64 * 1024) await nextTurn();
    }
    worker.postMessage({ type: 'validate' } satisfies WorkerRequest);
    return await promise;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unknown reason';
    throw new EnmeshError('ENMESH_CONFIG_WORKER_FAILED', `the worker that validates configuration failed: ${reason}`, { cause });
  } finally {
    clearTimeout(timer);
    worker.off('message', onMessage).off('error', fail).off('messageerror', fail).off('exit', onExit);
  }
}

interface Outcome<Value> {
  readonly promise: Promise<Value>;
  readonly succeed: (value: Value) => void;
  readonly fail: (reason: unknown) => void;
}

function outcome(): Outcome<ValidationResult> {
  let succeed!: (value: ValidationResult) => void;
  let fail!: (reason: unknown) => void;
  const promise = new Promise<ValidationResult>((resolve, reject) => {
    succeed = resolve;
    fail = reject;
  });
  // The worker may die while files are still being handed over, before anybody waits for the promise.
  promise.catch(() => {});
  return { promise, succeed, fail };
}

function warnInline(error: unknown): void {
  const reason = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.message) : 'unknown reason';
  noticeEvents.publish({
    kind: 'config-warning',
    level: 'warn',
    message: `configuration is validated on the serving thread, because the worker cannot be started (${reason}): do not bundle @enmesh/core, and allow worker threads`,
  });
}
