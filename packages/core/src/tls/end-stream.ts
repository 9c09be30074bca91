import type { Duplex } from 'node:stream';

/** Status codes of a WebSocket close frame (RFC 6455 section 7.4.1): 1001 the server goes away, 1008 a policy is violated. */
export type CloseCode = 1001 | 1008;

/** How long a WebSocket library gets for its closing handshake, in milliseconds. */
const closingMs = 2_000;

/** What WebSocket servers have in common that know their own frames. */
interface WebSocketLike {
  close(code: number, reason: string): void;
}

/**
 * Ends a connection whose exchange may go on no longer. A WebSocket of the library `ws` is closed with 1008 and `reason`; every other stream ends where
 * it stands, with `error` where one is given, so that no reader can take it for complete.
 */
export function endStream(socket: Duplex, reason = 'no longer authorized', error?: Error): void {
  if (!closeWebSocket(socket, 1008, reason)) return void socket.destroy(error);
  const deadline = setTimeout(() => socket.destroy(error), closingMs).unref();
  socket.once('close', () => clearTimeout(deadline));
}

/**
 * Begins the closing handshake of a WebSocket of the library `ws`, as only it knows where one frame ends and the next may begin. False where the
 * socket carries something else.
 */
export function closeWebSocket(socket: Duplex, code: CloseCode, reason: string): boolean {
  try {
    const webSocket = webSocketOf(socket);
    webSocket?.close(code, reason);
    return webSocket !== undefined;
  } catch {
    return false;
  }
}

/** `ws` keeps its WebSocket on the socket, under a symbol of its own. */
function webSocketOf(socket: Duplex): WebSocketLike | undefined {
  const key = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  if (key === undefined) return undefined;
  const value = (socket as unknown as Record<symbol, Partial<WebSocketLike> | null | undefined>)[key];
  return typeof value?.close === 'function' ? (value as WebSocketLike) : undefined;
}
