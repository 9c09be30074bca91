import { status } from '@grpc/grpc-js';
import { unrefTimer, type Stop, type Timer } from '@enmesh/core/issuance';

/** A stream of full-state messages that ends with one status. */
export interface MessageStream<Message> {
  on(event: 'data', listener: (message: Message) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'status', listener: (end: { readonly code: number; readonly details: string }) => void): unknown;
  cancel(): void;
}

/** How a stream ended, and when it is opened again: undefined for never. */
export interface StreamEnd {
  /** gRPC status code; 0 when the server ended it well. */
  readonly code: number;
  /** The server's own words, for people; empty when there are none. */
  readonly details: string;
  readonly retryInMs: number | undefined;
}

/** What {@link watchStream} keeps open, and whom it tells. */
export interface StreamOptions<Message> {
  readonly open: () => MessageStream<Message>;
  readonly onMessage: (message: Message) => void;
  readonly onEnd: (end: StreamEnd) => void;
  /** Default `setTimeout`, unref'ed. */
  readonly timer?: Timer;
  /** Milliseconds, for how long a stream lived; default `performance.now`. */
  readonly elapsed?: () => number;
}

/** A stream that is kept open until it is stopped. */
export interface WatchedStream {
  readonly stop: Stop;
  /** Gives up the present stream, if any, and opens another at once; nothing where the server has refused for good. */
  reopen(): void;
}

const pause = 1000;
const longestPause = 30_000;

/** Asking again cannot help: the request itself is wrong, or the server does not know the method. */
const final: ReadonlySet<number> = new Set([status.INVALID_ARGUMENT, status.UNIMPLEMENTED]);

/**
 * Keeps a stream of the Workload API open (SPIFFE Workload Endpoint section 6): after INVALID_ARGUMENT and UNIMPLEMENTED never again, after a good
 * end at once, else after 1, 2, 3 .. 30 seconds, beginning anew with each message. A stream that ends well within a second waits that second too.
 * `onMessage` and `onEnd` must not throw.
 */
export function watchStream<Message>(options: StreamOptions<Message>): WatchedStream {
  const { timer = unrefTimer, elapsed = () => performance.now() } = options;
  let failures = 0;
  let stopped = false;
  let cancel = (): void => {};
  let stopTimer = (): void => {};

  const ended = (code: number, details: string, isQuick: boolean): void => {
    failures += 1;
    const isRefused = final.has(code);
    stopped ||= isRefused;
    const wait = code === status.OK && !isQuick ? 0 : Math.min(longestPause, failures * pause);
    options.onEnd({ code, details, retryInMs: isRefused ? undefined : wait });
    if (!stopped) stopTimer = timer(open, wait);
  };

  function open(): void {
    const openedAt = elapsed();
    let isOpen = true;
    const end = (code: number, details: string): void => {
      if (!isOpen) return;
      isOpen = false;
      ended(code, details, elapsed() - openedAt < pause);
    };
    try {
      const stream = options.open();
      cancel = () => {
        isOpen = false;
        stream.cancel();
      };
      stream.on('data', (message) => {
        if (!isOpen) return;
        failures = 0;
        options.onMessage(message);
      });
      // Every end has a status; an error without a listener would end the process.
      stream.on('error', () => {});
      stream.on('status', ({ code, details }) => end(code, details));
    } catch {
      end(status.INTERNAL, 'the call could not be made');
    }
  }

  open();
  return {
    stop() {
      stopped = true;
      stopTimer();
      cancel();
    },
    reopen() {
      if (stopped) return;
      stopTimer();
      cancel();
      open();
    },
  };
}
