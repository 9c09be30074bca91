import {
  createRotation,
  createSeldom,
  noticeEvents,
  unrefTimer,
  type IdentityRequest,
  type IstioIdentitySettings,
  type PlatformIdentity,
  type Rotation,
  type Timer,
  type X509Svid,
} from '@enmesh/core/issuance';
import { createAuthority } from './authority.js';
import { passedOver, readIstioSettings } from './settings.js';
import { createTrust } from './trust.js';

/** What tests put in the place of chance and time. */
export interface IstioIdentityWorld {
  /** From 0 to below 1; default `Math.random`. */
  readonly random?: () => number;
  /** Default `setTimeout`, unref'ed. */
  readonly timer?: Timer;
  /** How long one call may take; default 5 000. */
  readonly callTimeoutMs?: number;
}

/**
 * Gets the workload's identity `spiffe://<trust domain>/ns/<namespace>/sa/<service account>` from istiod, istio-csr or `@enmesh/ca` over Istio's
 * CreateCertificate, and keeps it fresh: a new key for each certificate, which never leaves the process. Settings of code win over the environment of
 * Istio's agent (`CA_ADDR`, `SECRET_TTL`, `ECC_SIGNATURE_ALGORITHM`, ...).
 * Resolves before the first certificate is there: `ready()` waits for it. Rejects with `ENMESH_ISSUANCE_SETTINGS_INVALID` for settings that can never
 * work; whatever happens later is told by the notices `identity-rotated`, `identity-renewal-failed`, `identity-expiring` and `identity-doubtful`,
 * and the last good SVID stays while it lives.
 */
export async function createIstioIdentity(options: IstioIdentitySettings & IdentityRequest): Promise<PlatformIdentity> {
  return openIstioIdentity(options, {});
}

/** {@link createIstioIdentity} with chance and time given. */
export function openIstioIdentity(
  options: IstioIdentitySettings & IdentityRequest,
  { random = Math.random, timer = unrefTimer, callTimeoutMs }: IstioIdentityWorld,
): PlatformIdentity {
  const { clock = Date.now, env = process.env } = options;
  const settings = readIstioSettings(options);
  const description = `Istio's CA at ${settings.host}:${settings.port}`;
  const warn = createWarner(clock);
  for (const sentence of passedOver(env)) warn(sentence);
  const ended = new AbortController();
  const trust = createTrust({ settings, timer, warn });
  const held = (): X509Svid | undefined => heldBy(rotation);
  let last: X509Svid | undefined;
  const hasEnded = (): X509Svid | undefined => (last !== undefined && clock() >= last.notAfter ? last : undefined);
  const roots = (): Promise<string | undefined> => trust.caRoots();
  const request = createAuthority({
    ...{ settings, roots, held, ended: hasEnded, clock, random, timer, callTimeoutMs },
    ...{ signal: ended.signal, warn },
  });
  const rotation = createRotation({
    // Peers have to be known by the new roots before anyone shows them the new SVID.
    issue: async () => {
      const { svid, roots } = await request();
      trust.answered(roots);
      last = svid;
      return svid;
    },
    clock,
    random,
    timer,
    grace: settings.grace,
  });
  return {
    svid: rotation.svid,
    bundles: trust.bundles,
    description,
    ready: () => rotation.ready(),
    close() {
      ended.abort();
      last = undefined;
      rotation.close();
      trust.close();
    },
  };
}

function heldBy(rotation: Rotation): X509Svid | undefined {
  try {
    return rotation.svid.current();
  } catch {
    return undefined;
  }
}

/** Tells each thing at most once an hour: an attempt a minute shall not fill a log. */
function createWarner(clock: () => number): (message: string) => void {
  const seldom = createSeldom({ firstMs: 3_600_000 });
  return (message) => {
    if (seldom.isDue(message, clock()) && noticeEvents.hasSubscribers)
      noticeEvents.publish({ kind: 'identity-doubtful', level: 'warn', message });
  };
}
