import { deniedEvents, type DeniedEvent } from '../telemetry/events.js';

/** A denial as it is kept: what `enmesh:denied` told, with its time in ISO 8601. Never a token, a query or a claim. */
export type KeptDecision = DeniedEvent & { readonly time: string };

/** The last denials of this process by decision id. */
export interface DecisionRing {
  find(id: string): KeptDecision | undefined;
  close(): void;
}

/** How many near misses are worked out each second: whoever is denied often must not cost more than being denied. */
const explainedPerSecond = 50;

/** Creates the ring of the last `size` denials (1 000 by default); it listens until it is closed. */
export function createDecisionRing(o: { readonly clock: () => number; readonly size?: number }): DecisionRing {
  const { clock, size = 1000 } = o;
  const kept = new Map<string, KeptDecision>();
  let second = -1;
  let explained = 0;
  const stop = deniedEvents.subscribe((event) => {
    const now = clock();
    if (Math.floor(now / 1000) !== second) {
      second = Math.floor(now / 1000);
      explained = 0;
    }
    // Read while it is told, which is when it can be; a plain copy keeps nothing of the request.
    const near = explained++ < explainedPerSecond ? event.near : undefined;
    const { near: _, ...rest } = Object.getOwnPropertyDescriptors(event);
    const copy = Object.defineProperties({}, rest) as DeniedEvent;
    kept.set(event.id, { ...copy, ...(near && { near }), time: new Date(now).toISOString() });
    const [oldest] = kept.keys();
    if (kept.size > size && oldest !== undefined) kept.delete(oldest);
  });
  return {
    find: (id) => kept.get(id),
    close() {
      stop();
      kept.clear();
    },
  };
}
