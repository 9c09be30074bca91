// The load generator, as its own process: keeps CONNECTIONS keep-alive connections busy with one request each for a given time, and counts the answers.
// Raw sockets and prebuilt bytes, so that it is never what is measured.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const CONNECTIONS = 32;
const marker = '"id":1';

function requestFor(token) {
  return `GET /products/1 HTTP/1.1\r\nhost: product.shop.svc.cluster.local\r\naccept: application/json\r\nauthorization: Bearer ${token}\r\n\r\n`;
}

function open(port) {
  return new Promise((done, fail) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      key: setup.client.key,
      cert: setup.client.chain,
      ca: setup.roots,
      ALPNProtocols: ['istio-http/1.1', 'istio', 'http/1.1'],
      checkServerIdentity: () => undefined,
      session: undefined,
    });
    socket.setNoDelay(true);
    socket.once('secureConnect', () => done(socket)).once('error', fail);
  });
}

const pools = new Map();

async function poolOf(port) {
  if (!pools.has(port)) pools.set(port, await Promise.all(Array.from({ length: CONNECTIONS }, () => open(port))));
  return pools.get(port);
}

/** Sends requests for `ms` milliseconds; the answer tells how many came back and how many of those were not the 200 expected. */
async function load(port, ms) {
  const request = requestFor(setup.token);
  const until = performance.now() + ms;
  let done = 0;
  let bad = 0;
  await Promise.all(
    (await poolOf(port)).map(
      (socket) =>
        new Promise((end) => {
          const onData = (chunk) => {
            const text = chunk.latin1Slice();
            if (!text.startsWith('HTTP/1.1 200') || !text.includes(marker)) bad += 1;
            done += 1;
            if (performance.now() < until) return void socket.write(request);
            socket.off('data', onData);
            end();
          };
          socket.on('data', onData);
          socket.write(request);
        }),
    ),
  );
  return { done, bad };
}

process.on('message', async ({ port, ms }) => process.send(await load(port, ms)));
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
