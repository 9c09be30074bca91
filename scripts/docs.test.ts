import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { steps } from '../packages/core/src/telemetry/events.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const pages = [
  'docs',
  'docs/cli',
  'docs/decisions',
  'packages/core',
  'packages/enmesh',
  'packages/express',
  'packages/fastify',
  '.',
].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

/** The targets of a page's links into this repository, code blocks left out. */
function linksOf(page: string): string[] {
  const prose = read(page).replace(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !/^(https?:|mailto:|#)/.test(target));
}

describe('the pages', () => {
  it.each(pages)('%s links to what exists', (page) => {
    const lost = linksOf(page).filter((target) => !existsSync(join(root, dirname(page), target.replace(/#.*/, ''))));
    expect(lost).toEqual([]);
  });

  it('of decisions are all in their index', () => {
    const index = linksOf('docs/decisions/README.md');
    const names = readdirSync(join(root, 'docs/decisions')).filter((name) => name !== 'README.md');
    expect(names.filter((name) => !index.includes(name))).toEqual([]);
  });

  it('of decisions say why each runtime dependency is here', () => {
    const manifests = readdirSync(join(root, 'packages')).map(
      (name) => JSON.parse(read(join('packages', name, 'package.json'))) as Manifest,
    );
    const dependencies = manifests
      .flatMap((manifest) => Object.keys(manifest.dependencies ?? {}))
      .filter((name) => !name.startsWith('@enmesh/'));
    const topics = readdirSync(join(root, 'docs/decisions')).map((name) => name.replace(/(-\d+)?\.md$/, ''));
    // A page has no slash in its name: the scope is left out.
    expect(dependencies.filter((name) => !topics.includes(name.replace(/^@[^/]+\//, '')))).toEqual([]);
  });

  it('on one request has the steps of the events, in their order', () => {
    expect([...read('docs/request.md').matchAll(/^\| `([a-z-]+)`\s+\|/gm)].map(([, step]) => step)).toEqual([...steps]);
  });

  it('carry the licence in every package as in the repository', () => {
    const licences = readdirSync(join(root, 'packages')).map((name) => read(join('packages', name, 'LICENSE')));
    expect(licences.filter((text) => text !== read('LICENSE'))).toEqual([]);
  });
});

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}
