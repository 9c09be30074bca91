#!/usr/bin/env node
// npm links a command when it installs, in a clone before anything is built: what it links must be there already.
import { existsSync } from 'node:fs';

const [major, minor] = process.versions.node.split('.').map(Number);
const built = new URL('../dist/bin.js', import.meta.url);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`enmesh: needs Node.js 20.19 or newer, and this is ${process.versions.node}\n`);
  process.exitCode = 2;
} else if (existsSync(built)) void import(built.href);
else {
  process.stderr.write('enmesh: not built yet: run `npm run build` at the root of the repository\n');
  process.exitCode = 2;
}
