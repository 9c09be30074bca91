import type { MeshIdentity } from '../identity/source.js';

/** Resolves when a source of the user's own holds both halves of an identity. */
export async function firstIdentity(identity: MeshIdentity): Promise<void> {
  await Promise.all([
    held(
      () => identity.svid.current(),
      (tell) => identity.svid.watch(tell),
    ),
    held(
      () => identity.bundles.current(),
      (tell) => identity.bundles.watch(tell),
    ),
  ]);
}

async function held(current: () => unknown, watch: (tell: () => void) => () => void): Promise<void> {
  await new Promise<void>((done) => {
    const stop = watch(() => {
      stop();
      done();
    });
    try {
      current();
      stop();
      done();
    } catch {
      // Not yet: the watch tells.
    }
  });
}
