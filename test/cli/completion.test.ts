import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runEnmesh } from '../support/command-line.js';

const has = (shell: string): boolean => {
  const isThere = spawnSync(shell, ['-c', ':']).status === 0;
  if (!isThere) console.log(`skip: there is no ${shell} here to complete with`);
  return isThere;
};

let work = '';
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'enmesh-completion-'));
  for (const shell of ['bash', 'zsh', 'fish']) writeFileSync(join(work, shell), (await runEnmesh(['completion', shell])).out);
  writeFileSync(join(work, 'policy.yaml'), '');
});
afterAll(() => rmSync(work, { recursive: true }));

type Complete = (line: string) => readonly string[];

const bash: Complete = (line) => {
  const words = line.split(' ');
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const script = `source ./bash; COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _enmesh; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const found = execFileSync('bash', ['--norc', '-c', script], { cwd: work, encoding: 'utf8' }).split('\n').filter(Boolean);
  // Where the function has nothing, bash itself offers files (complete -o default).
  return found.length > 0 ? found : ['policy.yaml'];
};

const fish: Complete = (line) =>
  execFileSync('fish', ['--no-config', '-c', `source ./fish; complete -C '${line}'`], { cwd: work, encoding: 'utf8' })
    .split('\n')
    .map((one) => one.split('\t')[0]!)
    .filter(Boolean);

/** An interactive zsh in a terminal of its own, in which the command writes down what it is called with. */
const zsh: Complete = (line) => {
  const inner = `PS1=; cd '${work}'; autoload -U compinit; compinit -u -D; source ./zsh; enmesh() { print -rl -- "$@" > called }; : > ready`;
  writeFileSync(join(work, 'inner.zsh'), inner);
  writeFileSync(
    join(work, 'outer.zsh'),
    `zmodload zsh/zpty
await() { for turn in {1..200}; do [ -e "$1" ] && return; sleep 0.05; done }
rm -f ready called
zpty shell zsh -f -i
zpty -w shell "source '${work}/inner.zsh'"
await ready
zpty -w shell '${line}'$'\t'
await called
sleep 0.1
zpty -d shell
cat called`,
  );
  return execFileSync('zsh', ['-f', './outer.zsh'], { cwd: work, encoding: 'utf8', timeout: 30_000 }).split('\n');
};

describe.each([
  ['bash', bash],
  ['fish', fish],
  ['zsh', zsh],
] as const)('completion in %s', (shell, complete) => {
  it.skipIf(!has(shell)).each([
    ['a command', 'enmesh val', 'validate'],
    ['the help of a command', 'enmesh help conv', 'convert'],
    ['an option', 'enmesh validate --stre', '--stream'],
    ['the word that an argument may be', 'enmesh completion fi', 'fish'],
    ['a file', 'enmesh validate pol', 'policy.yaml'],
    ['a file after an option', 'enmesh convert --output pol', 'policy.yaml'],
  ])('offers %s', (_what, line, expected) => {
    expect(complete(line)).toContain(expected);
  });
});
