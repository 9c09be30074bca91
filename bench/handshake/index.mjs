// P8: what a full mutual handshake costs the server, beside bare mutual TLS with the same request: connect, handshake, one small answer as proof of
// service, close. The goal is the handshake's: SPIFFE ID, the trust domain's own bundle, admission. What a token and policies add to the first request
// through the door is a row of its own. Paired ratios of CPU time per connection; nothing is resumed.
import { rmSync } from 'node:fs';
import { prepare } from '../pipeline/setup.mjs';
import { fileURLToPath } from 'node:url';
import { ask, start, stop } from '../processes.mjs';
import { verdictOf } from '../verdict.mjs';
import { medianInterval } from '../statistics.mjs';

const goal = 1.05;

/** Until both twins run compiled code: enmesh has more of it, and with fewer connections its compiling is what would be measured. */
const warming = 1500;

/** What is measured of one server: its name in the table, and what its callers ask. */
const cells = [
  { name: 'bare', kind: 'bare', request: 'echo' },
  { name: 'meshed', kind: 'identity', request: 'echo' },
  { name: 'bareFirst', kind: 'bare', request: 'token' },
  { name: 'first', kind: 'enmesh', request: 'token' },
];

async function measure(server, load, { count, request }) {
  const before = (await ask(server, 'cpu')).cpu;
  const served = await ask(load, { port: server.hello.port, count, who: 'client', request });
  if (served !== count) throw new Error(`${count - served} of ${count} connections were not served`);
  return ((await ask(server, 'cpu')).cpu - before) / count;
}

export async function run({ quick, json }) {
  const rounds = quick ? 15 : 25;
  const count = quick ? 150 : 500;
  const { directory, file } = await prepare();
  const path = (name) => fileURLToPath(new URL(name, import.meta.url));
  const twin = path('../pipeline/server.mjs');
  const kinds = ['bare', 'identity', 'enmesh'];
  const [load, ...started] = await Promise.all([
    start(1, path('load.mjs'), [file]),
    ...kinds.map((kind) => start(0, twin, [kind, file])),
  ]);
  const servers = new Map(kinds.map((kind, at) => [kind, started[at]]));
  try {
    const visit = (kind, who, request) => ask(load, { port: servers.get(kind).hello.port, count: 3, who, request });
    const foreign = async () =>
      (await visit('identity', 'stranger', 'echo')) + (await visit('enmesh', 'stranger', 'token')) === 0;
    let refused = await foreign();
    for (const { kind, request } of cells) await measure(servers.get(kind), load, { count: warming, request });
    const figures = [];
    for (let round = 0; round < rounds; round++) {
      const figure = {};
      // The order alternates, so that a drift of the machine does not favour one twin.
      for (const { name, kind, request } of round % 2 === 0 ? cells : cells.toReversed()) {
        figure[name] = await measure(servers.get(kind), load, { count, request });
      }
      figures.push(figure);
    }
    refused &&= await foreign();
    report(figures, refused, { count, json });
  } finally {
    stop([load, ...started]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report(figures, refused, { count, json }) {
  const ratio = medianInterval(figures.map(({ bare, meshed }) => meshed / bare));
  const first = medianInterval(figures.map(({ bareFirst, first }) => first / bareFirst));
  const micros = (name) => medianInterval(figures.map((figure) => figure[name])).median.toFixed(0);
  const interval = ({ median, low, high }) => `${median.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`;
  const verdict = verdictOf(ratio, goal);
  console.log(`handshake: server CPU per full mutual handshake, ${figures.length} paired rounds of ${count} connections\n`);
  console.log(
    '| what a connection brings | bare node:https, us | enmesh, us | ratio (median, 95 % interval) |\n|---|---|---|---|',
  );
  console.log(`| handshake, one answer | ${micros('bare')} | ${micros('meshed')} | ${interval(ratio)} |`);
  console.log(
    `| handshake, first request with token and policies | ${micros('bareFirst')} | ${micros('first')} | ${interval(first)} |`,
  );
  console.log(`\ngoal <= ${goal} for the handshake: ${verdict}; who may not enter was refused before and after: ${refused}`);
  const round = (value) => Math.round(value * 1000) / 1000;
  const { median, low, high } = ratio;
  const measured = { cpuRatio: round(median), low: round(low), high: round(high), rounds: figures.length, verdict };
  if (json) {
    console.log(
      JSON.stringify({ bench: 'handshake', ...measured, firstRequestRatio: round(first.median), refusedForeign: refused }),
    );
  }
  if (!refused) process.exitCode = 1;
}
