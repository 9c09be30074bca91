import { ClientRequest, type OutgoingHttpHeaders } from 'node:http';
import { EnmeshError } from '../errors.js';
import { guardedBodyBytes, type CallGuard, type GuardedCall } from '../propagation/egress-guard.js';
import { objectToWritten } from './agent-request.js';
import type { HeaderLine } from './call-headers.js';
import type { CallChecks } from './guard-call.js';

/** Marks an agent whose calls the guard has looked at already. Registered, for the clients of a mesh may be another copy of this module. */
export const guardsItself: unique symbol = Symbol.for('enmesh.guards-itself') as never;

/**
 * Lets the egress guard look at a request of node:http: at what is set already, and at what is set or written later, in whatever context that happens; and gives it the
 * transaction token that passes on. Throws `ENMESH_PROPAGATION_EGRESS`, as later setters do, and `ENMESH_PROPAGATION_HEADERS_SENT`.
 */
export function checkRequest({ guard, passing }: CallChecks, request: ClientRequest, given: unknown): void {
  if (passing !== undefined) {
    objectToWritten(request);
    // The application's own copy of it gives way to ours.
    request.removeHeader(passing[0]);
  }
  if (guard !== undefined) guardRequest(guard, request, given);
  if (passing !== undefined) holdLine(request, passing);
}

function guardRequest(guard: CallGuard, request: ClientRequest, given: unknown): void {
  const written = pairsOf(given);
  const found = guard.inspect({ path: request.path, headers: [...written, ...Object.entries(request.getHeaders())] });
  if (found !== undefined) apply(found, request, written);
  guardSetters(guard, request);
  if (guard.checkBody !== undefined) guardWrites(request, guard.checkBody);
}

/** Sets a header that the application cannot replace. */
function holdLine(request: ClientRequest, [own, value]: HeaderLine): void {
  ClientRequest.prototype.setHeader.call(request, own, value);
  const { setHeader, appendHeader } = request;
  request.setHeader = (name, other) => (name.toLowerCase() === own ? request : setHeader.call(request, name, other));
  request.appendHeader = (name, other) => (name.toLowerCase() === own ? request : appendHeader.call(request, name, other));
}

/** Headers that were given as a list: Node has written them down already. */
function pairsOf(given: unknown): [string, unknown][] {
  if (!Array.isArray(given)) return [];
  const list = given.flat() as unknown[];
  return list.flatMap((name, i): [string, unknown][] => (i % 2 === 0 ? [[String(name), list[i + 1]]] : []));
}

function apply(found: GuardedCall, request: ClientRequest, written: readonly [string, unknown][]): void {
  const isWritten = written.length > 0 && request.headersSent;
  if (isWritten)
    throw new EnmeshError(
      'ENMESH_PROPAGATION_EGRESS',
      "the call carries the user's token in headers that nothing can be taken out of",
    );
  for (const name of found.without) request.removeHeader(name);
  if (found.cookie !== undefined) request.setHeader('cookie', found.cookie);
  request.path = found.path;
}

function guardSetters(guard: CallGuard, request: ClientRequest): void {
  const { setHeader, appendHeader, addTrailers } = request;
  const passes = (name: string, value: unknown): boolean => guard.inspect({ path: '/', headers: [[name, value]] }) === undefined;
  request.setHeader = (name, value) => (passes(name, value) ? setHeader.call(request, name, value) : request);
  request.appendHeader = (name, value) => (passes(name, value) ? appendHeader.call(request, name, value) : request);
  request.addTrailers = (trailers) => {
    const pairs = Array.isArray(trailers) ? trailers : Object.entries(trailers as OutgoingHttpHeaders);
    addTrailers.call(request, pairs.filter(([name, value]) => passes(String(name), value)) as [string, string][]);
  };
}

/** Looks at the start of a body as it grows, each time before the next piece is written. */
function guardWrites(request: ClientRequest, check: (start: Uint8Array | string) => void): void {
  const { write, end } = request;
  let start = Buffer.alloc(0);
  const look = (chunk: unknown, encoding: unknown): void => {
    if (start.length >= guardedBodyBytes || chunk === undefined || chunk === null || typeof chunk === 'function') return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, encodingOf(encoding)) : Buffer.from(chunk as Uint8Array);
    start = Buffer.concat([start, bytes.subarray(0, guardedBodyBytes - start.length)]);
    check(start);
  };
  const guarded =
    (original: (...args: unknown[]) => unknown, otherwise: unknown) =>
    (...args: unknown[]): unknown => {
      try {
        look(args[0], args[1]);
      } catch (error) {
        request.destroy(error as Error);
        return otherwise;
      }
      return original.apply(request, args);
    };
  request.write = guarded(write as (...args: unknown[]) => unknown, false) as typeof request.write;
  request.end = guarded(end as (...args: unknown[]) => unknown, request) as typeof request.end;
}

const encodingOf = (encoding: unknown): BufferEncoding =>
  typeof encoding === 'string' && Buffer.isEncoding(encoding) ? encoding : 'utf8';
