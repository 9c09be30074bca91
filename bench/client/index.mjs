// P7: what a call through the mesh costs the caller beside bare undici over mutual TLS with the peer's name compared, as a paired ratio of CPU time.
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ask, start, stop } from '../processes.mjs';
import { medianInterval } from '../statistics.mjs';
import { verdictOf } from '../verdict.mjs';
import { prepare } from './setup.mjs';

const goal = 1.03;
const path = (name) => fileURLToPath(new URL(name, import.meta.url));

async function measure(client, by, ms) {
  const { done, bad, cpu } = await ask(client, { by, ms });
  if (bad > 0) throw new Error(`${bad} of ${done} answers were not the expected ones`);
  return { perRequest: cpu / done, perSecond: (done * 1000) / ms };
}

/** Rounds in which the twins take turns, the order alternating, so that a drift of the machine does not favour one of them. */
async function pairUp(twins, by, { rounds, ms }) {
  for (const twin of Object.values(twins)) await measure(twin, by, ms * 2);
  const pairs = [];
  for (let round = 0; round < rounds; round++) {
    const pair = {};
    for (const name of round % 2 === 0 ? ['bare', 'meshed'] : ['meshed', 'bare']) pair[name] = await measure(twins[name], by, ms);
    pairs.push(pair);
  }
  return pairs;
}

export async function run({ quick, json }) {
  const { directory, file, declare } = await prepare();
  const server = await start(0, path('server.mjs'), [file]);
  declare(server.hello);
  const ports = [server.hello.product, server.hello.impostor].map(String);
  const [bare, meshed] = await Promise.all(
    ['bare', 'enmesh'].map((kind) => start(1, path('client.mjs'), [kind, file, ...ports])),
  );
  try {
    const refusals = async () => (await Promise.all([bare, meshed].map((twin) => ask(twin, {})))).every(({ refused }) => refused);
    const before = await refusals();
    const requests = await pairUp({ bare, meshed }, 'request', { rounds: quick ? 31 : 61, ms: quick ? 300 : 600 });
    const fetches = await pairUp({ bare, meshed }, 'fetch', { rounds: 15, ms: quick ? 200 : 600 });
    report(requests, fetches, before && (await refusals()), json);
  } finally {
    stop([server, bare, meshed]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(requests, fetches, isRefused, json) {
  const ratioOf = (pairs) => medianInterval(pairs.map((pair) => pair.meshed.perRequest / pair.bare.perRequest));
  const column = (pairs, twin, key) => medianInterval(pairs.map((pair) => pair[twin][key])).median;
  const row = (name, pairs, twin, ratio) =>
    console.log(
      `| ${name} | ${column(pairs, twin, 'perRequest').toFixed(1)} | ${Math.round(column(pairs, twin, 'perSecond'))} | ${ratio} |`,
    );
  const text = ({ median, low, high }) => `${median.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`;
  const [request, fetch] = [ratioOf(requests), ratioOf(fetches)];
  console.log(`client: CPU of the caller on mutual TLS with secure naming, ${requests.length} paired rounds, 32 in flight\n`);
  console.log('| client | CPU us/request | requests/s | ratio (median, 95 % interval) |\n|---|---|---|---|');
  row('bare undici.request', requests, 'bare', '1');
  row('mesh.request', requests, 'meshed', text(request));
  row('bare undici.fetch', fetches, 'bare', '1');
  row('mesh.fetch', fetches, 'meshed', text(fetch));
  const verdict = verdictOf(request, goal);
  console.log(`\nat most ${goal} for request: ${verdict}`);
  console.log(`a foreign identity is refused before and after: ${isRefused}`);
  const round = (value) => Math.round(value * 1000) / 1000;
  const line = {
    bench: 'client',
    cpuRatio: round(request.median),
    low: round(request.low),
    high: round(request.high),
    rounds: requests.length,
  };
  if (json) console.log(JSON.stringify({ ...line, fetchRatio: round(fetch.median), verdict, refusedForeign: isRefused }));
  if (!isRefused || verdict === 'missed') process.exitCode = 1;
}
