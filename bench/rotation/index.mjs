// What a rotation costs a service in use: the longest turn of its event loop when its SVID is renewed and when its roots change, with many servers and
// connections, beside the longest turn of a while without either; and what an idle connection weighs.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestAuthority } from '@enmesh/core/testing';
import { ask, start, stop } from '../processes.mjs';
import { medianInterval } from '../statistics.mjs';
import { verdictOf } from '../verdict.mjs';

const goalMs = 5;
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const pair = ({ chain, privateKey, notBefore, notAfter }) => ({
  ...{ chain, notBefore, notAfter },
  key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
});

async function prepare() {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-'));
  const [authority, other] = [await createTestAuthority(), await createTestAuthority()];
  const product = { namespace: 'shop', serviceAccount: 'product' };
  const leaves = await Promise.all(Array.from({ length: 8 }, async () => pair(await authority.issue(product))));
  const client = pair(await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' }));
  const config = join(directory, 'mesh');
  mkdirSync(config);
  const strict = 'kind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: STRICT}}\n';
  writeFileSync(join(config, 'policies.yaml'), `apiVersion: security.istio.io/v1\n${strict}`);
  const file = join(directory, 'setup.json');
  const roots = [authority.rootPem, other.rootPem];
  const id = 'spiffe://cluster.local/ns/shop/sa/product';
  writeFileSync(file, JSON.stringify({ id, leaves, client, roots, config }), { mode: 0o600 });
  return { directory, file };
}

export async function run({ quick, json }) {
  const idle = quick ? 500 : 2_000;
  const rounds = quick ? 15 : 25;
  const ms = quick ? 250 : 600;
  const { directory, file } = await prepare();
  const [server, load] = await Promise.all([start(0, path('server.mjs'), [file]), start(1, path('load.mjs'), [file])]);
  try {
    const { ports } = server.hello;
    await ask(load, { ports, count: 50 });
    const { rss: before } = await ask(server, { act: 'weigh' });
    await ask(load, { ports, count: idle });
    const { rss } = await ask(server, { act: 'weigh' });
    await ask(load, { ports });
    for (const act of ['renew', 'roll', 'nothing']) await ask(server, { act, ms: 1_000 });
    const turns = { nothing: [], renew: [], roll: [] };
    for (let round = 0; round < rounds; round++)
      for (const act of Object.keys(turns)) turns[act].push((await ask(server, { act, ms })).longest);
    report(turns, { kib: (rss - before) / 1024 / idle, idle, json });
  } finally {
    stop([server, load]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(turns, { kib, idle, json }) {
  const names = { nothing: 'nothing happens', renew: 'the SVID is renewed', roll: 'the roots change' };
  const found = Object.entries(turns).map(([act, values]) => [act, medianInterval(values)]);
  console.log(
    `rotation: longest turn of the event loop in CPU time, ${turns.renew.length} rounds, 20 servers, ${idle} idle connections\n`,
  );
  console.log('| while | ms (median, 95 % interval) |\n|---|---|');
  for (const [act, { median, low, high }] of found)
    console.log(`| ${names[act]} | ${median.toFixed(2)} (${low.toFixed(2)}-${high.toFixed(2)}) |`);
  // What a handshake or a collection takes in any such while is not the rotation's.
  const added = (act) => medianInterval(turns[act].map((ms, i) => ms - turns.nothing[i]));
  const verdicts = Object.fromEntries(['renew', 'roll'].map((act) => [act, verdictOf(added(act), goalMs)]));
  console.log(
    `\ngoal <= ${goalMs} ms more than when nothing happens: renewed ${verdicts.renew}, roots ${verdicts.roll}; an idle connection weighs ${kib.toFixed(0)} KiB`,
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
        kib: round(kib),
        verdicts,
      }),
    );
}
