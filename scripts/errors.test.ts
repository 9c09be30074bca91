import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { errorTable } from '../packages/core/src/errors.js';
import { renderErrors } from './errors-page.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8').replaceAll('\r\n', '\n');

/** The environment variables that docs/environment.md lists in the first column of its table. */
const variables = [...read('docs/environment.md').matchAll(/^\|\s*`(ENMESH_[A-Z0-9_]+)`\s*\|/gm)].map(([, name]) => name!);

const packages = readdirSync(join(root, 'packages'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
const sources = packages.flatMap(({ name }) =>
  readdirSync(join(root, 'packages', name, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .map((file) => join('packages', name, 'src', file)),
);

/** Every `ENMESH_...` in the code of the packages, comments left out, and the files it stands in. */
const named = new Map<string, string[]>();
for (const file of sources.filter((path) => !path.endsWith(join('src', 'errors.ts')))) {
  const code = read(file).replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '');
  for (const [name] of code.matchAll(/ENMESH_[A-Z0-9_]*[A-Z0-9]/g)) named.set(name, [...(named.get(name) ?? []), file]);
}

const codes = Object.keys(errorTable);

describe('the error table', () => {
  it('is what docs/errors.md says', () => {
    expect(read('docs/errors.md')).toBe(renderErrors(errorTable));
  });

  it('has no code that no source file uses', () => {
    expect(codes.filter((code) => !named.has(code))).toEqual([]);
  });

  it('has every code that a source file uses', () => {
    const known = new Set([...codes, ...variables]);
    expect([...named].filter(([name]) => !known.has(name))).toEqual([]);
  });

  it('names a code by the folder of core, or the package, that it belongs to', () => {
    const folders = readdirSync(join(root, 'packages/core/src')).map((name) => name.replace(/\.ts$/, ''));
    folders.push(...packages.map(({ name }) => name));
    const folderOf = (code: string): string => code.split('_')[1]!.toLowerCase();
    expect(codes.filter((code) => !folders.includes(folderOf(code)))).toEqual([]);
  });

  it.each(codes)('gives %s a status, a public sentence, a meaning and a remedy', (code) => {
    const entry = errorTable[code as keyof typeof errorTable];
    expect(entry.status).toBeGreaterThanOrEqual(400);
    expect(entry.status).toBeLessThan(600);
    for (const text of [entry.public, entry.meaning, entry.remedy]) expect(text).toMatch(/^\S(.*\S)?$/);
  });

  it('shares no name with the environment variables', () => {
    expect(variables.length).toBeGreaterThan(0);
    expect(variables.filter((name) => codes.includes(name))).toEqual([]);
  });

  it('knows no environment variable that nothing reads', () => {
    const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const own = ['scripts/test-all.mjs', ...tests.map((file) => join('test', file))].map(read).join('\n');
    expect(variables.filter((name) => !named.has(name) && !own.includes(name))).toEqual([]);
  });
});
