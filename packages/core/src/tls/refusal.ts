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
