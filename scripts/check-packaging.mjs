// Packs every package, looks at what is inside, and uses it as a service would: installed from the tarballs in an empty directory, imported from ES
// modules and required from CommonJS on every public entry, its types resolved by both. Needs a build and the npm registry or npm's cache.
// --list names every file.
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { contentProblems, readmeImports } from './package-contents.mjs';
import { run, runNpm } from './run.mjs';
import { formatTally } from './tally.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const work = mkdtempSync(join(tmpdir(), 'enmesh-packaging-'));
const tool = (path) => join(root, 'node_modules', path);
const license = readFileSync(join(root, 'LICENSE'), 'utf8');
const tally = { passed: 0, failed: 0 };

/** Says one result; `problems` are lines, none when it passed. */
function report(title, problems) {
  tally[problems.length === 0 ? 'passed' : 'failed'] += 1;
  console.log(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${title}`);
  for (const problem of problems) console.log(`       ${problem.trimEnd().replaceAll('\n', '\n       ')}`);
}

async function expectSuccess(title, command, args, cwd) {
  const { code, output } = await run(command, args, { cwd, quiet: true, timeoutMs: 120_000 });
  report(title, code === 0 ? [] : [output]);
}

/** Packs one package; its tarball, its files and its manifest. */
async function pack(name) {
  const directory = join(root, 'packages', name);
  const { code, stdout, output } = await runNpm(['pack', '--json', '--foreground-scripts=false', '--pack-destination', work], {
    cwd: directory,
    quiet: true,
  });
  if (code !== 0) throw new Error(`npm pack of packages/${name} failed:\n${output}`);
  const parsed = JSON.parse(stdout);
  const [packed] = Array.isArray(parsed) ? parsed : Object.values(parsed);
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  return {
    directory,
    manifest,
    name: manifest.name,
    tarball: join(work, packed.filename),
    files: packed.files.map(({ path }) => path),
  };
}

async function checkTarball({ name, directory, tarball, files }) {
  const folders = ['dist', 'src'].map((folder) => `${files.filter((file) => file.startsWith(`${folder}/`)).length} in ${folder}`);
  console.log(`\n${name}: ${[...files.filter((file) => !file.includes('/')), ...folders].join(', ')}`);
  if (process.argv.includes('--list')) for (const file of files) console.log(`         ${file}`);
  report(
    `${name} holds what a service uses and nothing else`,
    contentProblems({ files, read: (file) => readFileSync(join(directory, file), 'utf8'), license }),
  );
  await expectSuccess(`${name} passes publint --strict`, process.execPath, [
    tool('publint/src/cli.js'),
    'run',
    '--strict',
    tarball,
  ]);
  const attw = [tool('@arethetypeswrong/cli/dist/index.js'), '--profile', 'esm-only', '--no-color', tarball];
  await expectSuccess(`${name} passes attw --profile esm-only`, process.execPath, attw);
}

/** The versions this repository is tested with, so that an install needs nothing that `npm ci` has not brought into npm's cache. */
function pinned(name) {
  return `${name}@${JSON.parse(readFileSync(tool(`${name}/package.json`), 'utf8')).version}`;
}

async function install(packed, all) {
  const home = join(work, packed.name.replace('/', '-'));
  mkdirSync(home);
  writeFileSync(join(home, 'package.json'), JSON.stringify({ name: 'consumer', private: true }));
  const own = all.filter(({ name }) => name === packed.name || name in (packed.manifest.dependencies ?? {}));
  const peers = Object.keys(packed.manifest.peerDependencies ?? {}).map(pinned);
  const types = ['@types/node', ...(peers.length > 0 && packed.name.endsWith('express') ? ['@types/express'] : [])].map(pinned);
  const args = [
    'install',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    ...own.map(({ tarball }) => tarball),
    ...peers,
    ...types,
  ];
  const { code, output } = await runNpm(args, { cwd: home, quiet: true, timeoutMs: 300_000 });
  report(`${packed.name} installs from its tarball in an empty directory`, code === 0 ? [] : [output]);
  return code === 0 ? home : undefined;
}

/** Every public entry that is code, as a specifier. */
function entriesOf({ name, manifest }) {
  return Object.keys(manifest.exports)
    .filter((entry) => !entry.endsWith('.json'))
    .map((entry) => name + entry.slice(1));
}

async function checkInstalled(packed, home) {
  const entries = entriesOf(packed);
  const node = (title, type, code) =>
    expectSuccess(
      `${packed.name}: ${title}`,
      process.execPath,
      ['--throw-deprecation', `--input-type=${type}`, '-e', code],
      home,
    );
  const imports = readmeImports(readFileSync(join(home, 'node_modules', packed.name, 'README.md'), 'utf8'));
  report(
    `${packed.name}: README shows how to import it`,
    imports.some(({ from }) => from === packed.name) ? [] : ['no import line of the package in a code block'],
  );
  for (const { line, names } of imports) {
    const uses = names
      .map((name) => `if (typeof ${name} !== 'function') throw new Error('${name} is not a function');`)
      .join('\n');
    await node(`README's \`${line}\` works`, 'module', `${line}\n${uses}`);
  }
  for (const entry of entries) {
    const sameNames = `import { createRequire } from 'node:module';
      const [a, b] = [await import('${entry}'), createRequire(process.cwd() + '/x.cjs')('${entry}')].map((module) => Object.keys(module).sort().join());
      if (a !== b) throw new Error(a + ' / ' + b);`;
    await node(`${entry} is imported by ES modules and gives CommonJS the same names`, 'module', sameNames);
    await node(
      `${entry} is required by CommonJS without a warning`,
      'commonjs',
      `process.on('warning', (w) => { throw w; }); require('${entry}');`,
    );
  }
  await checkTypes(packed, home, entries);
}

async function checkTypes(packed, home, entries) {
  const lines = (form) => entries.map((entry, index) => form(`m${index}`, entry)).join('\n');
  const use = entries.map((_, index) => `export type T${index} = typeof m${index};`).join('\n');
  writeFileSync(join(home, 'esm.mts'), `${lines((name, entry) => `import * as ${name} from '${entry}';`)}\n${use}\n`);
  writeFileSync(join(home, 'cjs.cts'), `${lines((name, entry) => `import ${name} = require('${entry}');`)}\n${use}\n`);
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2023'],
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: ['node'],
  };
  writeFileSync(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['esm.mts', 'cjs.cts'] }));
  const tsc = [tool('typescript/bin/tsc'), '-p', home, '--pretty', 'false'];
  const { code, output } = await run(process.execPath, tsc, { cwd: home, quiet: true });
  const errors = output.split('\n').filter((line) => /error TS/.test(line));
  // Declarations of frameworks have flaws of their own; ours and the consumer's must have none.
  const ours = errors.filter((line) => /^node_modules\/(@enmesh|enmesh)\//.test(line) || !line.startsWith('node_modules/'));
  if (code !== 0 && errors.length === 0) ours.push(output);
  report(`${packed.name}: types resolve for ES modules and CommonJS, and its declarations have no error`, ours);
}

try {
  const names = readdirSync(join(root, 'packages'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const all = [];
  for (const { name } of names) all.push(await pack(name));
  for (const packed of all) {
    await checkTarball(packed);
    const home = await install(packed, all);
    if (home !== undefined) await checkInstalled(packed, home);
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
console.log(`\n${formatTally(tally)}`);
if (tally.failed > 0 || tally.passed === 0) process.exitCode = 1;
