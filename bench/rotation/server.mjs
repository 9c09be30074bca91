// One service with many servers, which renews its SVID and rolls its roots when told; it measures the turns of its own event loop, and what connections weigh.
import { createHash, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createMesh, parseSpiffeId } from '@enmesh/core';

const setup = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const SERVERS = 20;
const watchers = { svid: new Set(), bundles: new Set() };
let turn = 0;
let svid;
let bundles;

function renew() {
  const { chain, key, notBefore, notAfter } = setup.leaves[turn++ % setup.leaves.length];
  svid = {
    id: parseSpiffeId(setup.id),
    chain,
    privateKey: createPrivateKey(key),
    notBefore,
    notAfter,
    serial: createHash('sha1').update(chain).digest('hex'),
  };
  for (const tell of watchers.svid) tell(svid);
}

function roll() {
  bundles = new Map([
    ['cluster.local', { trustDomain: 'cluster.local', roots: turn % 2 === 0 ? setup.roots : [...setup.roots].reverse() }],
  ]);
  for (const tell of watchers.bundles) tell(bundles);
}

/** The roots without the second, which signed the crowd. */
function remove() {
  const [kept] = setup.roots;
  bundles = new Map([['cluster.local', { trustDomain: 'cluster.local', roots: [kept] }]]);
  for (const tell of watchers.bundles) tell(bundles);
}

const source = (set, current) => ({
  current,
  watch(tell) {
    set.add(tell);
    return () => void set.delete(tell);
  },
});
renew();
roll();
const identity = { svid: source(watchers.svid, () => svid), bundles: source(watchers.bundles, () => bundles) };
const { config } = setup;
const mesh = await createMesh({ namespace: 'shop', serviceAccount: 'product', config, identity, env: {}, log: false });
await mesh.ready();
const http = { keepAliveTimeout: 3_600_000 };
const servers = Array.from({ length: SERVERS }, () => mesh.createServer((_request, response) => response.end('ok'), { http }));
await Promise.all(servers.map((server) => new Promise((done) => server.listen(0, '127.0.0.1', done))));
const ports = servers.map((server) => server.address().port);

/**
 * The longest turn of the loop in milliseconds: the smaller of the time that passed and of the CPU time (this thread's, where Node tells it). What other
 * processes took is not CPU time of ours, and the kernel books CPU time by ticks of some milliseconds, which may fall into the shortest turn.
 */
async function longestTurn(ms, act) {
  const cpu = () => (process.threadCpuUsage ?? process.cpuUsage)();
  let longest = 0;
  let isOn = true;
  let last = cpu();
  let lastAt = performance.now();
  const look = () => {
    const [now, at] = [cpu(), performance.now()];
    longest = Math.max(longest, Math.min(at - lastAt, (now.user + now.system - last.user - last.system) / 1000));
    [last, lastAt] = [now, at];
    if (isOn) setImmediate(look);
  };
  look();
  act();
  await new Promise((done) => setTimeout(done, ms));
  isOn = false;
  return longest;
}

const acts = { nothing: () => {}, renew, roll, remove };

process.on('message', async ({ act, ms }) => {
  globalThis.gc?.();
  if (act === 'weigh') return process.send({ rss: process.memoryUsage.rss() });
  if (act === 'restore') {
    roll();
    return process.send({});
  }
  process.send({ longest: await longestTurn(ms, acts[act]) });
});
process.on('disconnect', () => process.exit(0));
process.send({ ports });
