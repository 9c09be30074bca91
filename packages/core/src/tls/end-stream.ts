import type { Duplex } from 'node:stream';

/** Status code of a WebSocket close frame: the message, or whoever sent it, violates a policy (RFC 6455 section 7.4.1). */
const policyViolation = 1008;

/** How long a WebSocket library gets for its closing handshake, in milliseconds. */
const closingMs = 2_000;

/** What WebSocket servers have in common that know their own frames. */
interface WebSocketLike {
  close(code: number, reason: string): void;
}

/**
 * Ends a connection whose exchange may go on no longer. A WebSocket of the library `ws` is closed with 1008 and `reason`, as only it knows where
 * one frame ends and the next may begin; every other stream ends where it stands, so that no reader can take it for complete.
 */
export function endStream(socket: Duplex, reason = 'no longer authorized'): void {
  const webSocket = webSocketOf(socket);
  if (webSocket === undefined) return void socket.destroy();
  const deadline = setTimeout(() => socket.destroy(), closingMs).unref();
  socket.once('close', () => clearTimeout(deadline));
  try {
    webSocket.close(policyViolation, reason);
  } catch {
    socket.destroy();
  }
}

/** `ws` keeps its WebSocket on the socket, under a symbol of its own. */
function webSocketOf(socket: Duplex): WebSocketLike | undefined {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  if (key === undefined) return undefined;
  const value = (socket as unknown as Record<symbol, Partial<WebSocketLike> | null | undefined>)[key];
  return typeof value?.close === 'function' ? (value as WebSocketLike) : undefined;
}
