// npm run demo: starts the shop, walks through its eleven steps and says for each what was asked, what came back, what was expected and why.
import { onStop } from '../platform/signals.mjs';
import { printCheck, printSum, printTitle } from './walk/print.mjs';
import { steps } from './walk/steps.mjs';
import { createWorld } from './walk/world.mjs';

const startedAt = performance.now();
const starting = createWorld();
let isStopping = false;

onStop({
  gently: async () => {
    isStopping = true;
    const world = await starting.catch(() => {});
    await world?.close();
    process.exit(130);
  },
  atOnce: () => process.exit(130),
});

const found = [];
let isWhole = false;
try {
  const world = await starting;
  for (const { name, place } of [world.shop.product, world.shop.stock, world.shop.gateway, world.shop.idp]) {
    console.log(
      `${name.padEnd(8)} process ${place.pid} at ${place.address}${place.identity === undefined ? '' : `, ${place.identity}`}`,
    );
  }
  try {
    for (const step of steps) {
      printTitle(step.title);
      found.push(...(await world.walk(step, printCheck)));
    }
    isWhole = true;
  } finally {
    await world.close();
  }
} catch (error) {
  if (!isStopping) console.error(`\nthe walk ended: ${error.message}`);
}
const failed = found.filter(({ ok }) => !ok).length;
if (!isStopping) {
  printSum({ checks: found.length, failed, seconds: (performance.now() - startedAt) / 1000 });
  process.exit(isWhole && failed === 0 ? 0 : 1);
}
