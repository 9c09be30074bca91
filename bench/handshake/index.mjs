// P8: what a full mutual handshake costs the server, beside bare mutual TLS with the same certificate, key, roots and request: connect, handshake, one small
// answer as proof of service, close. The goal is the handshake's on a STRICT port: SPIFFE ID, the trust domain's own bundle, admission. Rows of their
// own: a PERMISSIVE port; the bare server that is given its root as part of its chain, which is one thing that enmesh does; what a token and policies
// add to the first request. Paired ratios of CPU time per connection, all threads; nothing is resumed. Then what an idle connection weighs.
import { rmSync } from 'node:fs';
import { prepare } from '../pipeline/setup.mjs';
import { fileURLToPath } from 'node:url';
import { ask, start, stop } from '../processes.mjs';
import { verdictOf } from '../verdict.mjs';
import { median, medianInterval } from '../statistics.mjs';

const goal = 1.05;

/** Until all twins run compiled code: enmesh has more of it, and with fewer connections its compiling is what would be measured. */
const warming = { quick: 4000, full: 8000 };

/** Less for what only stands beside the goal. */
const warmingBeside = { quick: 1500, full: 4000 };

/** What is measured of one server: its name in the table, and what its callers ask. Neighbours are compared, so they stand together. */
const cells = [
  { name: 'rooted', kind: 'bare-root', request: 'echo' },
  { name: 'bare', kind: 'bare', request: 'echo', isJudged: true },
  { name: 'strict', kind: 'identity', request: 'echo', isJudged: true },
  { name: 'permissive', kind: 'permissive', request: 'echo' },
  { name: 'first', kind: 'enmesh', request: 'token' },
  { name: 'bareFirst', kind: 'bare', request: 'token' },
];

/** The rows of the table: what is compared with what. */
const rows = [
  { title: 'handshake, one answer: STRICT', of: 'strict', by: 'bare' },
  { title: 'the same: PERMISSIVE', of: 'permissive', by: 'bare' },
  { title: 'the same: STRICT, bare given its root too', of: 'strict', by: 'rooted' },
  { title: 'handshake, first request with token and policies', of: 'first', by: 'bareFirst' },
];

const idleConnections = 500;

async function measure(server, load, { count, request }) {
  const before = (await ask(server, 'cpu')).cpu;
  const served = await ask(load, { port: server.hello.port, count, who: 'client', request });
  if (served !== count) throw new Error(`${count - served} of ${count} connections were not served`);
  return ((await ask(server, 'cpu')).cpu - before) / count;
}

/** KiB that one open connection adds to the process, after garbage has been collected. */
async function weigh(server, load) {
  const before = (await ask(server, 'gc')).rss;
  const held = await ask(load, { port: server.hello.port, hold: idleConnections });
  const { rss } = await ask(server, 'gc');
  await ask(load, { release: true });
  if (held !== idleConnections) throw new Error(`${idleConnections - held} of ${idleConnections} connections were not held`);
  return (rss - before) / idleConnections / 1024;
}

export async function run({ quick, json }) {
  const form = quick ? 'quick' : 'full';
  const rounds = quick ? 15 : 25;
  const count = quick ? 160 : 500;
  const { directory, file } = await prepare();
  const path = (name) => fileURLToPath(new URL(name, import.meta.url));
  const twin = path('../pipeline/server.mjs');
  const kinds = [...new Set(cells.map(({ kind }) => kind))];
  const begin = () => Promise.all(kinds.map((kind) => start(0, twin, [kind, file])));
  const [load, started] = await Promise.all([start(1, path('load.mjs'), [file]), begin()]);
  const servers = new Map(kinds.map((kind, at) => [kind, started[at]]));
  const fresh = [];
  try {
    const visit = (kind, who, request) => ask(load, { port: servers.get(kind).hello.port, count: 3, who, request });
    const foreign = async () => {
      let served = 0;
      for (const kind of ['identity', 'permissive']) served += await visit(kind, 'stranger', 'echo');
      return served + (await visit('enmesh', 'stranger', 'token')) === 0;
    };
    let refused = await foreign();
    for (const { kind, request, isJudged } of cells) {
      await measure(servers.get(kind), load, { count: (isJudged ? warming : warmingBeside)[form], request });
    }
    const figures = [];
    for (let round = 0; round < rounds; round++) {
      const figure = {};
      // There and back, so that a drift of the machine favours no twin.
      for (const { name, kind, request } of [...cells, ...cells.toReversed()]) {
        figure[name] = (figure[name] ?? 0) + (await measure(servers.get(kind), load, { count: count / 2, request })) / 2;
      }
      figures.push(figure);
    }
    refused &&= await foreign();
    // Of fresh processes, whose memory no handshakes have torn into pieces.
    const weights = { bare: [], identity: [] };
    for (let round = 0; round < 3; round++) {
      for (const kind of ['bare', 'identity']) {
        const server = await start(0, twin, [kind, file]);
        fresh.push(server);
        await measure(server, load, { count: 100, request: 'echo' });
        weights[kind].push(await weigh(server, load));
      }
    }
    report({ figures, refused, weights }, { count, json });
  } finally {
    stop([load, ...started, ...fresh]);
    rmSync(directory, { recursive: true, force: true });
  }
}

function report({ figures, refused, weights }, { count, json }) {
  const micros = (name) => medianInterval(figures.map((figure) => figure[name])).median.toFixed(0);
  const ratios = new Map(rows.map((row) => [row, medianInterval(figures.map((figure) => figure[row.of] / figure[row.by]))]));
  console.log(`handshake: server CPU per full mutual handshake, ${figures.length} paired rounds of ${count} connections\n`);
  console.log(
    '| what a connection brings | bare node:https, us | enmesh, us | ratio (median, 95 % interval) |\n|---|---|---|---|',
  );
  for (const [{ title, of, by }, { median, low, high }] of ratios) {
    const interval = `${median.toFixed(3)} (${low.toFixed(3)}-${high.toFixed(3)})`;
    console.log(`| ${title} | ${micros(by)} | ${micros(of)} | ${interval} |`);
  }
  const [judged, permissive, rooted, first] = [...ratios.values()];
  const verdict = verdictOf(judged, goal);
  console.log(`\ngoal <= ${goal} for STRICT: ${verdict}; who may not enter was refused before and after: ${refused}`);
  const [bareIdle, idle] = [weights.bare, weights.identity].map(median);
  console.log(
    `idle connection: ${idle.toFixed(0)} KiB, of bare ${bareIdle.toFixed(0)} KiB (medians of ${weights.bare.length} processes with ${idleConnections} connections)`,
  );
  const round = (value) => Math.round(value * 1000) / 1000;
  const { median: cpuRatio, low, high } = judged;
  if (json) {
    console.log(
      JSON.stringify({
        bench: 'handshake',
        ...{ cpuRatio: round(cpuRatio), low: round(low), high: round(high), rounds: figures.length, verdict },
        ...{
          permissiveRatio: round(permissive.median),
          rootedRatio: round(rooted.median),
          firstRequestRatio: round(first.median),
        },
        ...{ idleKiB: Math.round(idle), bareIdleKiB: Math.round(bareIdle), refusedForeign: refused },
      }),
    );
  }
  if (!refused) process.exitCode = 1;
}
