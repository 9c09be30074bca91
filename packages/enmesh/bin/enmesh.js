#!/usr/bin/env node
// npm links a command when it installs, in a clone before anything is built: what it links must be there already.
import { existsSync } from 'node:fs';

const built = new URL('../dist/bin.js', import.meta.url);
if (existsSync(built)) void import(built.href);
else {
  process.stderr.write('enmesh: not built yet: run `npm run build` at the root of the repository\n');
  process.exitCode = 2;
}
