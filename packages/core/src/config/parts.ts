/** A run of elements for one array of a value that is sent piece by piece; `path` leads to the array from the root. */
export interface Part {
  readonly path: readonly (string | number)[];
  readonly items: readonly unknown[];
}

/** A value taken to pieces: `root` lacks the elements of its heavy arrays, `parts` bring them back in this order. */
export interface Dismantled {
  readonly root: unknown;
  readonly parts: readonly Part[];
}

/**
 * Takes plain data to pieces of at most about `limit` values each: receiving a large message from a worker in one piece would stop the
 * serving thread for as long as rebuilding it takes. Only arrays are divided.
 */
export function dismantle(value: unknown, limit: number): Dismantled {
  const parts: Part[] = [];
  return { root: lighten(value, [], limit, parts), parts };
}

/** Puts one part back where {@link dismantle} took it from. Parts must come in order. */
export function restore(root: unknown, part: Part): void {
  let place = root;
  for (const step of part.path) place = (place as Record<string | number, unknown>)[step];
  (place as unknown[]).push(...part.items);
}

function lighten(value: unknown, path: readonly (string | number)[], limit: number, parts: Part[]): unknown {
  if (typeof value !== 'object' || value === null || weigh(value, limit) <= limit) return value;
  if (!Array.isArray(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [name, lighten(member, [...path, name], limit, parts)]),
    );
  }
  let items: unknown[] = [];
  let weight = 0;
  const flush = (): void => {
    if (items.length > 0) parts.push({ path, items });
    items = [];
    weight = 0;
  };
  value.forEach((item, at) => {
    const inner: Part[] = [];
    const light = lighten(item, [...path, at], limit, inner);
    const added = weigh(light, limit);
    if (weight + added > limit) flush();
    items.push(light);
    weight += added;
    if (inner.length === 0) return;
    flush();
    for (const part of inner) parts.push(part);
  });
  flush();
  return [];
}

// Counts values, and stops soon after the limit: more need not be known.
function weigh(value: unknown, limit: number): number {
  if (typeof value !== 'object' || value === null) return 1;
  let weight = 1;
  for (const member of Object.values(value)) {
    weight += weigh(member, limit - weight);
    if (weight > limit) break;
  }
  return weight;
}
