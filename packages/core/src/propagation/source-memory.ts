/** What an attempt that failed says of the source: it gave no answer; it answered, with a refusal; or nothing, as it was not asked. */
export type FailureSays = 'silent' | 'answered' | 'nothing';

/** How a source is asked. Times are milliseconds, `now` gives milliseconds since the epoch. */
export interface SourceMemoryOptions {
  /** What one attempt has. */
  readonly limitMs: number;
  readonly now: () => number;
  /** From 0 to 1; default `Math.random`. */
  readonly random?: () => number;
  readonly judge: (error: unknown) => FailureSays;
  /** What is thrown while the source is left in peace: `last` is what came of the last attempt, `since` when the first without an answer began, in ISO 8601. */
  readonly refuse: (last: unknown, since: string) => Error;
}

/** Remembers that a source gives no answer, so that not every call waits for its silence. */
export interface SourceMemory {
  /**
   * Runs `attempt` with the time that it has. While the source is silent all are refused at once but one at a time, after each pause: the probe.
   */
  ask<T>(attempt: (limitMs: number) => Promise<T>): Promise<T>;
}

/** The pause after a failure doubles up to this, so that a source that is back is found within a second or two. */
const longestPauseMs = 1_000;
const firstPauseMs = 250;

/** So long does a probe wait at least; every fourth has the whole time, for a source that has become slow. */
const probeMs = 1_000;

interface Silence {
  readonly since: number;
  failures: number;
  last: unknown;
  pausedAt: number;
  pauseMs: number;
  isProbing: boolean;
}

/** Creates the memory of one source. */
export function createSourceMemory({ limitMs, now, judge, refuse, random = Math.random }: SourceMemoryOptions): SourceMemory {
  let silence: Silence | undefined;
  let answeredAt = -Infinity;
  let usualMs = 0;

  const answered = (startedAt: number): void => {
    answeredAt = now();
    usualMs = Math.max(answeredAt - startedAt, usualMs * 0.9);
    silence = undefined;
  };
  const failed = (error: unknown, startedAt: number, probed: Silence | undefined): void => {
    // Those that began before an answer, or before the silence was known, tell nothing new.
    if (silence !== probed || startedAt < answeredAt) return;
    silence ??= { since: startedAt, failures: 0, last: error, pausedAt: 0, pauseMs: 0, isProbing: false };
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(silence.failures, 10));
    Object.assign(silence, {
      failures: silence.failures + 1,
      last: error,
      pausedAt: now(),
      pauseMs: pauseMs * (1 - random() / 2),
    });
  };
  return {
    async ask(attempt) {
      const startedAt = now();
      const probed = silence;
      if (probed !== undefined) {
        if (probed.isProbing || isPaused(probed, startedAt)) throw refuse(probed.last, new Date(probed.since).toISOString());
        probed.isProbing = true;
      }
      const isShort = probed !== undefined && probed.failures % 4 !== 0;
      try {
        const answer = await attempt(isShort ? Math.min(limitMs, Math.max(probeMs, 2 * usualMs)) : limitMs);
        answered(startedAt);
        return answer;
      } catch (error) {
        const says = judge(error);
        if (says === 'answered') answered(startedAt);
        if (says === 'silent') failed(error, startedAt, probed);
        throw error;
      } finally {
        if (probed !== undefined) probed.isProbing = false;
      }
    },
  };
}

/** A clock that was set back ends a pause: it would last for as long. */
const isPaused = ({ pausedAt, pauseMs }: Silence, now: number): boolean => now >= pausedAt && now < pausedAt + pauseMs;
