import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { X509Svid } from '@enmesh/core';
import { createFleet, form, type Counted, type Fleet } from './support/fleet.js';
import { pause, printFigures, total, until, watchLateness } from './support/figures.js';
import { ask, openTcp, openTls } from './support/raw-client.js';
import { heard } from '../support/waiting.js';

const slowOnes = form(200, 2_000);
const dripMs = form(250, 1_000);
/** How long clients of each kind may last, by the defaults; the short form sets shorter ones. */
const bounds = form({ silent: 1_500, hello: 3_000, head: 5_000 }, { silent: 10_000, hello: 10_000, head: 60_000 });
const http = { headersTimeout: 3_000, connectionsCheckingInterval: 1_000 };
const server = form({ sniffTimeoutMs: bounds.silent, handshakeTimeoutMs: bounds.hello, http }, {});
/** What a timer and the driver of many sockets may be late by, where the machine lets them run. */
const timerMs = 500;
const url = 'http://product.shop.svc.cluster.local/';

let fleet: Fleet;
beforeEach(async () => {
  fleet = await createFleet();
});
afterEach(() => fleet.close());

/** The bytes of a ClientHello of a real client. */
async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  socket.on('error', () => {});
  const [accepted] = await heard<[Socket]>(server, 'connection');
  const [bytes] = await heard<[Buffer]>(accepted, 'data');
  for (const end of [socket, accepted]) end.destroy();
  server.close();
  return bytes;
}

/** Writes one byte after the other until the connection ends. */
function drip(socket: Duplex, bytes: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at >= bytes.length) return void clearInterval(timer);
    socket.write(bytes.subarray(at, ++at));
  }, dripMs);
}

/** Resolves when the connection is gone, however it went. */
function closed(socket: Duplex): Promise<void> {
  return new Promise((done) => (socket.closed ? done() : void socket.once('close', () => done())));
}

type Open = () => Duplex;

/** Opens many, and tells how long the last of them lived. */
async function longestLife(count: number, open: Open): Promise<number> {
  const lives = Array.from({ length: count }, async (_, i) => {
    // Not all in one moment, as no attacker needs to.
    await pause(i * 2);
    const since = performance.now();
    const socket = open();
    await closed(socket);
    return performance.now() - since;
  });
  return Math.max(...(await Promise.all(lives)));
}

function attacks(port: number, svid: X509Svid, hello: Buffer): Readonly<Record<'silent' | 'hello' | 'head', Open>> {
  return {
    silent: () => openTcp(port),
    hello() {
      const socket = openTcp(port);
      drip(socket, hello);
      return socket;
    },
    head() {
      const socket = openTls(port, svid, fleet.roots);
      const head = Buffer.from(`GET / HTTP/1.1\r\nhost: product\r\nx-slow: ${'x'.repeat(4_096)}`);
      socket.once('secureConnect', () => drip(socket, head));
      return socket;
    },
  };
}

it(
  'F7: slow and silent clients are cut off in time while good ones are served as before',
  async () => {
    const service = await fleet.start('service', { serviceAccount: 'product', lifeMs: 3_600_000, server });
    fleet.declare({ product: service.port });
    const caller = await fleet.start('caller', { serviceAccount: 'gateway', lifeMs: 3_600_000 });
    const { silent, hello, head } = attacks(service.port, await fleet.issue('gateway'), await clientHello());
    await caller.ask('load', { url, connections: 20, perSecond: 200 });
    await pause(1_000);
    await caller.ask('take');
    await pause(form(2_000, 10_000));
    const calm = await caller.ask<Counted>('take');
    const lateness = await watchLateness(service);
    const each = slowOnes / 4;
    const running = [longestLife(each * 2, silent), longestLife(each, hello), longestLife(each, head)] as const;
    const [silentMs, helloMs] = await Promise.all([running[0], running[1]]);
    const attacked = await caller.ask<Counted>('take');
    const headersMs = await running[2];
    const lateMs = timerMs + (await lateness());
    await caller.ask('stop');
    const later = await caller.ask<Counted>('take');
    printFigures('F7 slow clients', {
      clients: slowOnes,
      requests: attacked.ok,
      failed: total(attacked.failures) + total(later.failures),
      'p99 ms calm': calm.p99,
      attacked: attacked.p99,
      'longest silent ms': silentMs,
      'longest ClientHello ms': helloMs,
      'longest head ms': headersMs,
      'late by the machine ms': lateMs,
    });
    expect({ ...attacked.failures, ...later.failures }).toEqual({});
    expect(silentMs).toBeLessThanOrEqual(bounds.silent + lateMs);
    expect(helloMs).toBeLessThanOrEqual(bounds.hello + lateMs);
    expect(headersMs).toBeLessThanOrEqual(bounds.head + lateMs);
    // The driver opens its connections on the same cores, so the bound is of the long form, on an idle machine.
    if (form(false, true)) expect(attacked.p99).toBeLessThanOrEqual(3 * Math.max(calm.p99, 5));
    await until(async () => (await ask(openTls(service.port, await fleet.issue('gateway'), fleet.roots))) === true);
  },
  form(240_000, 300_000),
);
