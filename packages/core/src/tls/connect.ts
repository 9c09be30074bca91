import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { EnmeshError } from '../errors.js';
import { codeOf } from './secure-context.js';

/** Told once: either an error and no socket, or a verified socket that has not carried a byte of the application yet. */
export type ConnectCallback = (error: Error | null, socket: TLSSocket | null) => void;

/** One attempt at a TLS connection. */
export interface TlsAttempt {
  /** Who is called, for messages. */
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly tls: ConnectionOptions;
  /** For name, TCP and handshake together, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Looks at the finished handshake and throws what speaks against it. */
  readonly verify: (socket: TLSSocket) => void;
}

/**
 * Makes one TLS connection, never from a cached session, and gives it away only after `verify` has passed. Any doubt destroys the socket.
 * Errors: `ENMESH_TLS_CONNECT_FAILED`, `ENMESH_TLS_CONNECT_TIMEOUT`, `ENMESH_TLS_SERVER_UNVERIFIED`, what `verify` throws, or the signal's reason.
 */
export function attemptTls(attempt: TlsAttempt, callback: ConnectCallback): void {
  const { signal } = attempt;
  const where = `${attempt.service} at ${attempt.host}:${attempt.port}`;
  if (signal?.aborted) return void process.nextTick(callback, abortError(signal), null);
  const socket = connect({ ...attempt.tls, host: attempt.host, port: attempt.port });
  let isSettled = false;
  const settle = (error: Error | null): void => {
    if (isSettled) return;
    isSettled = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    socket.removeListener('close', onClose);
    if (error === null) {
      socket.removeListener('error', onError);
      return callback(null, socket);
    }
    // `onError` stays: what the socket says from now on is of no interest, but must not end the process.
    socket.destroy();
    callback(error, null);
  };
  const onError = (error: Error): void => settle(handshakeError(where, socket, error));
  const onClose = (): void => settle(new EnmeshError('ENMESH_TLS_CONNECT_FAILED', `${where} closed the connection`));
  const onAbort = (): void => settle(abortError(signal));
  const timer = setTimeout(() => {
    settle(new EnmeshError('ENMESH_TLS_CONNECT_TIMEOUT', `${where} did not connect within ${attempt.timeoutMs} ms`));
  }, attempt.timeoutMs);
  signal?.addEventListener('abort', onAbort, { once: true });
  socket.on('error', onError);
  socket.on('close', onClose);
  socket.once('secureConnect', () => settle(objectionOf(attempt, where, socket)));
}

function objectionOf(attempt: TlsAttempt, where: string, socket: TLSSocket): Error | null {
  try {
    // A resumed handshake checks neither certificate nor names, so an answer to it proves nothing.
    if (socket.isSessionReused()) throw new EnmeshError('ENMESH_TLS_SESSION_RESUMED', `${where} resumed a session`);
    attempt.verify(socket);
    return null;
  } catch (error) {
    if (error instanceof EnmeshError) return error;
    return new EnmeshError('ENMESH_TLS_SERVER_UNVERIFIED', `the certificate of ${where} cannot be checked: ${codeOf(error)}`);
  }
}

function handshakeError(where: string, socket: TLSSocket, error: Error): EnmeshError {
  const code = codeOf(error);
  // Set by Node when the chain or a name did not verify. The error itself may hold the whole certificate, so it goes no further.
  if (socket.authorizationError as unknown) {
    return new EnmeshError('ENMESH_TLS_SERVER_UNVERIFIED', `the certificate of ${where} was refused: ${code}`, {
      details: { reason: code },
    });
  }
  return new EnmeshError('ENMESH_TLS_CONNECT_FAILED', `cannot connect to ${where}: ${code}`, {
    cause: error,
    details: { reason: code },
  });
}

function abortError(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException('The connection attempt was aborted', 'AbortError');
}
