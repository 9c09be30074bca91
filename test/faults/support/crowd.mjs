// Many clients in one process, without any of ours: connections that stay open and say nothing more, and handshakes with good and bad certificates.
import { connect } from 'node:tls';
import { answer } from './child.mjs';

const open = new Set();

/** One connection with one request, when its handshake is taken; resolves whether the answer was 200. */
function visit(port, { key, cert }, roots, isKept) {
  return new Promise((done) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      key,
      cert,
      ca: roots,
      ALPNProtocols: ['istio', 'http/1.1'],
      checkServerIdentity: () => undefined,
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      open.delete(socket);
      done(false);
    });
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: product\r\n\r\n'));
    socket.once('data', (bytes) => {
      done(String(bytes).startsWith('HTTP/1.1 200'));
      if (isKept) open.add(socket);
      else socket.destroy();
    });
  });
}

/** Runs `one` so many times, `width` at once. */
async function many(count, width, one) {
  let next = 0;
  const run = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: width }, run));
}

answer({
  /** Opens connections and keeps them; resolves with how many were served. */
  async gather({ port, count, certificate, roots }) {
    let served = 0;
    await many(count, 32, async () => {
      if (await visit(port, certificate, roots, true)) served += 1;
    });
    return served;
  },
  alive: () => open.size,
  disperse() {
    for (const socket of open) socket.destroy();
  },
  /** Handshakes, each tenth with the next of the bad certificates; counts good ones that were not served and bad ones that were. */
  async shake({ port, count, good, bad, roots }) {
    const wrong = { goodRefused: 0, badServed: 0 };
    await many(count, 8, async (i) => {
      const isBad = i % 10 === 9;
      const isServed = await visit(port, isBad ? bad[((i - 9) / 10) % bad.length] : good, roots, false);
      if (isBad && isServed) wrong.badServed += 1;
      if (!isBad && !isServed) wrong.goodRefused += 1;
    });
    return wrong;
  },
});
process.send({ ready: true });
