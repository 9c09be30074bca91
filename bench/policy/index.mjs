// P4: what a decision costs as the number of rules grows, beside a plain walk over the same rules and beside other engines.
import { compilePolicies } from '../../packages/core/dist/policy/compile.js';
import { evaluatePolicies } from '../../packages/core/dist/policy/evaluate.js';
import { printGoal } from '../goals.mjs';
import { measureLoad } from './load.mjs';
import { createRandom, nanoseconds } from './measure.mjs';
import { measurePeers } from './peers.mjs';
import { policyOf, shapes } from './shapes.mjs';

const target = { namespace: 'shop', labels: {} };
const mesh = { trustDomain: 'cluster.local', trustDomainAliases: [], rootNamespace: 'istio-system' };
const allSizes = [10, 100, 1000, 10_000];

/** Requests that the index and the walk are compared on, by the number of rules: a walk over many takes long. */
const compared = { 10: 10_000, 100: 10_000, 1000: 2000, 10000: 200 };

function compile(shape, size, action) {
  const { metadata, spec } = policyOf(shape, size, action);
  const meta = { kind: 'AuthorizationPolicy', creationTimestamp: 0, labels: {}, annotations: {}, ...metadata };
  return compilePolicies([{ meta: { ...meta, source: { file: 'bench', line: 1, column: 1 } }, spec }], target, mesh);
}

/** The same rules, walked one by one. */
const walked = (set) => ({ ...set, indexes: {} });

/** Fails unless the index and the walk decide alike on random requests, near misses among them. */
function compare(name, set, shape, size, times) {
  const random = createRandom(size + times);
  const linear = walked(set);
  for (let at = 0; at < times; at++) {
    const one = shape.request(Math.floor(random() * size * 1.2));
    const other = shape.request(Math.floor(random() * size * 1.2));
    const request = random() < 0.7 ? one : { ...one, path: other.path, peer: other.peer };
    if (evaluatePolicies(set, request) !== evaluatePolicies(linear, request)) throw new Error(`${name}: index and walk differ`);
  }
}

function measureShape(name, size, ms) {
  const shape = shapes[name];
  const allow = compile(shape, size, 'ALLOW');
  const deny = compile(shape, size, 'DENY');
  compare(name, allow, shape, size, compared[size]);
  compare(name, deny, shape, size, compared[size]);
  const allowed = (set, request) => () => evaluatePolicies(set, request).allowed;
  const figures = { hit: 0, miss: 0, denyLast: 0 };
  for (let kind = 0; kind < Math.min(shape.kinds ?? 1, size); kind++) {
    const last = shape.request(size - 1 - kind);
    const none = shape.request(size + 1 + kind);
    if (!allowed(allow, last)() || allowed(allow, none)() || allowed(deny, last)()) throw new Error(`${name}: wrong verdict`);
    const keep = (key, run) => (figures[key] = Math.max(figures[key], nanoseconds(run, ms)));
    keep('hit', allowed(allow, last));
    keep('miss', allowed(allow, none));
    keep('denyLast', allowed(deny, last));
  }
  const linear = nanoseconds(allowed(walked(allow), shape.request(size + 1)), ms / 2);
  return { shape: name, size, ...figures, linear };
}

const worst = ({ hit, miss, denyLast }) => Math.max(hit, miss, denyLast);
const round = (value) => (value < 100 ? Math.round(value * 10) / 10 : Math.round(value));

export async function run({ quick, json }) {
  const ms = quick ? 10 : 50;
  const sizes = quick ? [10, 10_000] : allSizes;
  // A first pass over all shapes, so that no shape is measured with code that has seen fewer kinds of rules than the next.
  for (const name of Object.keys(shapes)) measureShape(name, 100, 2);
  const rows = Object.keys(shapes).flatMap((name) => sizes.map((size) => measureShape(name, size, ms)));
  const growth = printShapes(rows, sizes);
  const loads = {};
  for (const name of ['spread', 'path prefixes', 'mixed']) loads[name] = await measureLoad(shapes[name], 10_000);
  printLoads(loads);
  const peers = await measurePeers(quick ? [10, 1000] : sizes, quick ? 50 : 400);
  printPeers(peers, rows);
  const worstNs10000 = Math.max(...rows.filter(({ size }) => size === 10_000).map(worst));
  console.log();
  const slowest = (key) => Math.max(...Object.values(loads).map((load) => load[key]));
  const missed =
    printGoal('worst of 10 000 rules', round(worstNs10000), 500, ' ns') +
    printGoal('worst growth from 10 rules', Math.round(growth * 100) / 100, 1.5, 'x') +
    printGoal('documents to index, first time', round(Math.max(...Object.values(loads).map(({ first }) => first))), 150, ' ms') +
    printGoal(
      'files to index',
      Math.round(Math.max(...Object.values(loads).map(({ validate, first }) => validate + first))),
      4000,
      ' ms',
    ) +
    printGoal('longest stall', round(slowest('stall')), 5, ' ms');
  const line = { bench: 'policy', worstNs10000: round(worstNs10000), growth: Math.round(growth * 100) / 100 };
  const rounded = rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([k, v]) => [k, typeof v === 'number' ? round(v) : v])),
  );
  if (json) console.log(JSON.stringify({ ...line, load: loads, rows: rounded, peers }));
  return missed;
}

function printShapes(rows, sizes) {
  console.log('policy: ns per decision (hit of the last rule / miss / DENY by the last rule), and a walk that misses\n');
  console.log(`| rules | ${sizes.join(' | ')} | growth of the worst | walk at 10 000 |\n|${'---|'.repeat(sizes.length + 3)}`);
  let most = 0;
  for (const name of Object.keys(shapes)) {
    const own = rows.filter(({ shape }) => shape === name);
    const cells = own.map(({ hit, miss, denyLast }) => `${Math.round(hit)} / ${Math.round(miss)} / ${Math.round(denyLast)}`);
    const growth = worst(own.at(-1)) / worst(own[0]);
    most = Math.max(most, growth);
    console.log(`| ${name} | ${cells.join(' | ')} | ${growth.toFixed(2)}x | ${Math.round(own.at(-1).linear)} |`);
  }
  return most;
}

function printLoads(loads) {
  console.log('\n10 000 rules from files to the index, ms of CPU\n');
  console.log(
    '| shape | parse and validate | documents to index, first time | again | longest stall (median, least of 5 loads) | the same without work |\n|---|---|---|---|---|---|',
  );
  for (const [name, { validate, first, later, stall, least, control }] of Object.entries(loads)) {
    console.log(
      `| ${name} | ${Math.round(validate)} | ${first.toFixed(1)} | ${later.toFixed(1)} | ${stall.toFixed(1)}, ${least.toFixed(1)} | ${control.toFixed(1)} |`,
    );
  }
}

function printPeers(peers, rows) {
  console.log(
    '\nother engines on the rules of `spread`\n\n| engine | rules | hit of the last, ns | miss, ns | load, ms |\n|---|---|---|---|---|',
  );
  for (const { size, hit, miss } of rows.filter(({ shape }) => shape === 'spread')) {
    console.log(`| enmesh | ${size} | ${Math.round(hit)} | ${Math.round(miss)} | |`);
  }
  for (const { engine, size, hit, miss, load } of peers) {
    console.log(`| ${engine} | ${size} | ${Math.round(hit)} | ${Math.round(miss)} | ${load.toFixed(1)} |`);
  }
}
