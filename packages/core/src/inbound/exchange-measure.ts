import { ServerResponse, type IncomingMessage } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Duplex } from 'node:stream';
import type { RequestAudit } from '../telemetry/audit.js';

/** What is known of an exchange at its end. */
export type ExchangeEnd = Pick<RequestAudit, 'status' | 'requestBytes' | 'responseBytes' | 'durationMs' | 'isComplete'>;

/** An exchange that is being measured. */
export interface Measured {
  /** Calls `tell` once, when the exchange has ended; at once when it has. */
  onEnd(tell: (end: ExchangeEnd) => void): void;
}

/** Measures one exchange from now on: bytes of both bodies, status, duration. For audited requests only: it takes methods of their own. */
export function measureExchange(request: IncomingMessage, reply: ServerResponse | Duplex): Measured {
  const startedAt = performance.now();
  const received = countReceived(request);
  const read = reply instanceof ServerResponse ? measureResponse(request, reply) : measureUpgrade(reply);
  let tell: ((end: ExchangeEnd) => void) | undefined;
  let ended: ExchangeEnd | undefined;
  const end = (): void => {
    if (ended !== undefined) return;
    ended = { requestBytes: received(), durationMs: performance.now() - startedAt, ...read() };
    tell?.(ended);
  };
  // A response that a test injects may finish without ever closing.
  if (reply instanceof ServerResponse) reply.on('finish', end);
  reply.on('close', end);
  return {
    onEnd(told) {
      if (ended !== undefined) told(ended);
      else tell = told;
    },
  };
}

/** Counts the body as it comes in from the parser, read or not. */
function countReceived(request: IncomingMessage): () => number {
  if (request.headers['content-length'] === undefined && request.headers['transfer-encoding'] === undefined) return () => 0;
  let count = 0;
  const { push } = request;
  request.push = (chunk: unknown, encoding?: BufferEncoding) => {
    count += sizeOf(chunk, encoding);
    return push.call(request, chunk, encoding);
  };
  return () => count;
}

type Reading = () => Pick<ExchangeEnd, 'status' | 'responseBytes' | 'isComplete'>;

function measureResponse(request: IncomingMessage, response: ServerResponse): Reading {
  let count = 0;
  const { write, end } = response as { write: Method; end: Method };
  // Some `end` of another make calls `write` with what it was given.
  let isInside = false;
  const counting =
    (method: Method): Method =>
    (...args) => {
      if (isInside) return method.apply(response, args);
      count += sizeOf(args[0], args[1]);
      isInside = true;
      try {
        return method.apply(response, args);
      } finally {
        isInside = false;
      }
    };
  Object.assign(response, { write: counting(write), end: counting(end) });
  return () => {
    const { statusCode, headersSent, writableFinished } = response;
    const hasBody = request.method !== 'HEAD' && statusCode !== 204 && statusCode !== 304;
    return { status: headersSent ? statusCode : undefined, responseBytes: hasBody ? count : 0, isComplete: writableFinished };
  };
}

type Method = (...args: unknown[]) => unknown;

/** Whoever answers an upgrade writes the status line itself, first of all. */
function measureUpgrade(socket: Duplex): Reading {
  let status: number | undefined;
  let isFirst = true;
  const write = socket.write as Method;
  const looking: Method = (...args) => {
    if (isFirst) status = statusOf(args[0]);
    isFirst = false;
    // Only ours is taken off again: what others put before it stays.
    if (socket.write === (looking as unknown)) delete (socket as Partial<Duplex>).write;
    return write.apply(socket, args);
  };
  socket.write = looking as typeof socket.write;
  return () => ({ status, responseBytes: undefined, isComplete: true });
}

function statusOf(start: unknown): number | undefined {
  const text = start instanceof Uint8Array ? Buffer.from(start.subarray(0, 13)).toString('latin1') : String(start).slice(0, 13);
  const digits = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function sizeOf(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === 'string')
    return Buffer.byteLength(chunk, typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8');
  return chunk instanceof Uint8Array ? chunk.byteLength : 0;
}
