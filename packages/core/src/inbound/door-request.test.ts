import { createServer, request as call, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { compileStrip } from '../propagation/strip.js';
import { applyEdits, DoorRequest, sentHeaders, type HeaderEdits } from './door-request.js';

const edits: HeaderEdits = {
  removed: ['authorization', 'x-forged'],
  joined: new Map([['x-forwarded-for', '1.1.1.1,2.2.2.2']]),
  added: [['x-payload', 'verified']],
  strip: compileStrip(['x-payload']),
};

const lines = [
  'Host',
  'a',
  'Authorization',
  'Bearer secret',
  'X-Forged',
  '1',
  'x-forged',
  '2',
  'X-Forwarded-For',
  '1.1.1.1',
  'x-forwarded-for',
  '2.2.2.2',
  'x-kept',
  'k',
];

/** Sends one request with trailers to a server of the given class and resolves what its readers see after the edits. */
async function readersOf(door: boolean): Promise<Record<string, unknown>> {
  const seen = await new Promise<Record<string, unknown>>((done, fail) => {
    const server = createServer(door ? { IncomingMessage: DoorRequest as typeof IncomingMessage } : {}, (request, response) => {
      try {
        expect(sentHeaders(request)).toContain('Bearer secret');
        applyEdits(request, edits);
        request.resume().on('end', () => {
          const { headers, rawHeaders, headersDistinct, trailers, rawTrailers, trailersDistinct } = request;
          response.end();
          server.close();
          done({
            headers: { ...headers },
            rawHeaders: [...rawHeaders],
            headersDistinct: { ...headersDistinct },
            trailers: { ...trailers },
            rawTrailers,
            trailersDistinct: { ...trailersDistinct },
          });
        });
      } catch (error) {
        fail(error as Error);
      }
    });
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      const out = call({
        port,
        host: '127.0.0.1',
        method: 'POST',
        headers: [...lines, 'Transfer-Encoding', 'chunked', 'Trailer', 'x-sum, x-payload'],
      });
      out.on('response', (response) => response.resume());
      out.write('body');
      out.addTrailers([
        ['x-sum', '1'],
        ['X-Payload', 'forged'],
        ['authorization', 'Bearer secret'],
      ]);
      out.end();
    });
  });
  return seen;
}

describe.each([
  ['the door', true],
  ["another server's request (middleware form)", false],
])('what readers see at %s', (_title, door) => {
  it('is the same for headers, rawHeaders, headersDistinct and trailers', async () => {
    const seen = await readersOf(door);
    const { headers, rawHeaders, headersDistinct, trailers, rawTrailers, trailersDistinct } = seen as {
      headers: Record<string, string>;
      rawHeaders: string[];
      headersDistinct: Record<string, string[]>;
      trailers: Record<string, string>;
      rawTrailers: string[];
      trailersDistinct: Record<string, string[]>;
    };
    expect(JSON.stringify(seen)).not.toContain('secret');
    expect(JSON.stringify(seen)).not.toContain('forged');
    expect('authorization' in headers).toBe(false);
    expect(headers).toMatchObject({ host: 'a', 'x-forwarded-for': '1.1.1.1,2.2.2.2', 'x-payload': 'verified', 'x-kept': 'k' });
    expect(rawHeaders.filter((_value, i) => i % 2 === 0).map((name) => name.toLowerCase())).toEqual(
      expect.arrayContaining(['host', 'x-forwarded-for', 'x-kept', 'x-payload']),
    );
    expect(Object.keys(headersDistinct).sort()).toEqual(Object.keys(headers).sort());
    expect(headersDistinct['x-forwarded-for']).toEqual(['1.1.1.1,2.2.2.2']);
    expect(trailers).toEqual({ 'x-sum': '1' });
    expect(rawTrailers).toEqual(['x-sum', '1']);
    expect(trailersDistinct).toEqual({ 'x-sum': ['1'] });
  });
});
