// What a rotation costs a service in use: the longest turn of its event loop when its SVID is renewed, when its roots change, and when a root goes and takes
// many different peers with it, with many servers and connections, beside the longest turn of a while without any; and what an idle connection weighs.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createTestAuthority } from '@enmesh/core/testing';
import { ask, start, stop } from '../processes.mjs';
import { medianInterval } from '../statistics.mjs';
import { verdictOf } from '../verdict.mjs';

const goalMs = 5;
const removeMs = 1_000;
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const pair = ({ chain, privateKey, notBefore, notAfter }) => ({
  ...{ chain, notBefore, notAfter },
  key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
});

async function prepare(crowd) {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-'));
  const [authority, other] = [await createTestAuthority(), await createTestAuthority()];
  const product = { namespace: 'shop', serviceAccount: 'product' };
  const leaves = await Promise.all(Array.from({ length: 8 }, async () => pair(await authority.issue(product))));
  // Whom a root takes along: each with a certificate of its own, so that each has to be looked at.
  const peers = [];
  for (let at = 0; at < crowd; at++) peers.push(pair(await other.issue({ namespace: 'crowd', serviceAccount: `peer-${at}` })));
  const client = pair(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
  const config = join(directory, 'mesh');
  mkdirSync(config);
  const strict = 'kind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n';
  writeFileSync(join(config, 'policies.yaml'), `apiVersion: security.istio.io/v1\n${strict}`);
  const file = join(directory, 'setup.json');
  const roots = [authority.rootPem, other.rootPem];
  const id = 'spiffe://cluster.local/ns/shop/sa/product';
  writeFileSync(file, JSON.stringify({ id, leaves, peers, client, roots, config }), { mode: 0o600 });
  return { directory, file };
}

export async function run({ quick, json }) {
  const idle = quick ? 500 : 2_000;
  const rounds = quick ? 15 : 25;
  const ms = quick ? 250 : 600;
  const crowd = quick ? 200 : 800;
  const { directory, file } = await prepare(crowd);
  const [server, load] = await Promise.all([start(0, path('server.mjs'), [file]), start(1, path('load.mjs'), [file])]);
  try {
    const { ports } = server.hello;
    await ask(load, { ports, count: 50 });
    const { rss: before } = await ask(server, { act: 'weigh' });
    await ask(load, { ports, count: idle });
    const { rss } = await ask(server, { act: 'weigh' });
    await ask(load, { ports });
    for (const act of ['renew', 'roll', 'nothing']) await ask(server, { act, ms: 1_000 });
    const turns = { nothing: [], renew: [], roll: [], remove: [] };
    for (let round = -1; round < rounds; round++) {
      await ask(load, { ports, crowd });
      for (const act of Object.keys(turns)) {
        const { longest } = await ask(server, { act, ms: act === 'remove' ? removeMs : ms });
        if (round >= 0) turns[act].push(longest);
      }
      await untilGone(load);
      await ask(server, { act: 'restore' });
    }
    report(turns, { kib: (rss - before) / 1024 / idle, idle, crowd, json });
  } finally {
    stop([server, load]);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What is measured counts only if the root did take its peers along, within the time that is promised. */
async function untilGone(load) {
  for (const until = Date.now() + 30_000; ; await setTimeout(100)) {
    const { left } = await ask(load, { act: 'count' });
    if (left === 0) return;
    if (Date.now() > until) throw new Error(`${left} connections outlived their root by 30 s`);
  }
}

function report(turns, { kib, idle, crowd, json }) {
  const names = {
    nothing: 'nothing happens',
    renew: 'the SVID is renewed',
    roll: 'the roots change',
    remove: `a root goes, and ${crowd} peers`,
  };
  const found = Object.entries(turns).map(([act, values]) => [act, medianInterval(values)]);
  console.log(
    `rotation: longest turn of the event loop in CPU time, ${turns.renew.length} rounds, 20 servers, ${idle} idle connections\n`,
  );
  console.log('| while | ms (median, 95 % interval) |\n|---|---|');
  for (const [act, { median, low, high }] of found)
    console.log(`| ${names[act]} | ${median.toFixed(2)} (${low.toFixed(2)}-${high.toFixed(2)}) |`);
  // What a handshake or a collection takes in any such while is not the rotation's.
  const added = (act) => medianInterval(turns[act].map((ms, i) => ms - turns.nothing[i]));
  const verdicts = Object.fromEntries(['renew', 'roll', 'remove'].map((act) => [act, verdictOf(added(act), goalMs)]));
  console.log(
    `\ngoal <= ${goalMs} ms more than when nothing happens: renewed ${verdicts.renew}, roots ${verdicts.roll}, root gone ${verdicts.remove}; an idle connection weighs ${kib.toFixed(0)} KiB`,
  );
  const round = (value) => Math.round(value * 100) / 100;
  const of = (act) => round(Object.fromEntries(found)[act].median);
  if (json)
    console.log(
      JSON.stringify({
        bench: 'rotation',
        nothingMs: of('nothing'),
        renewMs: of('renew'),
        rollMs: of('roll'),
        removeMs: of('remove'),
        kib: round(kib),
        verdicts,
      }),
    );
}
