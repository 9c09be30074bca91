import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { findViolations, importsOf, parseTable } from './layers.mjs';

const page = `# Architecture
\`\`\`layers
1   errors
1b  telemetry/events   # names error codes
2   tls  jwt
3   config  telemetry
4   @enmesh/express
\`\`\`
\`\`\`dependencies
yaml      config
express   @enmesh/express
node:tls  tls
\`\`\`
`;

const core = {
  name: '@enmesh/core',
  exports: { '.': { default: './dist/index.js' }, './worker': { default: './dist/config/worker.js' } },
  dependencies: { yaml: '2' },
};
const express = {
  name: '@enmesh/express',
  exports: { '.': './dist/index.js' },
  dependencies: { '@enmesh/core': '1' },
  peerDependencies: { express: '5' },
};

/** A tree in which every rule is kept. */
const good: Record<string, string> = {
  'docs/architecture.md': page,
  'packages/core/package.json': JSON.stringify(core),
  'packages/core/src/index.ts': `export * from './config/load.js';`,
  'packages/core/src/errors.ts': `export const x = 1;`,
  'packages/core/src/telemetry/events.ts': `import type { x } from '../errors.js';`,
  'packages/core/src/telemetry/voice.ts': `import { a } from './events.js';`,
  'packages/core/src/jwt/rules.ts': `import { readFile } from 'node:fs';`,
  'packages/core/src/tls/server.ts': `import tls from 'node:tls';`,
  'packages/core/src/config/load.ts': `import { parse } from 'yaml';\nimport { rules } from '../jwt/rules.js';`,
  'packages/core/src/config/worker.ts': `export {};`,
  'packages/core/src/config/load.test.ts': `import '../../../express/src/index.js';`,
  'packages/express/package.json': JSON.stringify(express),
  'packages/express/src/index.ts': `import type { Express } from 'express';\nimport { load } from '@enmesh/core';`,
};

const made: string[] = [];

function tree(changes: Record<string, string | object>): string {
  const root = mkdtempSync(join(tmpdir(), 'enmesh-layers-'));
  made.push(root);
  for (const [path, content] of Object.entries({ ...good, ...changes })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return root;
}

afterEach(() => {
  for (const root of made.splice(0)) rmSync(root, { recursive: true, force: true });
});

const jwt = 'packages/core/src/jwt/rules.ts';
const adapter = 'packages/express/src/index.ts';
const allowed = good[adapter];

describe('the direction of imports', () => {
  it('accepts a tree that keeps the tables', () => {
    expect(findViolations(tree({})).violations).toEqual([]);
  });

  it.each([
    [
      'a row below, statically',
      jwt,
      `import { load } from '../config/load.js';`,
      'jwt (row 2) imports config (row 3): imports go to rows above only',
    ],
    ['a row below, as a type', jwt, `import type { Load } from '../config/load.js';`, 'jwt (row 2) imports config'],
    ['a row below, by re-export', jwt, `export * from '../config/load.js';`, 'jwt (row 2) imports config'],
    ['a row below, dynamically', jwt, `const load = await import('../config/load.js');`, 'jwt (row 2) imports config'],
    ['a row below, inside a type', jwt, `type Load = import('../config/load.js').Load;`, 'jwt (row 2) imports config'],
    ['a row below, by require', jwt, `const load = require('../config/load.js');`, 'jwt (row 2) imports config'],
    ['a row below, as a URL', jwt, `new URL('../config/worker.js', import.meta.url);`, 'jwt (row 2) imports config'],
    ['a row below, by its own public entry', jwt, `import '@enmesh/core/worker';`, 'jwt (row 2) imports config'],
    ['a neighbour', jwt, `import { server } from '../tls/server.js';`, 'neighbours on a row do not import each other'],
    ['the front door from within', jwt, `import { load } from '../index.js';`, 'imports index, the front door'],
    ['what no literal names', jwt, `await import(name);`, 'not named by a literal'],
    ["another room's dependency", jwt, `import { parse } from 'yaml';`, 'jwt imports yaml, which is for config'],
    ["another room's Node module", jwt, `import tls from 'node:tls';`, 'jwt imports node:tls, which is for tls'],
    ['a Node module without its prefix', jwt, `import fs from 'fs';`, 'without the prefix node:'],
    ['a dependency without a row', jwt, `import _ from 'lodash';`, 'lodash, which has no row'],
    ['a file outside the package', jwt, `import '../../../express/src/index.js';`, "outside its package's src"],
    ['a room without a row', 'packages/core/src/rooms/new.ts', `export {};`, 'rooms has no row'],
    ['core past its entries', adapter, `${allowed}\nimport '@enmesh/core/dist/jwt/rules.js';`, 'no public entry of @enmesh/core'],
    ["core's sources", adapter, `${allowed}\nimport '../../core/src/jwt/rules.js';`, "outside its package's src"],
    [
      "core's dependency from an adapter",
      adapter,
      `${allowed}\nimport 'yaml';`,
      '@enmesh/express imports yaml, which is for config',
    ],
    ['an adapter from core', jwt, `import '@enmesh/express';`, 'which package.json does not declare'],
  ])('refuses an import of %s', (_what, path, source, message) => {
    const { violations } = findViolations(tree({ [path]: source }));
    expect(violations).toEqual([{ file: path, line: source.split('\n').length, message: expect.stringContaining(message) }]);
  });

  it('refuses a dependency that is not declared, and one that nobody imports', () => {
    const dependencies = { 'lru-cache': '11' };
    const { violations } = findViolations(tree({ 'packages/core/package.json': { ...core, dependencies } }));
    expect(violations.map(({ message }) => message)).toEqual([
      'imports yaml, which package.json does not declare',
      'declares lru-cache, which no source file imports',
    ]);
  });

  it('finds the line of each import', () => {
    const found = importsOf(`// first\nimport a from './a.js';\n\nexport type { B } from './b.js';`, 'x.ts');
    expect(found).toEqual([
      { specifier: './a.js', line: 2 },
      { specifier: './b.js', line: 4 },
    ]);
  });

  it('refuses a page without the tables, or with a room in two rows', () => {
    expect(() => parseTable('# nothing')).toThrow('no ```layers block');
    expect(() => parseTable('```layers\n1 tls\n2 tls\n```\n')).toThrow('tls stands twice');
  });

  it('ends the script with a failure that names file, line and rows', () => {
    const script = fileURLToPath(new URL('check-layers.mjs', import.meta.url));
    const root = tree({ [jwt]: `\nimport '../config/load.js';` });
    const { status, stderr } = spawnSync(process.execPath, [script, root], { encoding: 'utf8' });
    expect(stderr).toContain(`${jwt}:2 jwt (row 2) imports config (row 3)`);
    expect(status).toBe(1);
    expect(spawnSync(process.execPath, [script, tree({})]).status).toBe(0);
  });
});
