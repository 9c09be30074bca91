import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { addResponseHeaders } from './response-headers.js';

async function answerOf(write: (response: ServerResponse) => void): Promise<IncomingMessage> {
  const server = createServer((_request, response) => {
    addResponseHeaders(response, [
      ['set-cookie', 'ours=1'],
      ['x-quota', '7'],
    ]);
    write(response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const answer = await new Promise<IncomingMessage>((done, fail) =>
    get({ port, host: '127.0.0.1', agent: false }, done).on('error', fail),
  );
  answer.resume();
  await new Promise((done) => answer.on('end', done));
  server.close();
  return answer;
}

describe('headers for the client of an allowed request', () => {
  it.each([
    ['end()', (response) => response.setHeader('set-cookie', 'app=1').setHeader('x-app', 'a').end()],
    ['write()', (response) => (response.setHeader('set-cookie', 'app=1').setHeader('x-app', 'a').write('x'), response.end())],
    ['writeHead() with an object', (response) => response.writeHead(200, { 'set-cookie': 'app=1', 'x-app': 'a' }).end()],
    ['writeHead() with a reason', (response) => response.writeHead(200, 'Fine', { 'set-cookie': 'app=1', 'x-app': 'a' }).end()],
    ['writeHead() with a flat list', (response) => response.writeHead(200, ['set-cookie', 'app=1', 'x-app', 'a']).end()],
    [
      'writeHead() with pairs',
      (response) =>
        response
          .writeHead(200, [
            ['set-cookie', 'app=1'],
            ['x-app', 'a'],
          ] as never)
          .end(),
    ],
    [
      'setHeader() replaced by writeHead()',
      (response) =>
        response
          .setHeader('x-app', 'old')
          .writeHead(200, { 'X-App': 'a', 'set-cookie': ['app=1'] })
          .end(),
    ],
  ] as [string, (response: ServerResponse) => void][])('stand beside those of the application, by %s', async (_how, write) => {
    const { headers } = await answerOf(write);
    expect(headers['set-cookie']).toEqual(['app=1', 'ours=1']);
    expect(headers).toMatchObject({ 'x-quota': '7', 'x-app': 'a' });
  });
});
