/** What is remembered of endpoints that did not answer, by all clients of a mesh together. Ends nothing and excludes nobody: it says who is tried last. */
export interface Outliers {
  /** Whether the endpoint failed so lately that others are tried before it. */
  isAvoided(endpoint: string): boolean;
  /** A connection was refused, timed out or broke before it stood. */
  failed(endpoint: string): void;
  /** A connection stands: all that was held against the endpoint is forgotten. */
  answered(endpoint: string): void;
}

const firstAvoidMs = 5_000;
const longestAvoidMs = 120_000;

/** More endpoints than fail at once; beyond it the one that failed longest ago is forgotten. */
const mostEndpoints = 1024;

/**
 * Creates the memory. An endpoint is avoided for 5 seconds after its first failure and twice as long after each that follows, 2 minutes at most.
 * `clock` counts milliseconds and must not jump; by default the process' own.
 */
export function createOutliers(clock: () => number = () => performance.now()): Outliers {
  const failures = new Map<string, { readonly count: number; readonly until: number }>();
  return {
    isAvoided: (endpoint) => clock() < (failures.get(endpoint)?.until ?? -Infinity),
    failed(endpoint) {
      const now = clock();
      const known = failures.get(endpoint);
      // Attempts that were under way together fail together: they are one failure.
      if (known !== undefined && now < known.until) return;
      const count = (known?.count ?? 0) + 1;
      failures.delete(endpoint);
      failures.set(endpoint, { count, until: now + Math.min(longestAvoidMs, firstAvoidMs * 2 ** (count - 1)) });
      if (failures.size > mostEndpoints) for (const oldest of [...failures.keys()].slice(0, 1)) failures.delete(oldest);
    },
    answered: (endpoint) => void failures.delete(endpoint),
  };
}
