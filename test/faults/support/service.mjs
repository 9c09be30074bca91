// A service under faults. `/` answers at once, `/slow?ms=` later, `/big` with a mebibyte, `/count?id=` counts how often it was asked.
// With `bare` it is what one writes without enmesh: node:https with mutual TLS and `setSecureContext` at each renewal, to be compared with.
import { createServer } from 'node:https';
import { constants } from 'node:crypto';
import { createMesh } from '@enmesh/core';
import { answer, clock, wanted } from './child.mjs';
import { createIdentity, keysOf } from './identity.mjs';

const identity = await createIdentity(wanted);
const counts = new Map();
const big = Buffer.alloc(1 << 20, 'x');
let entered = 0;
let finished = 0;

function handle(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://product');
  entered += 1;
  response.once('finish', () => (finished += 1));
  if (pathname === '/count') {
    const id = searchParams.get('id');
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  if (pathname === '/slow') return void setTimeout(() => response.end('slow'), Number(searchParams.get('ms')));
  response.end(pathname === '/big' ? big : 'ok');
}

function createBare() {
  const options = () => ({ ...keysOf(identity), secureOptions: constants.SSL_OP_NO_TICKET });
  const server = createServer({ ...options(), requestCert: true, rejectUnauthorized: true }, handle);
  identity.svid.watch(() => server.setSecureContext(options()));
  return server;
}

async function createMeshed() {
  const { config, serviceAccount, server = {} } = wanted;
  const mesh = await createMesh({ namespace: 'shop', serviceAccount, config, identity, clock, env: {}, log: false });
  process.once('SIGTERM', async () => {
    // The driver must not keep alive what the mesh does not.
    process.channel.unref();
    await mesh.close();
    identity.close();
  });
  await mesh.ready();
  return mesh.createServer(handle, server);
}

const server = wanted.bare === true ? createBare() : await createMeshed();
answer({
  counts: () => [...counts],
  progress: () => ({ entered, finished }),
  listening: () => server.address().port,
});
server.listen(wanted.port ?? 0, '127.0.0.1', () => process.send({ ready: true, port: server.address().port }));
