import { describe, expect, it } from 'vitest';
import { contentProblems, readmeImports } from './package-contents.mjs';

const manifest = {
  scripts: { prepack: 'tsc -b' },
  exports: { '.': { types: './dist/index.d.ts', default: './dist/index.js' }, './package.json': './package.json' },
};
const good: Record<string, string> = {
  'package.json': JSON.stringify(manifest),
  'README.md': '# x',
  LICENSE: 'the licence',
  'dist/index.js': '',
  'dist/index.d.ts': '',
  'dist/index.js.map': JSON.stringify({ sources: ['../src/index.ts'] }),
  'src/index.ts': '',
};

function problemsOf(changes: Record<string, string | undefined>): string[] {
  const contents = Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, text]) => text !== undefined)) as Record<
    string,
    string
  >;
  return contentProblems({ files: Object.keys(contents), read: (file: string) => contents[file]!, license: 'the licence' });
}

describe('the contents of a package', () => {
  it('are accepted when they are what a service uses', () => {
    expect(problemsOf({})).toEqual([]);
  });

  it('may have source maps that carry their sources', () => {
    expect(
      problemsOf({
        'src/index.ts': undefined,
        'dist/index.js.map': JSON.stringify({ sources: ['../src/index.ts'], sourcesContent: [''] }),
      }),
    ).toEqual([]);
  });

  it.each([
    ['a test', 'dist/jwt/token.test.js', '', 'dist/jwt/token.test.js is of the tests'],
    ['a fixture', 'dist/fixtures/a.js', '', 'dist/fixtures/a.js is of the tests'],
    ['a key', 'dist/root.pem', '', 'dist/root.pem has no place in a package'],
    ['build state', 'dist/.tsbuildinfo', '', 'dist/.tsbuildinfo has no place in a package'],
    ['a stray file', 'tsconfig.json', '', 'tsconfig.json is not expected in a package'],
    ['another licence', 'LICENSE', 'another', 'LICENSE differs from the LICENSE of the repository'],
    ['no README', 'README.md', undefined, 'README.md is missing'],
    [
      'no build before it is packed',
      'package.json',
      JSON.stringify({ ...manifest, scripts: { build: 'tsc -b' } }),
      'package.json has no prepack script that builds',
    ],
    [
      'a command that is not there',
      'package.json',
      JSON.stringify({ ...manifest, bin: { enmesh: 'bin/enmesh.js' } }),
      'package.json has the command bin/enmesh.js, which is missing',
    ],
    ['an entry without its types', 'dist/index.d.ts', undefined, 'package.json exports dist/index.d.ts, which is missing'],
    [
      'a source map without its source',
      'src/index.ts',
      undefined,
      'dist/index.js.map points to ../src/index.ts, which is missing',
    ],
  ])('are refused with %s', (_what, file, text, problem) => {
    expect(problemsOf({ [file]: text })).toEqual([problem]);
  });
});

describe('the imports of a README', () => {
  it('are the lines of its code blocks that name a package of ours', () => {
    const text =
      "import { no } from '@enmesh/core'\n```sh\nimport { no } from '@enmesh/core'\n```\n```js\nimport { enmesh, listen } from '@enmesh/express'\nimport express from 'express'\n```\n";
    expect(readmeImports(text)).toEqual([
      { line: "import { enmesh, listen } from '@enmesh/express'", names: ['enmesh', 'listen'], from: '@enmesh/express' },
    ]);
  });
});
