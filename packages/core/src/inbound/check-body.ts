import type { IncomingMessage } from 'node:http';
import type { CheckBody } from '../policy/provider.js';

/** What of a body was read for a check. `too-large`: it is longer than allowed; `too-slow`: it did not come in time; `gone`: it broke off, or somebody read it before. */
export type BufferedBody = { readonly body: Buffer; readonly isPartial: boolean } | 'too-large' | 'too-slow' | 'gone';

/** Whether a body follows the request's head, by its framing. */
export function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** The declared length of the body; -1 when it is chunked. */
export function declaredSize({ headers }: IncomingMessage): number {
  return headers['transfer-encoding'] !== undefined ? -1 : Number(headers['content-length'] ?? 0);
}

/** As long as Node gives a whole request by default, in milliseconds. */
const longest = 300_000;

/**
 * Reads the beginning of a body and puts it back, so that the handler reads every byte in its turn, however it reads. No more than one chunk
 * beyond `maxRequestBytes` is held, and none for longer than `maxMs`: a server that is not ours may have no `requestTimeout` to end a client that drips.
 */
export function bufferBody(request: IncomingMessage, limits: CheckBody, maxMs = longest): Promise<BufferedBody> {
  const { maxRequestBytes, allowPartialMessage } = limits;
  const declared = declaredSize(request);
  if (declared > maxRequestBytes && !allowPartialMessage) return Promise.resolve('too-large');
  if (request.readableEnded || request.destroyed || request.readableFlowing === true) return Promise.resolve('gone');
  return new Promise((done) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (result: BufferedBody): void => {
      clearTimeout(timer);
      request.off('readable', read).off('end', onGone).off('close', onGone).off('error', onGone);
      done(result);
    };
    const onGone = (): void => settle('gone');
    const timer = setTimeout(() => settle('too-slow'), maxMs);
    timer.unref();
    const read = (): void => {
      for (let chunk = request.read() as Buffer | null; chunk !== null; chunk = request.read() as Buffer | null) {
        chunks.push(chunk);
        size += chunk.length;
        if (size > maxRequestBytes) break;
      }
      const isWhole = request.complete || size === declared;
      if (!isWhole && size <= maxRequestBytes) return;
      const whole = Buffer.concat(chunks);
      // In the same turn as the last read(): Node ends a stream only in the next one, and not while anything is left in it.
      if (size > 0) request.unshift(whole);
      if (size > maxRequestBytes && !allowPartialMessage) return settle('too-large');
      settle({ body: whole.subarray(0, maxRequestBytes), isPartial: size > maxRequestBytes });
    };
    request.on('readable', read).on('end', onGone).on('close', onGone).on('error', onGone);
  });
}
