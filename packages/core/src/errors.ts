/**
 * What an error code means to each of its readers.
 * `status` is the HTTP status where a request is refused with it, `public` the only sentence a client may see,
 * `meaning` and `remedy` what an operator reads in docs/errors.md (generated from this table).
 */
export interface ErrorEntry {
  readonly status: number;
  readonly public: string;
  readonly meaning: string;
  readonly remedy: string;
}

const table = <const T extends Record<`ENMESH_${string}`, ErrorEntry>>(entries: T): T => entries;

/** Every code that enmesh throws or reports; `docs/errors.md` is generated from it and a test holds both equal to the throw sites. */
export const errorTable = table({
  ENMESH_IDENTITY_NONE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'No X.509-SVID is held yet, so handshakes are refused both ways.',
    remedy: 'Wait for mesh.ready(), or look at the identity source named in the message.',
  },
});

/** A code of {@link errorTable}. */
export type ErrorCode = keyof typeof errorTable;

/** How an {@link EnmeshError} is made: the underlying error and facts for operators (never a token, key, claim value or PEM). */
export interface EnmeshErrorOptions {
  readonly cause?: unknown;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * The one error class of enmesh. `message` is for operators; a client only ever gets `publicMessage`.
 * `status` is the HTTP status of the code's entry in {@link errorTable}.
 */
export class EnmeshError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: EnmeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EnmeshError';
    this.code = code;
    this.status = errorTable[code].status;
    this.details = options.details ?? {};
  }

  /** The sentence a client may see. */
  get publicMessage(): string {
    return errorTable[this.code].public;
  }
}

/** Whether `error` is an {@link EnmeshError}, of `code` when one is given. */
export function isEnmeshError(error: unknown, code?: ErrorCode): error is EnmeshError {
  return error instanceof EnmeshError && (code === undefined || error.code === code);
}
