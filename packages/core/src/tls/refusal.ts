import type { Duplex } from 'node:stream';
import type { ErrorCode } from '../errors.js';
import { stepEvents } from '../telemetry/events.js';

/** A connection that was not taken, told once. Nothing here is secret; `reason` is for operators. */
export interface ConnectionRefusal {
  readonly code: ErrorCode;
  readonly reason: string;
  /** Empty where the system could not tell it any more. */
  readonly remoteAddress: string;
  /** The SPIFFE ID of the peer, where it was proven before something else refused it. */
  readonly peer?: string;
  /** Which step refused: before the handshake had ended, or over the identity it gave. */
  readonly step: 'accept' | 'peer-identity';
}

/** Tells a refusal to the step's event and to `listener`; a listener that throws changes nothing. */
export function tellRefusal(
  socket: Duplex,
  refusal: ConnectionRefusal,
  listener: ((refusal: ConnectionRefusal) => void) | undefined,
): void {
  const { step, code, reason } = refusal;
  if (stepEvents[step].hasSubscribers) {
    stepEvents[step].publish({ step, outcome: 'refused', subject: socket, code, details: { reason } });
  }
  try {
    listener?.(refusal);
  } catch {
    // The connection is refused already, which is all that must hold.
  }
}

/** Ends a socket with a TCP reset where it has one to give: no byte and no orderly end, as a sidecar without a matching chain does. */
export function resetSocket(socket: Duplex & { resetAndDestroy?(): unknown }): void {
  try {
    if (typeof socket.resetAndDestroy === 'function') socket.resetAndDestroy();
  } catch {
    // Throws on pipes and on sockets that are no longer TCP; below they are destroyed all the same.
  }
  if (!socket.destroyed) socket.destroy();
}

/** How long a client may take to read why it is refused, in milliseconds. */
const readingMs = 1_000;

/** Ends a socket with an answer in the client's own protocol. What the client still sends is read and dropped: unread, it would reset the answer away. */
export function answerAndEnd(socket: Duplex, answer: string | Uint8Array): void {
  const deadline = setTimeout(() => socket.destroy(), readingMs).unref();
  socket.once('close', () => clearTimeout(deadline));
  socket.end(answer);
  socket.resume();
}

/** An answer to bytes that are no HTTP/1.1 request. */
export function badRequest(sentence = ''): string {
  const body = sentence === '' ? '\r\n' : `Content-Type: text/plain\r\nContent-Length: ${sentence.length}\r\n\r\n${sentence}`;
  return `HTTP/1.1 400 Bad Request\r\nConnection: close\r\n${body}`;
}

/** The answer to a client that begins HTTP/2: an empty SETTINGS frame and GOAWAY with HTTP_1_1_REQUIRED (RFC 9113 sections 3.4, 6.8 and 7). */
export const http2GoAway: Uint8Array = Buffer.from([
  ...[0, 0, 0, 4, 0, 0, 0, 0, 0],
  ...[0, 0, 8, 7, 0, 0, 0, 0, 0],
  ...[0, 0, 0, 0, 0, 0, 0, 0xd],
]);
