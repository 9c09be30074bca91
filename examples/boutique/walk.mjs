// npm run boutique: starts the boutique, places an order, and tries everything that is to be refused. `npm run boutique -- DIRECTORY` does so with the
// policies of another directory. Each line is a call, what its client got and why; the exit code is 0 only if all of them are as expected.
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import { onStop } from '../platform/signals.mjs';
import { printCheck, printSum, printTitle } from './walk/print.mjs';
import { story } from './walk/story.mjs';
import { deputyRefusals, stolenRefusals } from './walk/refusals/deputy.mjs';
import { canaryRefusals, tokenRefusals } from './walk/refusals/door.mjs';
import { connectionRefusals, serviceRefusals } from './walk/refusals/inside.mjs';
import { createWorld } from './walk/world.mjs';

const parts = [story, tokenRefusals, canaryRefusals, connectionRefusals, serviceRefusals, deputyRefusals, stolenRefusals];
const policies = process.argv[2] === undefined ? fileURLToPath(new URL('mesh', import.meta.url)) : resolve(process.argv[2]);

let isStopping = false;
const starting = createWorld({ policies });
onStop({
  gently: async () => {
    isStopping = true;
    await (await starting.catch(() => {}))?.close();
    process.exit(130);
  },
  atOnce: () => process.exit(130),
});

const found = [];
let isWhole = false;
try {
  const world = await starting;
  console.log(
    `${world.boutique.processes.length} services are up, frontend at http://127.0.0.1:${world.boutique.ports.get('frontend')}`,
  );
  try {
    for (const part of parts) {
      printTitle(part.title);
      for await (const check of part.checks(world)) {
        printCheck(check);
        found.push(check);
      }
    }
    isWhole = true;
  } finally {
    await world.close();
  }
} catch (error) {
  if (!isStopping) console.error(`\nthe walk ended: ${error.message}`);
}
if (!isStopping) {
  const right = found.filter(({ ok }) => ok).length;
  if (found.length > 0) printSum({ right, all: found.length, seconds: performance.now() / 1000 });
  process.exit(isWhole && right === found.length ? 0 : 1);
}
