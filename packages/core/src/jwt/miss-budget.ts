/** How many fetches tokens with unknown keys may cause; see {@link createMissBudget}. */
export interface MissBudget {
  /** Whether a token with this unknown `kid` (empty: none) causes a fetch now (ms). Counts the fetch when it answers true. */
  allows(kid: string, now: number): boolean;
}

const step = 60_000;
const askAgainAfter = 30_000;
const maxRemembered = 10_000;
const longestRemembered = 128;

/**
 * Lets unknown keys cause at most two fetches a minute, however many come: one for a `kid` never seen before, and one kept for a `kid` that came
 * before, so that a stream of invented ones cannot keep the issuer's new key waiting. Who comes again with a `kid` that was just asked about
 * waits 30 seconds. At most 20 000 names of at most 128 characters are remembered.
 */
export function createMissBudget(): MissBudget {
  // When each was last asked about. Two halves, the older one dropped when the younger is full: bounded, and nothing to sort.
  let young = new Map<string, number>();
  let old = new Map<string, number>();
  let newcomerAt = -Infinity;
  let returnerAt = -Infinity;
  // Written so that a clock that went back counts as a step over.
  const isOver = (since: number, ms: number, now: number): boolean => now - since >= ms || now < since;
  const remember = (kid: string, askedAt: number): void => {
    if (kid.length > longestRemembered) return;
    if (young.size >= maxRemembered && !young.has(kid)) {
      old = young;
      young = new Map();
    }
    young.set(kid, askedAt);
  };
  return {
    allows(kid, now) {
      const askedAt = young.get(kid) ?? old.get(kid);
      if (askedAt !== undefined && isOver(returnerAt, step, now) && isOver(askedAt, askAgainAfter, now)) {
        returnerAt = now;
        remember(kid, now);
        return true;
      }
      if (isOver(newcomerAt, step, now) && (askedAt === undefined || isOver(askedAt, askAgainAfter, now))) {
        newcomerAt = now;
        remember(kid, now);
        return true;
      }
      if (askedAt === undefined) remember(kid, -Infinity);
      return false;
    },
  };
}
