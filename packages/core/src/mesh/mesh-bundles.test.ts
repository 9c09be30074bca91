import { describe, expect, it } from 'vitest';
import { defaultMeshSettings, type MeshSettings } from '../config/mesh-config.js';
import type { TrustBundleSource } from '../identity/source.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createMeshBundles } from './mesh-bundles.js';

const bundlesOf = (roots: Readonly<Record<string, readonly string[]>>): TrustBundleSet =>
  new Map(Object.entries(roots).map(([trustDomain, list]) => [trustDomain, { trustDomain, roots: list }]));

/** A mesh whose identity and settings can be changed. */
function world(held: Readonly<Record<string, readonly string[]>>, first: Partial<MeshSettings> = {}) {
  let given: TrustBundleSet | undefined = bundlesOf(held);
  let mesh: MeshSettings = { ...defaultMeshSettings, ...first };
  const watchers = new Set<() => void>();
  const watch = (tell: () => void) => {
    watchers.add(tell);
    return () => void watchers.delete(tell);
  };
  const identity: TrustBundleSource = {
    current() {
      if (given === undefined) throw new Error('none');
      return given;
    },
    watch: (tell) => watch(() => given !== undefined && tell(given)),
  };
  let roots: ReadonlyMap<string, readonly string[]> = new Map();
  const fetched = { current: () => roots, watch };
  const bundles = createMeshBundles({ identity, mesh: () => mesh, watchMesh: watch, fetched });
  const tell = () => [...watchers].forEach((watcher) => watcher());
  return {
    bundles,
    watchers,
    roots: () => Object.fromEntries([...bundles.current()].map(([name, bundle]) => [name, bundle.roots])),
    identityIs: (next: Readonly<Record<string, readonly string[]>> | undefined) => {
      given = next && bundlesOf(next);
      tell();
    },
    fetchedIs: (next: Readonly<Record<string, readonly string[]>>) => {
      roots = new Map(Object.entries(next));
      tell();
    },
    meshIs: (next: Partial<MeshSettings>) => {
      mesh = { ...defaultMeshSettings, ...next };
      tell();
    },
  };
}

const ca = (trustDomain: string, ...roots: string[]) => ({ trustDomain, roots });

describe('createMeshBundles', () => {
  it("adds roots of the configuration to the mesh's own domain, and takes those of another domain alone", () => {
    const { roots } = world(
      { 'cluster.local': ['a'], 'partner.example': ['p'] },
      { caBundles: [ca('cluster.local', 'b', 'a'), ca('partner.example', 'q')] },
    );
    expect(roots()).toEqual({ 'cluster.local': ['a', 'b'], 'partner.example': ['q'] });
  });

  it("gives an alias the bundle of the mesh's domain unless it has roots of its own", () => {
    const { roots } = world(
      { 'cluster.local': ['a'], 'second.example': ['s'] },
      { trustDomainAliases: ['old.example', 'second.example'] },
    );
    expect(roots()).toEqual({ 'cluster.local': ['a'], 'old.example': ['a'], 'second.example': ['s'] });
  });

  it('gives the domain of the mesh the bundle of its alias while the identity is still of the old name', () => {
    expect(world({ 'old.example': ['o'] }, { trustDomainAliases: ['old.example'] }).roots()).toEqual({
      'old.example': ['o'],
      'cluster.local': ['o'],
    });
  });

  it('gives no bundle to a domain that is neither listed with roots nor an alias', () => {
    expect(world({ 'cluster.local': ['a'] }, { caTrustDomains: ['partner.example'] }).roots()).toEqual({
      'cluster.local': ['a'],
    });
  });

  it('adds what is fetched for a listed domain to what is written for it, and for the domain of the mesh to what its identity has', () => {
    const { roots, fetchedIs } = world(
      { 'cluster.local': ['a'] },
      {
        caBundles: [ca('partner.example', 'p')],
        caBundleUrls: [
          { url: 'https://p/', trustDomains: ['partner.example'] },
          { url: 'https://o/', trustDomains: ['cluster.local'] },
        ],
      },
    );
    expect(roots()).toEqual({ 'cluster.local': ['a'], 'partner.example': ['p'] });
    fetchedIs({ 'https://p/': ['q', 'p'], 'https://o/': ['b'] });
    expect(roots()).toEqual({ 'cluster.local': ['a', 'b'], 'partner.example': ['p', 'q'] });
  });

  it('trusts nobody of a domain whose listed roots are still to be fetched, nor what the identity has of it', () => {
    const partner = { caBundleUrls: [{ url: 'https://p/', trustDomains: ['partner.example', 'second.example'] }] };
    const { roots, bundles, fetchedIs } = world({ 'cluster.local': ['a'], 'partner.example': ['p'] }, partner);
    expect(roots()).toEqual({ 'cluster.local': ['a'] });
    const seen: TrustBundleSet[] = [];
    bundles.watch((now) => seen.push(now));
    fetchedIs({ 'https://p/': ['q'] });
    expect(roots()).toEqual({ 'cluster.local': ['a'], 'partner.example': ['q'], 'second.example': ['q'] });
    fetchedIs({ 'https://p/': [] });
    expect(roots()).toEqual({ 'cluster.local': ['a'], 'partner.example': [], 'second.example': [] });
    fetchedIs({});
    expect(roots()).toEqual({ 'cluster.local': ['a'] });
    expect(seen).toHaveLength(3);
  });

  it('stays the same object until something changes, and tells each change once', () => {
    const { bundles, identityIs, meshIs, watchers } = world(
      { 'cluster.local': ['a'] },
      { caBundles: [ca('partner.example', 'p')] },
    );
    const seen: TrustBundleSet[] = [];
    const stop = bundles.watch((now) => seen.push(now));
    const first = bundles.current();
    meshIs({ caBundles: [ca('partner.example', 'p')] });
    expect(bundles.current()).toBe(first);
    expect(seen).toEqual([]);
    meshIs({ caBundles: [ca('partner.example', 'q')] });
    identityIs({ 'cluster.local': ['b'] });
    expect(seen.map((set) => [...set.values()].map(({ roots }) => roots[0]))).toEqual([
      ['a', 'q'],
      ['b', 'q'],
    ]);
    expect(bundles.current()).toBe(seen[1]);
    stop();
    expect(watchers.size).toBe(0);
  });

  it('tells the first bundle of an identity that comes later', () => {
    const { bundles, identityIs } = world({});
    identityIs(undefined);
    const seen: TrustBundleSet[] = [];
    bundles.watch((now) => seen.push(now));
    expect(() => bundles.current()).toThrow('none');
    identityIs({ 'cluster.local': ['a'] });
    expect(seen).toHaveLength(1);
  });
});
