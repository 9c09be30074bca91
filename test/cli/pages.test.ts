import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const pages = ['validate', 'init', 'convert', 'token', 'jwks', 'ca', 'completion'];

let work = '';
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'enmesh-pages-'));
  mkdirSync(join(work, 'bin'));
  const shim = join(work, 'bin', 'enmesh');
  writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'packages/enmesh/dist/bin.js')}' "$@"\n`);
  chmodSync(shim, 0o755);
});
afterAll(() => rmSync(work, { recursive: true }));

interface Example {
  readonly command: string;
  readonly output: string;
}

/** What a page gives to try: files (`file=PATH` behind a fence's language) and, in `console` blocks, commands after `$ ` with what they print. */
function readPage(name: string): { files: (readonly [path: string, text: string])[]; examples: Example[] } {
  const text = readFileSync(join(root, 'docs/cli', `${name}.md`), 'utf8');
  const files = [...text.matchAll(/^```\w+ file=(\S+)\n([\s\S]*?)^```/gm)].map((match) => [match[1]!, match[2]!] as const);
  const blocks = [...text.matchAll(/^```console\n([\s\S]*?)^```/gm)].map((match) => match[1]!);
  const examples = blocks.flatMap((block) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((part) => ({ command: part.slice(0, part.indexOf('\n')), output: part.slice(part.indexOf('\n') + 1) })),
  );
  return { files, examples };
}

/** Runs the commands one after another in one shell, each knowing the exit code of the one before; what each of them printed. */
async function runAll(examples: readonly Example[], cwd: string): Promise<string[]> {
  const script = examples.map(({ command }) => `(exit $code)\n${command}\ncode=$?; printf '\\001'`);
  const env = { PATH: [join(work, 'bin'), process.env['PATH']].join(delimiter), HOME: cwd, NO_COLOR: '1' };
  const output = await new Promise<string>((done, fail) => {
    const text = `exec 2>&1; code=0\n${script.join('\n')}`;
    const child = execFile('bash', ['-c', text], { cwd, env }, (error, out) => (error ? fail(error) : done(out)));
    child.stdin?.end();
  });
  return output.split('\u0001').slice(0, -1);
}

describe('the pages of the command line', () => {
  it.each(pages)('%s.md shows what its examples really print', async (name) => {
    const { files, examples } = readPage(name);
    const cwd = mkdtempSync(join(work, `${name}-`));
    for (const [path, text] of files) {
      mkdirSync(dirname(join(cwd, path)), { recursive: true });
      writeFileSync(join(cwd, path), text);
    }
    expect(examples.length).toBeGreaterThan(0);
    const outputs = await runAll(examples, cwd);
    expect(examples.map(({ command }, at) => `$ ${command}\n${outputs[at]}`)).toEqual(
      examples.map(({ command, output }) => `$ ${command}\n${output}`),
    );
  });
});
