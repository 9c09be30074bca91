import { EnmeshError } from '../errors.js';

/** Runs something once after `ms` milliseconds unless the returned function is called before. */
export type Timer = (run: () => void, ms: number) => () => void;

/** The real timer; it does not keep the process alive. */
export const unrefTimer: Timer = (run, ms) => {
  const handle = setTimeout(run, ms);
  handle.unref();
  return () => clearTimeout(handle);
};

/** What `work` resolves with, or a rejection with `ENMESH_ISSUANCE_FAILED` after `ms` milliseconds; what comes later is dropped. */
export function withDeadline<T>(work: () => Promise<T>, ms: number, timer: Timer): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = timer(
      () => reject(new EnmeshError('ENMESH_ISSUANCE_FAILED', `the identity source gave no answer within ${ms} ms`)),
      ms,
    );
    const finish = Promise.resolve().then(work).then(resolve, reject);
    void finish.finally(stop);
  });
}
