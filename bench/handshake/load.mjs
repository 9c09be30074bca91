// The callers, as their own process: parallel loops of connect, handshake, one request, close. Never a resumed session.
import { readFileSync } from 'node:fs';
import { connect, createSecureContext } from 'node:tls';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const PARALLEL = 8;
// One for all connections: reading certificates is not what is measured.
const contexts = new Map(
  ['client', 'stranger'].map((who) => [
    who,
    createSecureContext({ key: setup[who].key, cert: setup[who].chain, ca: setup.roots }),
  ]),
);
const head = 'GET /products/1 HTTP/1.1\r\nhost: product.shop.svc.cluster.local\r\nconnection: close\r\n';
const requests = { echo: `${head}\r\n`, token: `${head}authorization: Bearer ${setup.token}\r\n\r\n` };

function visit(port, { who, request }) {
  return new Promise((done) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      secureContext: contexts.get(who),
      ALPNProtocols: ['istio-http/1.1', 'istio', 'http/1.1'],
      checkServerIdentity: () => undefined,
    });
    let isServed = false;
    socket.on('error', () => {});
    socket.on('close', () => done(isServed));
    socket.once('secureConnect', () => socket.write(requests[request]));
    socket.on('data', (bytes) => {
      isServed ||= bytes.latin1Slice(0, 12) === 'HTTP/1.1 200';
      socket.destroy();
    });
  });
}

async function shake({ port, count, ...visitor }) {
  let next = 0;
  let served = 0;
  const loop = async () => {
    while (next < count) {
      next += 1;
      if (await visit(port, visitor)) served += 1;
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, loop));
  return served;
}

let held = [];

/** Opens connections that never ask anything, and answers how many handshakes have ended. */
async function hold(port, count) {
  const open = () =>
    new Promise((done) => {
      const socket = connect({
        host: '127.0.0.1',
        port,
        secureContext: contexts.get('client'),
        checkServerIdentity: () => undefined,
      });
      socket.on('error', () => done(false));
      socket.once('secureConnect', () => done(true));
      held.push(socket);
    });
  let opened = 0;
  while (held.length < count) if (await open()) opened += 1;
  return opened;
}

function release() {
  for (const socket of held) socket.destroy();
  held = [];
  return true;
}

process.on('message', async (message) => {
  if (message.release) return process.send(release());
  process.send(await (message.hold === undefined ? shake(message) : hold(message.port, message.hold)));
});
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
