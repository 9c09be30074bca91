import { isEnmeshError } from '../errors.js';
import type { TrustBundleSource } from './source.js';
import type { TrustBundle, TrustBundleSet } from './trust-bundle.js';

/**
 * One source of what several have, for federation: the identity's own bundles first, then those of foreign trust domains. Where two sources know the
 * same trust domain the earlier one counts alone, so no later source can add a root to it. The first source must hold something, else `current()`
 * throws `ENMESH_IDENTITY_NONE`; of the others those that hold nothing yet are left out, and their peers are not accepted until they do.
 */
export function joinBundles(sources: readonly TrustBundleSource[]): TrustBundleSource {
  if (sources.length === 0) throw new TypeError('joinBundles needs at least one source');
  let parts: readonly (TrustBundleSet | undefined)[] = [];
  let joined: TrustBundleSet | undefined;
  const current = (): TrustBundleSet => {
    const now = sources.map((source, index) => (index === 0 ? source.current() : heldBy(source)));
    // Readers compare sets by identity: the same parts must give the same set.
    if (joined === undefined || now.some((part, index) => part !== parts[index])) {
      joined = join(now);
      parts = now;
    }
    return joined;
  };
  return {
    current,
    watch(onChange) {
      const tell = (): void => {
        let bundles: TrustBundleSet;
        try {
          bundles = current();
        } catch {
          return;
        }
        onChange(bundles);
      };
      const stops = sources.map((source) => source.watch(tell));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

function heldBy(source: TrustBundleSource): TrustBundleSet | undefined {
  try {
    return source.current();
  } catch (error) {
    if (isEnmeshError(error, 'ENMESH_IDENTITY_NONE')) return undefined;
    throw error;
  }
}

function join(parts: readonly (TrustBundleSet | undefined)[]): TrustBundleSet {
  const bundles = new Map<string, TrustBundle>();
  for (const part of parts) {
    for (const [trustDomain, bundle] of part ?? []) if (!bundles.has(trustDomain)) bundles.set(trustDomain, bundle);
  }
  return bundles;
}
