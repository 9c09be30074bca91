import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { closeWebSocket, endStream } from './end-stream.js';
import { closed } from '../../../../test/support/waiting.js';

const withWebSocket = (value: unknown): PassThrough => Object.assign(new PassThrough(), { [Symbol('websocket')]: value });

describe('endStream', () => {
  it('destroys what is no WebSocket, so that it has no proper end', async () => {
    const socket = new PassThrough();
    let hasEnded = false;
    socket.resume().on('end', () => (hasEnded = true));
    endStream(socket);
    await closed(socket);
    expect([socket.destroyed, hasEnded]).toEqual([true, false]);
  });

  it('leaves the end of a WebSocket to its library', () => {
    const closes: unknown[] = [];
    const socket = withWebSocket({ close: (...args: unknown[]) => closes.push(args) });
    endStream(socket, 'the token has expired');
    expect([closes, socket.destroyed]).toEqual([[[1008, 'the token has expired']], false]);
    socket.destroy();
  });

  it.each([
    ['a library that throws', { close: () => fail() }],
    ['something else under that name', { send: () => {} }],
    ['nothing under that name', null],
  ])('destroys a socket with %s', (_title, value) => {
    const socket = withWebSocket(value);
    endStream(socket);
    expect(socket.destroyed).toBe(true);
  });
});

describe('closeWebSocket', () => {
  it('says whether there was one', () => {
    expect(closeWebSocket(withWebSocket({ close: () => {} }), 1001, '')).toBe(true);
    expect(closeWebSocket(new PassThrough(), 1001, '')).toBe(false);
  });
});

function fail(): never {
  throw new Error('broken');
}
