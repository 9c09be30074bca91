import { connect as connectTcp, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { bytesOf, gatewayOnly, istioAlpn, openWitness, statusesIn, type Witness } from '../../support/attack.js';
import { createHouse, open, send, type House } from '../../support/house.js';
import { closed, heard } from '../../support/waiting.js';

// Dripping bytes and the deadlines of the server alone: packages/core/src/tls/pending.test.ts. Caches: packages/core/src/jwt/verify.test.ts.
const modes = ['STRICT', 'PERMISSIVE'] as const;
const houses: Partial<Record<string, House>> = {};
const witnesses: Partial<Record<string, Witness>> = {};
const house = (mode: string): House => houses[mode] as House;
const witness = (mode: string): Witness => witnesses[mode] as Witness;
const reachedAnywhere = (): number => modes.reduce((sum, mode) => sum + witness(mode).reached.length, 0);

beforeAll(async () => {
  for (const mode of modes) {
    houses[mode] = await createHouse(gatewayOnly(mode));
    witnesses[mode] = await openWitness(house(mode).mesh);
  }
});
afterAll(async () => {
  for (const mode of modes) await house(mode).close();
});

const get = 'GET / HTTP/1.1\r\nHost: product\r\nConnection: close\r\n\r\n';

describe('rule 12: slow and strange clients', () => {
  afterEach(() => vi.useRealTimers());

  it.each([
    ['nothing', '', 'STRICT', 5_000],
    ['nothing', '', 'PERMISSIVE', 5_000],
    ['one byte of TLS', '\x16', 'STRICT', 10_000],
    ['one byte of TLS', '\x16', 'PERMISSIVE', 10_000],
    ['half a ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 'STRICT', 10_000],
  ])('that send %s (%j) to a %s port are cut after %i ms', async (_what, bytes, mode, deadline) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { port, server } = witness(mode);
    const accepted = heard(server, 'connection');
    const socket = connectTcp(port, '127.0.0.1');
    const closed = bytesOf(socket, bytes);
    await accepted;
    await turns();
    vi.advanceTimersByTime(deadline);
    expect(await closed).toBe('');
  });

  it.each([
    ['HTTP behind the first byte of TLS', `\x16${get}`],
    ['HTTP behind a record header of TLS', `\x16\x03\x01\x00\x05${get}`],
    ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'],
    ['a PROXY line', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${get}`],
    ['a PROXY v2 header', '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c'],
    ['an SSLv2 hello', '\x80\x2e\x01\x03\x01\0\x15'],
    ['zeros', '\0'.repeat(64)],
    ['an alert', '\x15\x03\x03\0\x02\x02\x28'],
  ])('that send %s reach no handler and get no 200, in either mode', async (_what, bytes) => {
    const before = reachedAnywhere();
    for (const mode of modes) {
      const received = await bytesOf(connectTcp(witness(mode).port, '127.0.0.1'), bytes, true);
      expect(statusesIn(received)).not.toContain(200);
      if (mode === 'STRICT') expect(received).not.toContain('HTTP');
    }
    expect(reachedAnywhere()).toBe(before);
  });

  it('that break off anywhere in a handshake harm nobody', async () => {
    const hello = await clientHello();
    for (let length = 0; length < hello.length; length += 7) {
      const socket = connectTcp(witness('STRICT').port, '127.0.0.1');
      socket.on('error', () => {});
      socket.write(hello.subarray(0, length), () => socket.resetAndDestroy());
      await closed(socket);
    }
    const as = await house('STRICT').svid('gateway');
    expect(
      (await send({ port: witness('STRICT').port, as, roots: [house('STRICT').authority.rootPem] }, 'GET', '/')).status,
    ).toBe(200);
  });
});

describe('rule 12: headers are counted, and never cut', () => {
  const blocked = gatewayOnly('PERMISSIVE').replace(
    /spec: \{rules.*/,
    'spec: {action: DENY, rules: [{when: [{key: "request.headers[x-last]", values: ["*"]}]}]}',
  );
  const fillers = (count: number): [string, string][] => Array.from({ length: count }, (_none, i) => [`x-filler-${i}`, '1']);

  it('a DENY on the last header holds up to the limit, and from the limit on there is 431', async () => {
    const one = await createHouse(blocked);
    const { port, reached } = await openWitness(one.mesh);
    const statuses: Record<number, number> = {};
    // Host and Connection stand in each request too.
    for (const lines of [1, 31, 32, 33, 63, 64, 97, 98, 99, 100, 128, 129, 500]) {
      const { status } = await send({ port }, 'GET', '/', [...fillers(lines - 1), ['x-last', 'x']]);
      statuses[lines + 2] = status;
    }
    expect(statuses).toEqual({
      3: 403,
      33: 403,
      34: 403,
      35: 403,
      65: 403,
      66: 403,
      99: 403,
      100: 431,
      101: 431,
      102: 431,
      130: 431,
      131: 431,
      502: 431,
    });
    expect((await send({ port }, 'GET', '/', fillers(97))).status).toBe(200);
    expect(reached).toHaveLength(1);
    await one.close();
  });

  it('more bytes than Node takes end in 431 of its own', async () => {
    const { status } = await send({ port: witness('PERMISSIVE').port }, 'GET', '/', [['x-large', 'x'.repeat(20_000)]]);
    expect(status).toBe(431);
  });
});

/** Lets what is under way on sockets arrive, without a timer. */
async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((done) => setImmediate(done));
}

/** The first flight of a TLS client, as bytes. */
async function clientHello(): Promise<Buffer> {
  const server = createServer();
  const port = await open(server);
  const client = connectTls({ port, host: '127.0.0.1', ALPNProtocols: [...istioAlpn], rejectUnauthorized: false });
  client.on('error', () => {});
  const [socket] = await heard<[Socket]>(server, 'connection');
  const [hello] = await heard<[Buffer]>(socket, 'data');
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}
