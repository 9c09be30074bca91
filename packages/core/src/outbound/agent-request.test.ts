import { createServer, request as httpRequest, type ClientRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdWrites, objectToWritten, stripIdentity } from './agent-request.js';

let port: number;
const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
  request.on('end', () => response.end(JSON.stringify({ late: request.headers['late'], body: body.length })));
});
beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => void server.close());

const answerOf = (request: ClientRequest): Promise<string> =>
  new Promise((done, fail) => {
    request.on('error', fail).on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => done(text));
    });
  });

const post = (): ClientRequest => httpRequest({ port, host: '127.0.0.1', method: 'POST' });
const soon = (act: () => void): void => void setTimeout(act, 20);

describe('a request whose writes are held', () => {
  it('keeps its headers open and then sends all that was written, in order', async () => {
    const request = post();
    const answer = answerOf(request);
    const release = holdWrites(request);
    request.write('abc');
    request.end('def');
    expect(request.headersSent).toBe(false);
    soon(() => {
      request.setHeader('late', 'token');
      release();
    });
    expect(JSON.parse(await answer)).toEqual({ late: 'token', body: 6 });
  });

  it('makes a stream wait, and lets it go on', async () => {
    const request = post();
    const answer = answerOf(request);
    const release = holdWrites(request);
    soon(release);
    await pipeline(Readable.from(Array.from({ length: 50 }, () => 'x'.repeat(1000))), request);
    expect(JSON.parse(await answer)).toEqual({ body: 50_000 });
  });
});

describe('the headers of a request', () => {
  it('are too late for a token once they are written', () => {
    const request = post();
    request.on('error', () => {});
    expect(() => objectToWritten(request)).not.toThrow();
    request.flushHeaders();
    expect(() => objectToWritten(request)).toThrow(expect.objectContaining({ code: 'ENMESH_PROPAGATION_HEADERS_SENT' }) as Error);
    request.destroy();
  });

  it("are not the application's to set again by the names that the mesh gave", () => {
    const request = post();
    request.on('error', () => {});
    request.setHeader('Authorization', 'mine');
    stripIdentity(request, undefined, [['authorization', 'Bearer t']]);
    request.setHeader('AUTHORIZATION', 'mine');
    request.appendHeader('authorization', 'mine');
    request.setHeader('enmesh_hop_token', 'x');
    request.setHeader('b', '1');
    expect({ ...request.getHeaders() }).toEqual({ host: `127.0.0.1:${port}`, authorization: 'Bearer t', b: '1' });
    request.destroy();
  });
});
