// `npm run bench -- NAME [--quick] [--json] [--gate] [--rules N]`: runs one benchmark; without a name it lists them.
import { readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';

const here = new URL('.', import.meta.url);
const names = readdirSync(here, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
  .map(({ name }) => name);
const [name, ...flags] = process.argv.slice(2);

const usage = `npm run bench -- NAME [--quick] [--json] [--gate] [--rules N]`;

if (name === undefined || !names.includes(name)) {
  console.log(`usage: ${usage}\nbenchmarks: ${names.join(', ')}`);
  process.exit(name === undefined ? 0 : 2);
}
const { values, error } = readFlags();
if (error !== undefined) {
  console.error(`${error}\nusage: ${usage}`);
  process.exit(2);
}
const { run } = await import(new URL(`${name}/index.mjs`, here).href);
const { quick, json, gate, rules } = values;
const missed = await run({ quick, json, rules: rules === undefined ? undefined : Number(rules) });
if (gate && missed > 0) process.exitCode = 1;

function readFlags() {
  const flag = { type: 'boolean', default: false };
  try {
    const parsed = parseArgs({ args: flags, options: { quick: flag, json: flag, gate: flag, rules: { type: 'string' } } });
    const isNumber = parsed.values.rules === undefined || /^[1-9]\d{0,4}$/.test(parsed.values.rules);
    return isNumber ? parsed : { error: '--rules takes a number from 1 to 99999' };
  } catch (cause) {
    return { error: cause.message };
  }
}
