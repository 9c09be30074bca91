// `npm run bench -- NAME [--quick] [--json]`: runs one benchmark; without a name it lists them.
import { readdirSync } from 'node:fs';

const here = new URL('.', import.meta.url);
const names = readdirSync(here, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
  .map(({ name }) => name);
const [name, ...flags] = process.argv.slice(2);

if (name === undefined || !names.includes(name)) {
  console.log(`usage: npm run bench -- NAME [--quick] [--json]\nbenchmarks: ${names.join(', ')}`);
  process.exit(name === undefined ? 0 : 2);
}
const known = ['--quick', '--json'];
const unknown = flags.filter((flag) => !known.includes(flag));
if (unknown.length > 0) {
  console.error(`unknown option ${unknown.join(' ')}; there are ${known.join(' and ')}`);
  process.exit(2);
}
const { run } = await import(new URL(`${name}/index.mjs`, here).href);
await run({ quick: flags.includes('--quick'), json: flags.includes('--json') });
