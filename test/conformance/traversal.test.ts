import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createHouse } from '../support/house.js';
import { marker, readTraversalLines, requestAll, sites, traversalTargets, type SiteKind } from '../support/traversal.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const folder = resolve(corpora, 'path-traversal');
const isPresent = existsSync(folder);
if (!isPresent) console.log(`skip: traversal conformance, no corpus below ${corpora}`);

/** Every target in `npm run test:all`; in `npm test` one of this many, always the same ones. */
const isLong = process.env['ENMESH_LONG'] === '1' || process.env['npm_lifecycle_event'] === 'test:all';
const stride = isLong ? 1 : 61;

const policy = (name: string, action: string, paths: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop}
spec: {action: ${action}, rules: [{to: [{operation: {paths: [${paths}]}}]}]}
`;

const policies: Readonly<Record<string, string>> = {
  "a DENY on the secret's path": policy('no-secret', 'DENY', '"/secret", "/secret/*"'),
  'an ALLOW on the public path alone': policy('public', 'ALLOW', '"/public/*"'),
};

/**
 * Where the router alone decides what a path means, Istio's default normalization is enough. A handler that decodes the path once more and
 * resolves it, as servers of files do, needs the mesh to decode slashes too, here as in Istio.
 */
const normalizations: Readonly<Record<SiteKind, string>> = { routes: 'BASE', files: 'DECODE_AND_MERGE_SLASHES' };

describe.skipIf(!isPresent).each(Object.keys(sites))('traversals against %s', (framework) => {
  const site = sites[framework] ?? (() => Promise.reject(new Error('no such framework')));
  const lines = isPresent ? readTraversalLines(folder) : [];
  const all = traversalTargets(lines);
  const targets = all.filter((_, index) => index % stride === 0);

  describe.each(Object.keys(normalizations) as SiteKind[])('that serves %s', (kind) => {
    const timeout = 600_000;

    it('bite where nothing stands before it: the control', { timeout }, async () => {
      const bare = await site(kind);
      const run = await requestAll(bare.port, [...targets, '/secret/flag']);
      const { count } = bare.reached;
      await bare.close();
      console.log(
        `traversal control ${framework}, ${kind}: ${lines.length} lines, ${targets.length} of ${all.length} distinct targets; ` +
          `${count} reach the application, ${run.seen.length - 1} get the secret`,
      );
      expect(run.seen).toContain('/secret/flag');
      expect(count).toBeGreaterThan(targets.length / 10);
      if (isLong) expect(run.seen.length).toBeGreaterThan(1);
    });

    it.each(Object.keys(policies))('never reach the secret behind %s', { timeout }, async (name) => {
      const house = await createHouse('');
      mkdirSync(join(house.directory, 'enmesh'));
      await house.write('enmesh/mesh.yaml', `pathNormalization: {normalization: ${normalizations[kind]}}\n`);
      await house.write('policies.yaml', policies[name] ?? '');
      const guarded = await site(kind, house.mesh);
      const run = await requestAll(guarded.port, targets);
      const open = await requestAll(guarded.port, ['/public/page', '/secret/flag']);
      const { count } = guarded.reached;
      await guarded.close();
      await house.close();
      const statuses = [...run.statuses].sort(([a], [b]) => a - b).map(([status, times]) => `${times} x ${status}`);
      console.log(`traversal ${framework}, ${kind}, ${name}: ${count} reach the application; ${statuses.join(', ')}`);
      expect(run.seen).toEqual([]);
      expect(run.statuses.get(0)).toBeUndefined();
      expect([...open.statuses.keys()].sort()).toEqual([200, 403]);
      expect(open.seen).toEqual([]);
    });
  });
});

describe('the marker', () => {
  it('is no part of any target', () => expect(traversalTargets(['../{FILE}']).join()).not.toContain(marker));
});
