import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { callPlain, clientCertificate, readToEnd, startLab, type Lab, type Outcome } from '../../../../test/support/tls-lab.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority } from '../testing/authority.js';
import { heard, until } from '../../../../test/support/waiting.js';

let stock: MeshIdentity;
let lab: Lab;

beforeAll(async () => {
  stock = await (await createTestAuthority()).identity({ namespace: 'shop', serviceAccount: 'stock' });
});

afterEach(() => lab.close());

const short = { sniffTimeoutMs: 60, handshakeTimeoutMs: 150 };
const timeouts = [expect.objectContaining({ code: 'ENMESH_TLS_ACCEPT_TIMEOUT', step: 'accept' })];

/** The bytes of a real ClientHello. */
async function clientHello(): Promise<Buffer> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connectTls({ port, host: '127.0.0.1', ...clientCertificate(stock), rejectUnauthorized: false });
  client.on('error', () => {});
  const [socket] = await heard<[Socket]>(server, 'connection');
  const [hello] = await heard<[Buffer]>(socket, 'data');
  client.destroy();
  server.close();
  return hello;
}

async function drip(port: number, bytes: Buffer, everyMs: number): Promise<Outcome> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  const outcome = readToEnd(socket);
  let next = 0;
  const dripping = setInterval(
    () => !socket.destroyed && socket.write(bytes.subarray(next++ % bytes.length, ((next - 1) % bytes.length) + 1)),
    everyMs,
  );
  const result = await outcome;
  clearInterval(dripping);
  return result;
}

describe('a connection that does not begin', () => {
  it('is closed at the sniff deadline when the client sends nothing', async () => {
    lab = await startLab(stock, { server: short });
    expect(await callPlain(lab.port, [])).toEqual({ text: '', end: 'end' });
    expect(lab.refusals).toEqual(timeouts);
  });

  it('is closed at the handshake deadline after one byte of TLS', async () => {
    lab = await startLab(stock, { server: short });
    expect((await callPlain(lab.port, [Buffer.from([0x16])])).text).toBe('');
    expect(lab.refusals).toEqual(timeouts);
  });

  it('is closed at the handshake deadline however steadily the bytes of a ClientHello drip', async () => {
    lab = await startLab(stock, { server: short });
    expect((await drip(lab.port, await clientHello(), 10)).text).toBe('');
    expect(lab.refusals).toEqual(timeouts);
  });

  it('is closed and told to nobody when the client ends it without a byte', async () => {
    lab = await startLab(stock);
    const socket = connect(lab.port, '127.0.0.1');
    socket.end();
    expect(await readToEnd(socket)).toEqual({ text: '', end: 'end' });
    expect(lab.refusals).toEqual([]);
  });

  it('is refused once when bytes that only look like TLS follow', async () => {
    lab = await startLab(stock, { settings: { mode: 'PERMISSIVE' } });
    await callPlain(lab.port, [Buffer.from([0x16]), 'GET / HTTP/1.1\r\nHost: a\r\n\r\n']);
    expect(lab.refusals).toEqual([expect.objectContaining({ code: 'ENMESH_TLS_HANDSHAKE_FAILED' })]);
    expect(lab.served).toEqual([]);
  });

  it('harms nobody by being reset while pending', async () => {
    lab = await startLab(stock);
    for (const bytes of ['', '\x16', '\x16\x03\x01']) {
      const socket = connect(lab.port, '127.0.0.1');
      await heard(socket, 'connect');
      if (bytes !== '') await new Promise((sent) => socket.write(bytes, 'latin1', sent));
      socket.resetAndDestroy();
    }
    const identity = stock;
    const alive = connectTls({ port: lab.port, host: '127.0.0.1', rejectUnauthorized: false, ...clientCertificate(identity) });
    await heard(alive, 'secureConnect');
    alive.destroy();
  });
});

describe('a request in the clear', () => {
  it.each(['PERMISSIVE', 'DISABLE'] as const)('arrives whole in %s when each byte comes alone', async (mode) => {
    lab = await startLab(stock, { settings: { mode } });
    const bytes = [...'GET /a HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n'];
    expect((await callPlain(lab.port, bytes)).text).toContain('served');
  });
});

describe('a ClientHello', () => {
  it('is served when each byte comes alone', async () => {
    lab = await startLab(stock);
    const raw = connect(lab.port, '127.0.0.1').setNoDelay(true);
    const { Duplex } = await import('node:stream');
    const bytewise = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        void (async () => {
          for (const byte of chunk) await new Promise((sent) => raw.write(Buffer.from([byte]), sent));
          done();
        })();
      },
    });
    raw.on('data', (chunk) => bytewise.push(chunk));
    const socket = connectTls({ socket: bytewise, rejectUnauthorized: false, ...clientCertificate(stock) });
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'));
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    await until(() => text.endsWith('served'));
    expect(lab.served).toHaveLength(1);
    raw.destroy();
  });
});

describe('close', () => {
  it('ends silent connections and unfinished handshakes at once', async () => {
    lab = await startLab(stock);
    const silent = connect(lab.port, '127.0.0.1');
    const half = connect(lab.port, '127.0.0.1');
    half.write(Buffer.from([0x16, 3, 1]));
    const ends = [readToEnd(silent), readToEnd(half)];
    let accepted = 0;
    lab.server.on('connection', () => accepted++);
    await until(() => accepted === 2);
    const closed = once(lab.server, 'close');
    lab.server.close();
    await closed;
    expect((await Promise.all(ends)).map(({ text }) => text)).toEqual(['', '']);
    expect(lab.refusals).toEqual([]);
  });
});
