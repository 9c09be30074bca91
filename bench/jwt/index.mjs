// P5 and P6: what a token costs the first time and again, beside bare crypto.verify and beside what others use. CPU time of this process.
import { verify as verifySignature } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { printIntervalGoal } from '../goals.mjs';
import { medianInterval } from '../statistics.mjs';
import { createEnmesh } from './enmesh.mjs';
import { createPeers } from './peers.mjs';
import { createIssuer, fresh } from './tokens.mjs';

/** The CPU time of this process, all threads, in microseconds. */
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');

/** Microseconds of CPU per line. What was made before does not count, not even what it costs to move it out of the way. */
function timed(lines, run) {
  collect();
  const start = cpu();
  for (const line of lines) run(line);
  return (cpu() - start) / lines.length;
}

async function timedAsync(lines, run) {
  collect();
  const start = cpu();
  for (const line of lines) await run(line);
  return (cpu() - start) / lines.length;
}

const bearer = (token) => `Bearer ${token}`;
const repeated = (lines, times) => Array.from({ length: times }, (_, index) => fresh(lines[index % lines.length]));

/** Fails unless everything that is measured takes a good token and refuses bad ones. */
async function checkRefusals(enmesh, peers, issuer, when) {
  const good = bearer(issuer.good(0));
  enmesh.verify(good);
  for (const verify of Object.values(peers)) await verify(good);
  for (const [what, token] of Object.entries(issuer.bad())) {
    if (!enmesh.isRefused(bearer(token))) throw new Error(`${when}: enmesh accepts a token that is ${what}`);
    for (const [name, verify] of Object.entries(peers)) {
      const accepted = await verify(bearer(token)).then(
        () => true,
        () => false,
      );
      // Who has one fixed key looks at no kid.
      if (accepted && !(what === 'wrong kid' && name === '@fastify/jwt'))
        throw new Error(`${when}: ${name} accepts one that is ${what}`);
    }
  }
}

/** What crypto.verify alone is given of each line, and how it is called. */
function bareOf({ publicKey }, lines) {
  const parts = lines.map((line) => {
    const dot = line.lastIndexOf('.');
    return { data: Buffer.from(line.slice('Bearer '.length, dot)), signature: Buffer.from(line.slice(dot + 1), 'base64url') };
  });
  const key = { key: publicKey, dsaEncoding: 'ieee-p1363' };
  return { parts, verify: ({ data, signature }) => verifySignature('sha256', data, key, signature) };
}

/** So few that whatever else the machine does meets both, so many that each has its own garbage collected in its own time. */
const turn = 100;

/**
 * The CPU time of first tokens over that of crypto.verify alone, by rounds: both verify all lines in turns of a few, whichever was second being first in
 * the next. Garbage is collected before each round, and what is made in it counts.
 */
function coldRatios(enmesh, bare, lines, { other, pairs }) {
  const ratios = [];
  // The first rounds are compiled rather than measured.
  for (let round = -5; round < pairs; round++) {
    enmesh.forget();
    enmesh.verify(other);
    const own = repeated(lines, lines.length);
    collect();
    const spent = { cold: 0, bare: 0 };
    const steps = {
      cold: (at) => own.slice(at, at + turn).forEach(enmesh.verify),
      bare: (at) => bare.parts.slice(at, at + turn).forEach(bare.verify),
    };
    for (let at = 0; at < lines.length; at += turn)
      for (const name of ((at / turn + round) & 1) === 0 ? ['cold', 'bare'] : ['bare', 'cold']) {
        const start = cpu();
        steps[name](at);
        spent[name] += cpu() - start;
      }
    if (round >= 0) ratios.push(spent.cold / spent.bare);
  }
  return ratios;
}

/** Rounds of: bare, ours cold, one warm token, a thousand warm tokens, and every peer cold and warm; the order turns with the round. */
async function measure(alg, { rounds, pairs, cold, warm }) {
  const issuer = createIssuer(alg);
  const lines = Array.from({ length: cold }, (_, index) => bearer(issuer.good(index)));
  const thousand = Array.from({ length: 1000 }, (_, index) => lines[index] ?? bearer(issuer.good(index)));
  const enmesh = await createEnmesh(issuer);
  const { peers, close } = await createPeers(issuer);
  await checkRefusals(enmesh, peers, issuer, 'before');
  const bare = bareOf(issuer, lines);
  const other = bearer(issuer.good(Math.max(cold, 1000)));
  const some = lines.slice(0, Math.ceil(cold / 4));
  const steps = {
    bare: () => timed(bare.parts, bare.verify),
    // The cache reserves its room at its first token, which none of these is.
    cold: () => (enmesh.forget(), enmesh.verify(other), timed(repeated(lines, lines.length), enmesh.verify)),
    one: () => timedWarm(enmesh, [lines[0]], warm),
    thousand: () => timedWarm(enmesh, thousand, warm),
    ...Object.fromEntries(
      Object.entries(peers).map(([name, verify]) => [name, () => timedAsync(repeated(some, some.length), verify)]),
    ),
  };
  const figures = Object.fromEntries(Object.keys(steps).map((name) => [name, []]));
  // Two rounds first that nobody counts.
  for (let round = -2; round < rounds; round++) {
    const order = Object.keys(steps);
    for (let turn = 0; turn < order.length; turn++) {
      const name = order[(turn + round + 2) % order.length];
      const figure = await steps[name]();
      if (round >= 0) figures[name].push(figure);
    }
    await checkRefusals(enmesh, {}, issuer, `round ${round}, after a warm token`);
  }
  const ratios = coldRatios(enmesh, bareOf(issuer, thousand), thousand, { other, pairs });
  await checkRefusals(enmesh, peers, issuer, 'after');
  enmesh.verify(lines[0]);
  enmesh.dropKeys();
  if (!enmesh.isRefused(lines[0])) throw new Error('a cached token is accepted although its key is gone');
  await close();
  return { figures, ratios, length: lines[0].length - 'Bearer '.length };
}

/** Every line is a string of its own, made before the clock runs. */
function timedWarm(enmesh, lines, times) {
  for (const line of lines) enmesh.verify(line);
  return timed(repeated(lines, times), enmesh.verify);
}

const ratio = (a, b) => medianInterval(a.map((value, round) => value / b[round]));
const show = ({ median, low, high }) => `${median.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;

const titles = {
  bare: 'crypto.verify alone',
  cold: 'enmesh, first time',
  one: 'enmesh, one token again',
  thousand: 'enmesh, 1000 tokens again',
};

function printTable(alg, length, figures) {
  console.log(
    `\n${alg}, tokens of ${length} characters: CPU in us, median of ${figures.bare.length} paired rounds (95 % interval)\n`,
  );
  console.log('| what | us per token | x crypto.verify |\n|---|---|---|');
  for (const [name, values] of Object.entries(figures))
    console.log(`| ${titles[name] ?? name} | ${show(medianInterval(values))} | ${show(ratio(values, figures.bare))} |`);
}

export async function run({ quick, json }) {
  const size = quick ? { rounds: 15, pairs: 31, cold: 200, warm: 20_000 } : { rounds: 31, pairs: 101, cold: 1000, warm: 60_000 };
  console.log(
    'jwt: the peers are called at their own function or middleware, without a server around; @fastify/jwt has its cache on',
  );
  const rs = await measure('RS256', size);
  printTable('RS256', rs.length, rs.figures);
  const es = await measure('ES256', size);
  printTable('ES256', es.length, es.figures);
  const { cold, one, thousand, jose } = rs.figures;
  const figures = {
    coldOverBare: medianInterval(rs.ratios),
    joseOverCold: ratio(jose, cold),
    es256ColdOverBare: medianInterval(es.ratios),
    warmUs: medianInterval(one),
    warmThousandUs: medianInterval(thousand),
    peersOverWarm: medianInterval(one.map((value, round) => Math.min(...peersOf(rs.figures).map((peer) => peer[round])) / value)),
  };
  console.log();
  const missed =
    printIntervalGoal('P5 a first RS256 token over crypto.verify alone', figures.coldOverBare, { most: 1.2 }, 'x') +
    printIntervalGoal('P5 jose over enmesh, a first RS256 token', figures.joseOverCold, { least: 3 }, 'x') +
    printIntervalGoal('P6 one token again', figures.warmUs, { most: 0.5 }, ' us') +
    printIntervalGoal('P6 1000 tokens again', figures.warmThousandUs, { most: 1.5 }, ' us') +
    printIntervalGoal('P6 the quickest peer over one token again', figures.peersOverWarm, { least: 20 }, 'x');
  if (json) console.log(JSON.stringify({ bench: 'jwt', missed, ...figures, rs256: rs.figures, es256: es.figures }));
  else console.log(JSON.stringify({ bench: 'jwt', missed, ...figures }));
  return missed;
}

const peersOf = ({ bare: _bare, cold: _cold, one: _one, thousand: _thousand, ...peers }) => Object.values(peers);
