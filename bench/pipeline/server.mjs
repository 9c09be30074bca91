// One of the twins, as its own process: `node server.mjs bare|bare-root|identity|permissive|enmesh SETUP.json`. All speak mutual TLS with the same SVID and
// answer the same bytes; `bare-root` is given its root as part of its chain, `identity` and `permissive` are meshes that ask for nothing but a peer of
// their trust domain on a port of mode STRICT or PERMISSIVE, `enmesh` is STRICT with a token and policies.
// The parent asks for the CPU time used so far over IPC.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { constants, createPrivateKey } from 'node:crypto';
import { getHeapSpaceStatistics } from 'node:v8';

const [kind, setupFile] = process.argv.slice(2);
const setup = JSON.parse(readFileSync(setupFile, 'utf8'));
const body = JSON.stringify({ id: 1, name: 'Table lamp with a rather long name', quantity: 12, warehouse: 'north' });

function handle(_request, response) {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.end(body);
}

/** What a careful engineer writes without enmesh: mutual TLS, and the token ignored. */
function bare() {
  return createServer(
    {
      key: setup.key,
      cert: kind === 'bare-root' ? setup.chain + setup.roots[0] : setup.chain,
      ca: setup.roots,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET,
    },
    handle,
  );
}

async function meshed() {
  const { createMesh, fixedSvidSource, fixedTrustBundleSource, parseSpiffeId } = await import('@enmesh/core');
  const svid = {
    id: parseSpiffeId(setup.id),
    chain: setup.chain,
    privateKey: createPrivateKey(setup.key),
    notBefore: setup.notBefore,
    notAfter: setup.notAfter,
    serial: '01',
  };
  const bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots: setup.roots }]]);
  const mesh = await createMesh({
    namespace: 'shop',
    serviceAccount: 'product',
    labels: { app: 'product' },
    config: { identity: setup.identityConfig, permissive: setup.permissiveConfig }[kind] ?? setup.config,
    identity: { svid: fixedSvidSource(svid), bundles: fixedTrustBundleSource(bundles) },
    log: false,
  });
  await mesh.ready();
  return mesh.createServer(handle);
}

const server = kind.startsWith('bare') ? bare() : await meshed();
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('message', (message) => {
  if (message === 'cpu') {
    const { user, system } = process.cpuUsage();
    process.send({ cpu: user + system, rss: process.memoryUsage.rss() });
  }
  if (message === 'gc') {
    globalThis.gc?.();
    const young = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
    process.send({ rss: process.memoryUsage.rss(), young: young.physical_space_size });
  }
});
process.on('disconnect', () => process.exit(0));
