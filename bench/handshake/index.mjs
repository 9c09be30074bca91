// P8: what a handshake costs the server with everything that the mesh looks at (SPIFFE ID, the trust domain's own bundle, policies of the first
// request), beside bare mutual TLS: a paired ratio of CPU time per connection. Full handshakes with one request each; nothing is resumed.
import { rmSync } from 'node:fs';
import { prepare } from '../pipeline/setup.mjs';
import { fileURLToPath } from 'node:url';
import { ask, start, stop } from '../processes.mjs';
import { verdictOf } from '../verdict.mjs';
import { medianInterval } from '../statistics.mjs';

const goal = 1.05;

async function measure(server, load, count) {
  const before = (await ask(server, 'cpu')).cpu;
  const served = await ask(load, { port: server.hello.port, count, who: 'client' });
  if (served !== count) throw new Error(`${count - served} of ${count} connections were not served`);
  return ((await ask(server, 'cpu')).cpu - before) / count;
}

export async function run({ quick, json }) {
  const rounds = quick ? 15 : 25;
  const count = quick ? 120 : 500;
  const { directory, file } = await prepare();
  const path = (name) => fileURLToPath(new URL(name, import.meta.url));
  const twin = path('../pipeline/server.mjs');
  const [bare, meshed, load] = await Promise.all([
    start(0, twin, ['bare', file]),
    start(0, twin, ['enmesh', file]),
    start(1, path('load.mjs'), [file]),
  ]);
  try {
    const foreign = async () => (await ask(load, { port: meshed.hello.port, count: 3, who: 'stranger' })) === 0;
    let refused = await foreign();
    for (const server of [bare, meshed]) await measure(server, load, quick ? 300 : 1500);
    const pairs = [];
    for (let round = 0; round < rounds; round++) {
      // The order alternates, so that a drift of the machine does not favour one twin.
      const order = round % 2 === 0 ? [bare, meshed] : [meshed, bare];
      const figures = new Map();
      for (const server of order) figures.set(server, await measure(server, load, count));
      pairs.push({ bare: figures.get(bare), meshed: figures.get(meshed) });
    }
    refused &&= await foreign();
    report(pairs, refused, { count, json });
  } finally {
    stop([bare, meshed, load]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(pairs, refused, { count, json }) {
  const ratio = medianInterval(pairs.map((pair) => pair.meshed / pair.bare));
  const of = (twin) => medianInterval(pairs.map((pair) => pair[twin])).median;
  const verdict = verdictOf(ratio, goal);
  console.log(
    `handshake: server CPU per full mutual handshake with one request, ${pairs.length} paired rounds of ${count} connections\n`,
  );
  console.log('| server | CPU us/connection | ratio (median, 95 % interval) |\n|---|---|---|');
  console.log(`| bare node:https | ${of('bare').toFixed(0)} | 1 |`);
  const { median, low, high } = ratio;
  console.log(`| enmesh | ${of('meshed').toFixed(0)} | ${median.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)}) |`);
  console.log(`\ngoal <= ${goal}: ${verdict}; a foreign identity was refused before and after: ${refused}`);
  const round = (value) => Math.round(value * 1000) / 1000;
  const figures = { cpuRatio: round(median), low: round(low), high: round(high), rounds: pairs.length, verdict };
  if (json) console.log(JSON.stringify({ bench: 'handshake', ...figures, refusedForeign: refused }));
  if (!refused) process.exitCode = 1;
}
