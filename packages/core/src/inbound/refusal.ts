import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { MeshSnapshot } from '../config/snapshot.js';
import type { HeaderLine } from '../custom/contract.js';
import { errorTable, type ErrorCode } from '../errors.js';
import type { Decision } from '../policy/evaluate.js';
import type { RequestAttributes } from '../request/attributes.js';
import type { Step } from '../telemetry/events.js';

/** A request that the mesh answers itself. `reason` is for operators; the client gets `body` and, unless switched off, the id. */
export interface Refusal {
  readonly id: string;
  readonly step: Step;
  readonly code: ErrorCode;
  readonly status: number;
  readonly body: string;
  readonly reason: string;
  readonly decision: Decision | undefined;
  /** What policies judged, and by what, for who explains the decision; of the authorize step only. Never to be kept: it reaches the request's headers. */
  readonly judged: { readonly attributes: RequestAttributes; readonly snapshot: MeshSnapshot } | undefined;
  /** What an external authorizer answers with: its headers, and its body where that is more than text. */
  readonly headers: readonly HeaderLine[];
  readonly payload: Buffer | undefined;
  /** Value of `www-authenticate`, for 401 and 403 of the jwt step. */
  readonly challenge: string | undefined;
  /** The connection is reset instead of answered: plaintext at a STRICT port. */
  readonly reset: boolean;
}

/** Makes a refusal; status and body come from the error table unless given (Istio's own bodies are). */
export function createRefusal(
  given: Pick<Refusal, 'step' | 'code' | 'reason'> & Partial<Omit<Refusal, 'step' | 'code' | 'reason' | 'id'>>,
): Refusal {
  return {
    id: randomBytes(8).toString('hex'),
    status: errorTable[given.code].status,
    body: errorTable[given.code].public,
    decision: undefined,
    judged: undefined,
    headers: [],
    payload: undefined,
    challenge: undefined,
    reset: false,
    ...given,
  };
}

/** How a refusal is answered. */
export interface AnswerOptions {
  /** Whether the client is told the decision's id in `x-enmesh-decision`. */
  readonly decisionHeader: boolean;
}

function headersOf(refusal: Refusal, options: AnswerOptions): Record<string, string | number | string[]> {
  const headers: Record<string, string | number | string[]> = { 'content-type': 'text/plain' };
  for (const [name, value] of refusal.headers) {
    const before = name === 'content-type' ? undefined : headers[name];
    headers[name] = before === undefined ? value : [before, value].flat().map(String);
  }
  // An authorizer may deny with a status that has no body.
  if (refusal.status !== 204 && refusal.status !== 304)
    headers['content-length'] = refusal.payload?.length ?? Buffer.byteLength(refusal.body);
  if (refusal.challenge !== undefined) headers['www-authenticate'] = refusal.challenge;
  if (options.decisionHeader) headers['x-enmesh-decision'] = refusal.id;
  return headers;
}

/** Answers a refused request. Its body is not read; the connection is kept unless the client is still sending one. */
export function answerRefusal(response: ServerResponse, refusal: Refusal, options: AnswerOptions): void {
  const { socket } = response;
  // A request that a test injects has no connection to reset.
  if (refusal.reset && socket instanceof Socket) return resetConnection(socket);
  const headers = headersOf(refusal, options);
  const { req } = response;
  if (req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0)
    headers['connection'] = 'close';
  response.writeHead(refusal.status, headers);
  response.end(refusal.payload ?? refusal.body);
}

/** Answers a refused upgrade or CONNECT, for which Node hands over the bare socket, and ends the connection. */
export function answerOnSocket(socket: Duplex, refusal: Refusal, options: AnswerOptions): void {
  if (refusal.reset) return resetConnection(socket);
  const lines = Object.entries({ ...headersOf(refusal, options), connection: 'close' }).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}`),
  );
  const text = statusTexts[refusal.status] ?? 'Refused';
  socket.on('error', () => socket.destroy());
  socket.write(`HTTP/1.1 ${refusal.status} ${text}\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  socket.end(refusal.payload ?? refusal.body);
}

const statusTexts: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** A reset without a byte: what a sidecar gives plaintext at a STRICT port (curl exits 56). */
function resetConnection(socket: Duplex): void {
  if ('resetAndDestroy' in socket && typeof socket.resetAndDestroy === 'function') {
    try {
      socket.resetAndDestroy();
      return;
    } catch {
      // Not a TCP socket: an end without bytes is the nearest there is.
    }
  }
  socket.destroy();
}

/** What a step throws to end the story of a request. Not an Error: no stack is wanted for a request that is merely refused. */
export class Refused {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    this.refusal = refusal;
  }
}
