import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { splitWords } from '../../packages/enmesh/dist/evaluate/curl.js';
import { runEnmesh } from '../support/command-line.js';

const cwd = resolve(import.meta.dirname, 'shop');
const pages = ['evaluate', 'explain', 'describe', 'test'];

/** The `$ enmesh ...` of a page's console blocks with the output that stands under it. */
function examplesOf(page: string): { readonly command: string; readonly output: string }[] {
  const text = readFileSync(resolve(import.meta.dirname, `../../docs/cli/${page}.md`), 'utf8');
  return [...text.matchAll(/^```console\n\$ enmesh (.*)\n([^]*?)^```$/gm)].map(([, command = '', output = '']) => ({
    command,
    output,
  }));
}

describe.each(pages)('docs/cli/%s.md', (page) => {
  it.each(examplesOf(page).map(({ command, output }) => [command, output]))(
    'shows what `enmesh %s` prints',
    async (command, output) => {
      const { out, error } = await runEnmesh(splitWords(command), { cwd });
      expect(error).toBe('');
      expect(out).toBe(output);
    },
  );
});
