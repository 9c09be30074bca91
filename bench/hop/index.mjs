// What carrying the user costs, as the difference of CPU time per call between paired rounds: the same calls with a user and without one. Caller and receiver are
// one process, so the figure is what both of them pay. In a cold round each call makes and verifies a token of its own.
import { printGoal } from '../goals.mjs';
import { medianInterval } from '../statistics.mjs';
import { createWorld } from './world.mjs';

const concurrency = 16;

const rows = [
  { mode: 'HOP', keyType: 'P-256', users: 1 },
  { mode: 'HOP', keyType: 'P-256', users: 100 },
  { mode: 'HOP', keyType: 'P-256', users: 500, isCold: true },
  { mode: 'HOP', keyType: 'P-384', users: 500, isCold: true },
  { mode: 'HOP', keyType: 'RSA-2048', users: 1 },
  { mode: 'HOP', keyType: 'RSA-2048', users: 500, isCold: true },
  { mode: 'EXCHANGE', keyType: 'P-256', users: 1 },
  { mode: 'EXCHANGE', keyType: 'P-256', users: 100 },
];

/** CPU time per call, in microseconds. */
async function measure({ gateway }, contexts, calls) {
  let left = calls;
  const before = process.cpuUsage();
  const work = async () => {
    while (left-- > 0) {
      const call = () => gateway.request('http://product.shop.svc.cluster.local/');
      const { body } = await gateway.runAs(contexts[left % contexts.length], call);
      await body.dump();
    }
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

async function compare(row, { rounds, calls: most }) {
  const { users, isCold = false } = row;
  const calls = isCold ? users : most;
  const world = await createWorld(row);
  await measure(world, [world.nobody], calls);
  await measure(world, world.somebody, Math.max(calls, users));
  const before = world.carried();
  const [alone, carried, ratios, differences] = [[], [], [], []];
  for (let round = 0; round < rounds; round++) {
    // Past the time in which a hop token is sent again, so that none is.
    if (isCold) world.advance(31_000);
    // Which comes first changes from round to round.
    const order = round % 2 === 0 ? [true, false] : [false, true];
    for (const isCarried of order)
      (isCarried ? carried : alone).push(await measure(world, isCarried ? world.somebody : [world.nobody], calls));
    differences.push(carried.at(-1) - alone.at(-1));
    ratios.push(carried.at(-1) / alone.at(-1));
  }
  if (world.carried() - before !== rounds * calls) throw new Error('some calls did not carry their user');
  await world.close();
  const intervals = { alone, carried, ratio: ratios, cost: differences };
  return { ...row, ...Object.fromEntries(Object.entries(intervals).map(([name, values]) => [name, medianInterval(values)])) };
}

const write = ({ median, low, high }, digits = 0) =>
  `${median.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`;

function print({ mode, keyType, users, isCold, alone, carried, ratio, cost }) {
  const what = isCold ? 'cold, a token for each call' : `warm, ${users} user${users === 1 ? '' : 's'}`;
  console.log(`${mode}, ${keyType}, ${what}: costs ${write(cost)} us of CPU`);
  console.log(`  per call alone ${write(alone)} us, with the user ${write(carried)} us, ratio ${write(ratio, 3)}`);
}

/** Answers how many goals were missed. */
export async function run({ quick, json }) {
  const size = quick ? { rounds: 10, calls: 500 } : { rounds: 30, calls: 2000 };
  const results = [];
  for (const row of rows) {
    results.push(await compare(row, size));
    if (!json) print(results.at(-1));
  }
  if (json) console.log(JSON.stringify(results));
  return printGoal('a warm hop costs', Math.round(results[0].cost.median), 60, ' us');
}
