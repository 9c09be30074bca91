// The callers, as their own process: idle connections, and connections with a request every 20 ms, so that a rotation meets handshakes and requests.
import { readFileSync } from 'node:fs';
import { connect, createSecureContext } from 'node:tls';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const secureContext = createSecureContext({ key: setup.client.key, cert: setup.client.chain, ca: setup.roots });
const request = 'GET / HTTP/1.1\r\nhost: product\r\n\r\n';

function open(port, context = secureContext) {
  return new Promise((done, fail) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      secureContext: context,
      ALPNProtocols: ['istio', 'http/1.1'],
      checkServerIdentity: () => undefined,
    });
    socket.once('error', fail);
    socket.once('secureConnect', () => socket.write(request));
    socket.once('data', () => done(socket));
  });
}

async function hold({ ports, count }) {
  let left = count;
  const loop = async () => {
    while (left > 0) await open(ports[left-- % ports.length]);
  };
  await Promise.all(Array.from({ length: 16 }, loop));
}

async function busy({ ports }) {
  const sockets = await Promise.all(ports.map((port) => open(port)));
  let turn = 0;
  setInterval(() => sockets.forEach((socket) => socket.write(request)), 20);
  // New handshakes use what was renewed.
  setInterval(() => void open(ports[turn++ % ports.length]).then((socket) => socket.destroy()), 50);
}

const crowdContexts = setup.peers.map(({ key, chain }) => createSecureContext({ key, cert: chain, ca: setup.roots }));

const gathered = new Set();

async function gather({ ports, crowd }) {
  let left = crowd;
  const loop = async () => {
    while (left > 0) {
      const at = --left;
      const socket = await open(ports[at % ports.length], crowdContexts[at]);
      gathered.add(socket);
      // Its root will go, and the connection with it.
      socket.on('error', () => socket.destroy());
      socket.once('close', () => gathered.delete(socket));
    }
  };
  await Promise.all(Array.from({ length: 16 }, loop));
}

process.on('message', async (message) => {
  if (message.act === 'count') return process.send({ left: gathered.size });
  await (message.crowd !== undefined ? gather : message.count !== undefined ? hold : busy)(message);
  process.send('done');
});
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
