import { describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import { joinBundles } from './join-bundles.js';
import type { TrustBundleSource } from './source.js';
import type { TrustBundleSet } from './trust-bundle.js';

const setOf = (...entries: (readonly [trustDomain: string, root: string])[]): TrustBundleSet =>
  new Map(entries.map(([trustDomain, root]) => [trustDomain, { trustDomain, roots: [root] }]));

const createSource = (value?: TrustBundleSet) => {
  const watchers = new Set<(bundles: TrustBundleSet) => void>();
  const source: TrustBundleSource & { set(bundles: TrustBundleSet): void; watchers: typeof watchers } = {
    watchers,
    current() {
      if (value === undefined) throw new EnmeshError('ENMESH_IDENTITY_NONE', 'none');
      return value;
    },
    watch(onChange) {
      watchers.add(onChange);
      return () => void watchers.delete(onChange);
    },
    set(bundles) {
      value = bundles;
      for (const tell of watchers) tell(bundles);
    },
  };
  return source;
};

describe('joinBundles', () => {
  it('has the bundles of all, and of a trust domain those of its first source alone', () => {
    const joined = joinBundles([createSource(setOf(['a', 'own'])), createSource(setOf(['a', 'forged'], ['b', 'far']))]);
    expect(joined.current()).toEqual(setOf(['a', 'own'], ['b', 'far']));
  });

  it('is the same object until a part changes', () => {
    const far = createSource(setOf(['b', '1']));
    const joined = joinBundles([createSource(setOf(['a', '1'])), far]);
    const before = joined.current();
    expect(joined.current()).toBe(before);
    far.set(setOf(['b', '2']));
    expect(joined.current()).toEqual(setOf(['a', '1'], ['b', '2']));
  });

  it('waits for its first source and for no other', () => {
    const own = createSource();
    const far = createSource();
    const joined = joinBundles([own, far]);
    expect(() => joined.current()).toThrow(expect.objectContaining({ code: 'ENMESH_IDENTITY_NONE' }));
    own.set(setOf(['a', '1']));
    expect([...joined.current().keys()]).toEqual(['a']);
    far.set(setOf(['b', '1']));
    expect([...joined.current().keys()]).toEqual(['a', 'b']);
  });

  it('tells of a change of any part, once the first source holds something, until stopped', () => {
    const own = createSource();
    const far = createSource();
    const heard: string[][] = [];
    const stop = joinBundles([own, far]).watch((bundles) => void heard.push([...bundles.keys()]));
    far.set(setOf(['b', '1']));
    expect(heard).toEqual([]);
    own.set(setOf(['a', '1']));
    far.set(setOf(['c', '1']));
    expect(heard).toEqual([
      ['a', 'b'],
      ['a', 'c'],
    ]);
    stop();
    expect([own.watchers.size, far.watchers.size]).toEqual([0, 0]);
  });

  it('does not hide a source that fails in another way, and is not made of nothing', () => {
    const broken: TrustBundleSource = {
      current() {
        throw new TypeError('broken');
      },
      watch: () => () => {},
    };
    expect(() => joinBundles([createSource(setOf()), broken]).current()).toThrow('broken');
    expect(() => joinBundles([])).toThrow(TypeError);
  });
});
