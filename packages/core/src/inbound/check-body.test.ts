import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { bufferBody } from './check-body.js';

const limits = { maxRequestBytes: 10, allowPartialMessage: false, packAsBytes: false };

function chunked(...chunks: string[]): IncomingMessage {
  const request = new IncomingMessage(new Socket());
  request.headers['transfer-encoding'] = 'chunked';
  for (const chunk of chunks) request.push(Buffer.from(chunk));
  return request;
}

describe('a body that is read for a check', () => {
  it('is given up when it does not come in time, and left as it was', async () => {
    const request = chunked();
    expect(await bufferBody(request, limits, 1)).toBe('too-slow');
    expect(request.listenerCount('readable')).toBe(0);
    expect(request.listenerCount('end')).toBe(0);
  });

  it('is not read further than it may be', async () => {
    expect(await bufferBody(chunked('eleven bytes'), limits)).toBe('too-large');
    expect(await bufferBody(chunked('eleven bytes'), { ...limits, allowPartialMessage: true })).toEqual({
      body: Buffer.from('eleven byt'),
      isPartial: true,
    });
  });

  it('is gone when the request was closed', async () => {
    const request = chunked();
    const read = bufferBody(request, limits);
    request.destroy();
    expect(await read).toBe('gone');
  });
});
