import { isEnmeshError, type ErrorCode } from '../errors.js';
import { notice, tellRenewalFailed } from './held-svid.js';

const patienceMs = 5_000;
const pauseMs = 60_000;

/** Tells of files that cannot be used: not of every half-written moment, and of the same trouble once. */
export interface Trouble {
  readonly isUnderway: boolean;
  /** Something failed at `now` (milliseconds). Told when things have been failing for 5 s, or at once where `isUrgent`; another reason after a minute's pause. */
  failed(error: unknown, now: number, isUrgent: boolean): void;
  /** It works again: what fails from now on is news. */
  ended(): void;
}

/** Creates the voice of one thing that may fail; `sentence` makes the message of a reason, `isHeld` says whether something good is still held. */
export function createTrouble(options: {
  readonly sentence: (reason: string, code: ErrorCode) => string;
  readonly isHeld: () => boolean;
}): Trouble {
  let since: number | undefined;
  let told: { readonly reason: string; readonly at: number } | undefined;
  return {
    get isUnderway() {
      return since !== undefined;
    },
    failed(error, now, isUrgent) {
      since ??= now;
      const reason = reasonOf(error);
      const isNews = told === undefined || (told.reason !== reason && now - told.at >= pauseMs);
      if (!isNews || (!isUrgent && now - since < patienceMs)) return;
      told = { reason, at: now };
      const code = codeOf(error);
      const event = { level: 'warn', code, message: options.sentence(reason, code) } as const;
      if (options.isHeld()) tellRenewalFailed(event);
      else notice({ ...event, kind: 'identity-waiting' });
    },
    ended() {
      since = undefined;
      told = undefined;
    },
  };
}

/** Only our own messages are known to hold no secret; of any other error its code or name must do. */
function reasonOf(error: unknown): string {
  if (isEnmeshError(error)) return error.message;
  const { code, name } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return code ?? name ?? 'the files cannot be read';
}

function codeOf(error: unknown): ErrorCode {
  return isEnmeshError(error) ? error.code : 'ENMESH_ISSUANCE_FILES_UNUSABLE';
}
