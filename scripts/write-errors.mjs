// Writes docs/errors.md from the built error table; with --check it only says whether the page is up to date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { renderErrors } from './errors-page.mjs';

const built = new URL('../packages/core/dist/errors.js', import.meta.url);
const page = new URL('../docs/errors.md', import.meta.url);

if (!existsSync(built)) {
  console.error('docs: packages/core/dist/errors.js is missing; run `npm run build` first');
  process.exit(1);
}
const { errorTable } = await import(built.href);
const text = renderErrors(errorTable);
const current = existsSync(page) ? readFileSync(page, 'utf8').replaceAll('\r\n', '\n') : '';

if (!process.argv.includes('--check')) {
  writeFileSync(page, text);
  console.log(`docs: docs/errors.md has ${Object.keys(errorTable).length} codes`);
} else if (current === text) {
  console.log('docs: docs/errors.md is up to date');
} else {
  console.error('docs: docs/errors.md differs from packages/core/src/errors.ts; run `npm run build && npm run docs`');
  process.exitCode = 1;
}
