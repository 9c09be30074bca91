import type { ClientRequest } from 'node:http';
import { EnmeshError } from '../errors.js';
import { isIdentityHeader, type HeaderLine } from './call-headers.js';

/** Ends a request that has no socket yet. It tells of its error only this way; destroy() alone stays silent. */
export function refuseRequest(request: ClientRequest, error: Error): void {
  (request as unknown as { onSocket(socket: null, error: Error): void }).onSocket(null, error);
}

/** Throws `ENMESH_PROPAGATION_HEADERS_SENT` where Node has written the headers down, so that no token can be added. */
export function objectToWritten(request: ClientRequest): void {
  if (request.headersSent)
    throw new EnmeshError(
      'ENMESH_PROPAGATION_HEADERS_SENT',
      `the headers of the call to ${request.host} were written before the token of its user could be added`,
    );
}

/** Takes identity headers off a call, those already set and those set later, and puts `lines` in the place of what the application sets by their names. */
export function stripIdentity(request: ClientRequest, given: unknown, lines: readonly HeaderLine[] = []): void {
  const names = Array.isArray(given) ? given.flat().filter((_, i) => i % 2 === 0) : [];
  if (names.some((name) => isIdentityHeader(String(name)))) {
    // Node has written these down already; nothing can take them out.
    throw new EnmeshError(
      'ENMESH_OUTBOUND_UNDECLARED',
      `a call to ${request.host} carries an identity header, which is not the application's to send`,
    );
  }
  const isTaken = (name: string): boolean => isIdentityHeader(name) || lines.some(([own]) => own === name.toLowerCase());
  for (const name of request.getHeaderNames()) if (isTaken(name)) request.removeHeader(name);
  const { setHeader, appendHeader } = request;
  for (const [name, value] of lines) setHeader.call(request, name, value);
  request.setHeader = (name, value) => (isTaken(name) ? request : setHeader.call(request, name, value));
  request.appendHeader = (name, value) => (isTaken(name) ? request : appendHeader.call(request, name, value));
}

/** Keeps back what the application writes, because the first byte of it closes the headers. The result lets it go on, in order. */
export function holdWrites(request: ClientRequest): () => void {
  const held: (() => void)[] = [];
  const methods = ['write', 'end', 'flushHeaders'] as const;
  const target = request as unknown as Record<string, unknown>;
  // Others may have put theirs in their place: they get it back.
  const before = methods.map((name) => [name, Object.hasOwn(target, name) ? target[name] : undefined] as const);
  for (const name of methods) {
    const original = request[name] as (...args: unknown[]) => unknown;
    target[name] = (...args: unknown[]): unknown => {
      held.push(() => void original.apply(request, args));
      return name === 'end' ? request : false;
    };
  }
  return () => {
    for (const [name, own] of before) {
      if (own === undefined) delete target[name];
      else target[name] = own;
    }
    for (const write of held) write();
    // Whoever was told to wait, by false, waits for this.
    process.nextTick(() => request.emit('drain'));
  };
}
