import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseGivenRequest, readText, type GivenRequest } from './wire.js';
import { closed } from '../../../../test/support/waiting.js';

const host = ['host', 'a'] as const;
const get = (more: Partial<GivenRequest>): GivenRequest => ({ method: 'GET', target: '/x', headers: [host], ...more });

const requests: readonly (readonly [string, GivenRequest])[] = [
  ['a plain request', get({})],
  ['another method', get({ method: 'PURGE' })],
  ['spaces behind the method', get({ method: 'GET  ' })],
  ['a tab behind the method', get({ method: 'GET\t' })],
  ['an unknown method', get({ method: 'FETCH' })],
  ['a method in lower case', get({ method: 'get' })],
  ['a colon in a name', get({ headers: [host, ['x:role', 'admin']] })],
  ['white space around a value', get({ headers: [host, ['x', '\t a b \t']] })],
  ['a name with a space', get({ headers: [host, ['x y', 'a']] })],
  ['an empty name', get({ headers: [host, ['', 'a']] })],
  ['a control character in a value', get({ headers: [host, ['x', 'a\u0001']] })],
  ['letters beyond ASCII in a value', get({ headers: [host, ['x', 'caf\u00e9 \u4e2d']] })],
  ['an empty value', get({ headers: [host, ['x', '']] })],
  ['two equal lines', get({ headers: [host, ['x', '1'], ['X', '2']] })],
  ['no Host', get({ headers: [] })],
  ['an empty Host', get({ headers: [['host', '']] })],
  ['a target in absolute form', get({ target: 'http://b/x' })],
  ['content-length that is no number', get({ headers: [host, ['content-length', 'x']] })],
  ['content-length twice', get({ headers: [host, ['content-length', '0'], ['content-length', '0']] })],
  ['content-length beside chunks', get({ headers: [host, ['content-length', '0'], ['transfer-encoding', 'chunked']] })],
];

describe("a given request, beside what Node's parser makes of its bytes", () => {
  let server: Server;
  let seen: readonly unknown[] | undefined;

  beforeAll(async () => {
    server = createServer((request, response) => {
      seen = [request.method, request.url, request.rawHeaders];
      response.end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(() => void server.close());

  async function parse({ method, target, headers }: GivenRequest): Promise<readonly unknown[] | 'refused'> {
    seen = undefined;
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const lines = [...headers, ['connection', 'close']].map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.end(Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines}\r\n`, 'utf8'));
    socket.resume();
    await closed(socket);
    return seen ?? 'refused';
  }

  it.each(requests)('is read or refused alike: %s', async (_, request) => {
    const parsed = parseGivenRequest({ ...request, headers: [...request.headers, ['connection', 'close']] });
    const told = typeof parsed === 'string' ? 'refused' : [parsed.method, parsed.target, parsed.lines];
    expect(told).toEqual(await parse(request));
  });

  it('has text back that is UTF-8, and leaves alone what is not', () => {
    expect(readText('caf\u00c3\u00a9')).toBe('caf\u00e9');
    expect(readText('caf\u00e9')).toBe('caf\u00e9');
    expect(readText('\u4e2d')).toBe('\u4e2d');
  });

  it.each([
    ['white space', '/a b'],
    ['nothing', ''],
    ['a control character', '/a\u0000'],
  ])('refuses a target with %s', (_, target) => {
    expect(parseGivenRequest(get({ target }))).toBe('the target holds white space or control characters');
  });
});
