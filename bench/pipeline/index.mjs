// P1: what the whole inbound pipeline costs on top of bare mutual TLS, as a paired ratio of CPU time per request.
import { rmSync } from 'node:fs';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import { printGoal } from '../goals.mjs';
import { ask, start, stop } from '../processes.mjs';
import { medianInterval } from '../statistics.mjs';
import { prepare } from './setup.mjs';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** One request to the meshed twin, to see that it still refuses: resolves the status, or 0 when the connection was refused. */
function probe(port, setup, { token = setup.token, as = setup.client }) {
  return new Promise((done) => {
    const options = { host: '127.0.0.1', port, path: '/products/1', key: as.key, cert: as.chain, ca: setup.roots, agent: false };
    const headers = { host: 'product.shop.svc.cluster.local', authorization: `Bearer ${token}` };
    const call = request(
      { ...options, headers, checkServerIdentity: () => undefined, ALPNProtocols: ['istio', 'http/1.1'] },
      (response) => {
        response.resume();
        done(response.statusCode);
      },
    );
    call.on('error', () => done(0));
    call.end();
  });
}

async function refusals(port, setup) {
  const [head, payload, signature] = setup.token.split('.');
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: 'mallory' };
  const tampered = [head, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.');
  const good = await probe(port, setup, {});
  if (good !== 200) throw new Error(`the meshed twin answers ${good} to a good request`);
  return {
    tampered: (await probe(port, setup, { token: tampered })) === 401,
    foreign: (await probe(port, setup, { as: setup.stranger })) === 0,
  };
}

async function measure(server, load, ms) {
  const before = (await ask(server, 'cpu')).cpu;
  const { done, bad } = await ask(load, { port: server.hello.port, ms });
  if (bad > 0) throw new Error(`${bad} of ${done} answers were not the expected 200`);
  return { perRequest: ((await ask(server, 'cpu')).cpu - before) / done, perSecond: (done * 1000) / ms };
}

export async function run({ quick, json, rules }) {
  const rounds = 15;
  const ms = quick ? 650 : 2500;
  const { directory, file, setup } = await prepare(rules);
  const [bare, meshed, load] = await Promise.all([
    start(0, path('server.mjs'), ['bare', file]),
    start(0, path('server.mjs'), ['enmesh', file]),
    start(1, path('load.mjs'), [file]),
  ]);
  try {
    const before = await refusals(meshed.hello.port, setup);
    for (const server of [bare, meshed]) await measure(server, load, quick ? 1200 : 3000);
    const pairs = [];
    for (let round = 0; round < rounds; round++) {
      // The order alternates, so that a drift of the machine does not favour one twin.
      const order = round % 2 === 0 ? [bare, meshed] : [meshed, bare];
      const figures = new Map();
      for (const server of order) figures.set(server, await measure(server, load, ms));
      pairs.push({ bare: figures.get(bare), meshed: figures.get(meshed) });
    }
    const after = await refusals(meshed.hello.port, setup);
    const [bareMemory, meshedMemory] = [await ask(bare, 'gc'), await ask(meshed, 'gc')];
    const memory = { all: meshedMemory.rss - bareMemory.rss, young: meshedMemory.young - bareMemory.young };
    return report(
      pairs,
      rules,
      { tampered: before.tampered && after.tampered, foreign: before.foreign && after.foreign },
      memory,
      json,
    );
  } finally {
    stop([bare, meshed, load]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(pairs, rules, refused, memory, json) {
  const { median, low, high } = medianInterval(pairs.map((pair) => pair.meshed.perRequest / pair.bare.perRequest));
  const column = (twin, key) => medianInterval(pairs.map((pair) => pair[twin][key])).median;
  const row = (name, twin, ratio) =>
    `| ${name} | ${column(twin, 'perRequest').toFixed(1)} | ${Math.round(column(twin, 'perSecond'))} | ${ratio} |`;
  console.log(`pipeline: CPU per request on mutual TLS with a 700-byte token, ${pairs.length} paired rounds, 32 connections\n`);
  console.log('| server | CPU us/request | requests/s | ratio (median, 95 % interval) |\n|---|---|---|---|');
  console.log(row('bare node:https, token ignored', 'bare', '1'));
  console.log(
    row(
      `enmesh: identity, token, ${rules ?? 'a few'} rules`,
      'meshed',
      `${median.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`,
    ),
  );
  const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
  console.log(
    `\nmemory beside the bare process: ${mebibytes(memory.all)} MiB, of it ${mebibytes(memory.young)} V8's young generation, empty`,
  );
  console.log(`refused before and after: tampered token ${refused.tampered}, foreign identity ${refused.foreign}`);
  const round = (value) => Math.round(value * 1000) / 1000;
  const line = {
    bench: 'pipeline',
    cpuRatio: round(median),
    low: round(low),
    high: round(high),
    rounds: pairs.length,
    ...(rules !== undefined && { rules }),
  };
  if (json)
    console.log(
      JSON.stringify({
        ...line,
        memoryMiB: round(memory.all / 2 ** 20),
        youngMiB: round(memory.young / 2 ** 20),
        refusedTampered: refused.tampered,
        refusedForeign: refused.foreign,
      }),
    );
  if (!refused.tampered || !refused.foreign) process.exitCode = 1;
  return printGoal('CPU ratio', round(median), 1.12, 'x');
}
