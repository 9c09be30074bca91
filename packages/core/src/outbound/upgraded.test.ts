import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { noticeEvents, type NoticeEvent } from '../telemetry/events.js';
import { endDistrusted } from './upgraded.js';
import { heard } from '../../../../test/support/waiting.js';

let server: Server;
const ends: (() => unknown)[] = [];
beforeEach(async () => {
  server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
});
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
});

describe('endDistrusted', () => {
  it('closes a WebSocket of ws by 1008 at both ends, with a notice', async () => {
    const notices: NoticeEvent[] = [];
    ends.push(noticeEvents.subscribe((notice) => void notices.push(notice)));
    const sockets = new WebSocketServer({ server });
    const accepted = heard<[WebSocket]>(sockets, 'connection');
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    const upgraded = heard(client, 'upgrade');
    await heard(client, 'open');
    const [atServer] = await accepted;
    const closes = Promise.all([client, atServer].map((one) => heard<[number, Buffer]>(one, 'close')));
    const [{ socket }] = (await upgraded) as [{ socket: Duplex }];
    endDistrusted(socket);
    expect((await closes).map(([code]) => code)).toEqual([1008, 1008]);
    expect(notices.map(({ kind, code }) => [kind, code])).toEqual([['stream-ended', 'ENMESH_OUTBOUND_DISTRUSTED']]);
  });
});
