import type { SvidSource } from '../identity/source.js';

/** The part of an SVID's life below which a service that was not given a new one no longer calls itself ready. */
const leastRest = 0.1;

/**
 * Whether the identity is good for more than the next moments: an SVID is held and has a tenth of its life left or more. Sources renew at half of it, so what
 * comes nearer to the end has not been renewed for long. `now` is milliseconds since the epoch.
 */
export function isIdentityHealthy(svid: SvidSource, now: number): boolean {
  try {
    const { notBefore, notAfter } = svid.current();
    return notAfter - now >= leastRest * (notAfter - notBefore);
  } catch {
    return false;
  }
}

/** Whether a mesh takes requests that it can serve, for probes and metrics. */
export interface Readiness {
  isReady(): boolean;
  /** All that was awaited at the start is there. */
  begin(): void;
  /** Closing has begun. */
  end(): void;
}

/**
 * Creates the readiness of a mesh, false at first. Renewal that fails changes nothing until the end of the SVID is near: there is time to mend it, and all
 * replicas would leave their load balancer at once.
 */
export function createReadiness(svid: SvidSource, clock: () => number): Readiness {
  let isOpen = false;
  return {
    isReady: () => isOpen && isIdentityHealthy(svid, clock()),
    begin: () => void (isOpen = true),
    end: () => void (isOpen = false),
  };
}
