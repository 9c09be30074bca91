// Fails on an import against the tables of docs/architecture.md. Usage: node scripts/check-layers.mjs [ROOT]
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findViolations } from './layers.mjs';

const root = process.argv[2] === undefined ? fileURLToPath(new URL('..', import.meta.url)) : resolve(process.argv[2]);
const { files, imports, violations } = findViolations(root);
for (const { file, line, message } of violations) console.error(`${file}:${line} ${message}`);
console.log(`layers: ${imports} imports of ${files} files, ${violations.length} against docs/architecture.md`);
if (violations.length > 0 || files === 0) process.exitCode = 1;
