// One of the twins, as its own process: `node client.mjs bare|enmesh SETUP.json PRODUCT_PORT IMPOSTOR_PORT`. Both call by mutual TLS and accept the same
// identity alone. The parent says for how long, by which function, and is told the CPU time that it took.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, fetch, request } from 'undici';

const IN_FLIGHT = 32;
const [kind, setupFile, product, impostor] = process.argv.slice(2);
const setup = JSON.parse(readFileSync(setupFile, 'utf8'));
const path = '/products/1?fields=name';

/** What a careful engineer writes without enmesh: an Agent with the certificates, and the peer's name compared by hand. */
function bare() {
  const expected = `URI:${setup.product.id}`;
  const dispatcher = new Agent({
    connect: {
      key: setup.gateway.key,
      cert: setup.gateway.chain,
      ca: setup.roots,
      maxCachedSessions: 0,
      checkServerIdentity: (_host, { subjectaltname }) =>
        subjectaltname === expected ? undefined : new Error('not the one asked for'),
    },
  });
  const urls = { product: `https://127.0.0.1:${product}${path}`, impostor: `https://127.0.0.1:${impostor}${path}` };
  return { urls, request: (url) => request(url, { dispatcher }), fetch: (url) => fetch(url, { dispatcher }) };
}

async function meshed() {
  const { createMesh, fixedSvidSource, fixedTrustBundleSource, parseSpiffeId } = await import('@enmesh/core');
  const { id, chain, key, notBefore, notAfter } = setup.gateway;
  const svid = { id: parseSpiffeId(id), chain, privateKey: createPrivateKey(key), notBefore, notAfter, serial: '01' };
  const bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots: setup.roots }]]);
  const mesh = await createMesh({
    namespace: 'shop',
    serviceAccount: 'gateway',
    config: setup.config,
    identity: { svid: fixedSvidSource(svid), bundles: fixedTrustBundleSource(bundles) },
    log: false,
  });
  await mesh.ready();
  const url = (name) => `http://${name}.shop.svc.cluster.local${path}`;
  return { urls: { product: url('product'), impostor: url('taken') }, request: mesh.request, fetch: mesh.fetch };
}

const client = kind === 'bare' ? bare() : await meshed();
const calls = {
  request: async (url) => (await (await client.request(url)).body.text()).length,
  fetch: async (url) => (await (await client.fetch(url)).text()).length,
};

async function load(by, ms) {
  const call = calls[by];
  const until = performance.now() + ms;
  const before = process.cpuUsage();
  let done = 0;
  let bad = 0;
  const lane = async () => {
    while (performance.now() < until) {
      if ((await call(client.urls.product)) < 50) bad += 1;
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  const { user, system } = process.cpuUsage(before);
  return { done, bad, cpu: user + system };
}

/** Whether the impostor is refused, and the service itself is not. */
async function refuses() {
  const good = await calls.request(client.urls.product);
  const taken = await calls.request(client.urls.impostor).catch(() => 0);
  return { refused: good >= 50 && taken === 0 };
}

process.on('message', async ({ by, ms }) => process.send(by === undefined ? await refuses() : await load(by, ms)));
process.on('disconnect', () => process.exit(0));
process.send({ ready: true });
