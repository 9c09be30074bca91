// The identity of a process: SVIDs that it renews by itself at the driver's authority, and the bundles that the driver gives it.
import { createRotation } from '@enmesh/core/issuance';
import { parseX509Svid } from '@enmesh/core/x509';
import { answer, ask, clock } from './child.mjs';

/**
 * `everyMs` is when in its `lifeMs` an SVID is renewed; without it at half life, as everywhere.
 * @param {{serviceAccount: string, lifeMs: number, everyMs?: number}} wanted
 */
export async function createIdentity({ serviceAccount, lifeMs, everyMs }) {
  const watchers = new Set();
  let bundles = bundlesOf(await ask('bundles', { serviceAccount }));
  let rotations = 0;
  answer({
    bundles({ roots }) {
      bundles = bundlesOf(roots);
      for (const watcher of watchers) watcher(bundles);
    },
    rotations: () => rotations,
  });
  const rotation = createRotation({
    issue: async () => parseX509Svid(await ask('issue', { serviceAccount, lifeMs })),
    clock,
    ...(everyMs === undefined ? {} : { grace: { ratio: 1 - everyMs / lifeMs, jitter: 0 } }),
  });
  await rotation.ready();
  rotation.svid.watch(() => (rotations += 1));
  return {
    svid: rotation.svid,
    bundles: {
      current: () => bundles,
      watch(onChange) {
        watchers.add(onChange);
        return () => void watchers.delete(onChange);
      },
    },
    close: () => rotation.close(),
  };
}

/** What an identity holds, as Node's TLS takes it. */
export function keysOf({ svid, bundles }) {
  const { chain, privateKey } = svid.current();
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  return { key, cert: chain, ca: [...bundles.current().values()].flatMap(({ roots }) => roots) };
}

function bundlesOf(roots) {
  return new Map([['cluster.local', { trustDomain: 'cluster.local', roots }]]);
}
