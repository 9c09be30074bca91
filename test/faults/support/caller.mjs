// A caller under faults: keeps a number of connections busy through the mesh's own client at a steady rate, opens new ones beside them, and counts.
// With `bare` its client is what one writes without enmesh: undici with mutual TLS, and another agent at each renewal.
import { once } from 'node:events';
import { connect } from 'node:tls';
import { createMesh } from '@enmesh/core';
import { Agent, request } from 'undici';
import { answer, clock, wanted } from './child.mjs';
import { createIdentity, keysOf } from './identity.mjs';

const identity = await createIdentity(wanted);
const client = wanted.bare === true ? createBare() : await createMeshed();

let counted = fresh();

async function createMeshed() {
  const { config, serviceAccount } = wanted;
  const mesh = await createMesh({ namespace: 'shop', serviceAccount, config, identity, clock, env: {}, log: false });
  await mesh.ready();
  return mesh;
}

function createBare() {
  const create = () => new Agent({ connect: { ...keysOf(identity), checkServerIdentity: () => undefined } });
  let agent = create();
  identity.svid.watch(() => {
    void agent.close();
    agent = create();
  });
  return { request: (url, options) => request(url, { ...options, dispatcher: agent }) };
}

function fresh() {
  return { ok: 0, failures: {}, latencies: [], handshakes: [], ended: [] };
}

function fail(error) {
  const code = String(error?.code ?? error?.cause?.code ?? error?.name);
  counted.failures[code] = (counted.failures[code] ?? 0) + 1;
}

async function call({ url, method = 'GET', timeoutMs, body }) {
  const since = performance.now();
  try {
    const signal = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const response = await client.request(url, { method, body, signal });
    await response.body.dump({ limit: 1 << 24 });
    if (response.statusCode !== 200) return fail({ code: response.statusCode });
    counted.ok += 1;
    counted.latencies.push(performance.now() - since);
  } catch (error) {
    fail(error);
  }
}

/** The first bytes that come. A connection whose certificate has expired meanwhile only ends; one that neither answers nor ends is a fault. */
function firstBytes(socket) {
  const end = (code) => Object.assign(new Error(code), { code });
  return new Promise((done, fail) => {
    socket.once('data', done);
    socket.once('error', fail);
    socket.once('close', () => fail(end('ENDED_UNANSWERED')));
    socket.setTimeout(20_000, () => fail(end('UNANSWERED')));
  });
}

/** A connection of its own, as a client without enmesh makes it; tells which certificate the server showed. */
async function handshake(port) {
  try {
    const options = { port, host: '127.0.0.1', ...keysOf(identity), checkServerIdentity: () => undefined };
    const socket = connect(wanted.bare === true ? options : { ...options, ALPNProtocols: ['istio'] });
    const at = Date.now();
    await once(socket, 'secureConnect');
    const serial = socket.getPeerX509Certificate().serialNumber.toLowerCase();
    socket.write('GET / HTTP/1.1\r\nhost: product\r\nconnection: close\r\n\r\n');
    const answered = await firstBytes(socket).finally(() => socket.destroy());
    if (!String(answered).startsWith('HTTP/1.1 200')) throw Object.assign(new Error(), { code: 'BAD_ANSWER' });
    counted.handshakes.push({ serial, at });
  } catch (error) {
    fail(error);
  }
}

let isLoaded = false;
let sent = 0;
const workers = new Set();

/** One call after the other, no quicker than every `periodMs`. All workers begin together, so that each needs a connection of its own. */
async function work(periodMs, act) {
  while (isLoaded) {
    const since = performance.now();
    await act();
    await pause(Math.max(0, periodMs - (performance.now() - since)));
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

answer({
  /** `connections` workers that together make `perSecond` calls, and `newPerSecond` connections to `port` beside them. */
  load({ connections, perSecond, newPerSecond = 0, port, ...about }) {
    isLoaded = true;
    const one = () => call({ ...about, url: about.url.replace('{id}', String(++sent)) });
    for (let i = 0; i < connections; i++) workers.add(work((1000 * connections) / perSecond, one));
    if (newPerSecond > 0) workers.add(work(1000 / newPerSecond, () => handshake(port)));
  },
  /** Ends the load, and waits for what is in flight. */
  async stop() {
    isLoaded = false;
    await Promise.all(workers);
    workers.clear();
  },
  /** How many calls were served since `take`. */
  served: () => counted.ok,
  /** What was counted since it was last asked. */
  take() {
    const { latencies, ...rest } = counted;
    counted = fresh();
    latencies.sort((a, b) => a - b);
    const at = (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? 0;
    return { ...rest, p50: at(0.5), p99: at(0.99) };
  },
  call: async (about) => {
    const before = counted;
    counted = fresh();
    await call(about);
    const { ok, failures } = counted;
    counted = before;
    return { ok, failures };
  },
  reload: () => client.reload(),
});
process.send({ ready: true });
