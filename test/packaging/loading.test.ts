import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
}

const manifests = readdirSync(`${root}/packages`, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => JSON.parse(readFileSync(`${root}/packages/${name}/package.json`, 'utf8')) as Manifest);

const entries = manifests.flatMap(({ name, exports }) =>
  Object.keys(exports)
    .filter((entry) => !entry.endsWith('.json'))
    .map((entry) => name + entry.slice(1)),
);

/** Runs a program of this Node line with the packages in reach; what it printed on both streams. */
async function run(type: 'module' | 'commonjs', code: string): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, [`--input-type=${type}`, '-e', code], { cwd: root });
}

describe.each(entries)('%s', (entry) => {
  it('is required by CommonJS with the names that an import gives, and without a warning', async () => {
    const imported = await run('module', `console.log(Object.keys(await import('${entry}')).sort().join())`);
    const required = await run('commonjs', `console.log(Object.keys(require('${entry}')).sort().join())`);
    expect(required).toEqual({ stdout: imported.stdout, stderr: '' });
    expect(imported.stderr).toBe('');
  });

  it('lets the process end: loading it opens nothing and starts no timer', async () => {
    const code = `require('${entry}'); setImmediate(() => console.log(process.getActiveResourcesInfo().filter((kind) => !/Immediate|Pipe|TTY/.test(kind)).join()));`;
    expect(await run('commonjs', code)).toEqual({ stdout: '\n', stderr: '' });
  });
});

describe('the cost of loading', () => {
  it('does not include the writer of certificates, which is loaded when one is written', async () => {
    const code = `require('@enmesh/core'); console.log(Object.keys(require.cache).some((file) => file.includes('node-forge')));`;
    expect((await run('commonjs', code)).stdout).toBe('false\n');
  });
});
