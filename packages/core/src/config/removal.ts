import { setImmediate as nextTurn } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Resource } from '../identity/workload.js';
import type { MeshResources } from './validate.js';

/**
 * Whether a set of resources says less than the one before: a document is gone, or in one of the same kind, namespace and name a rule, a list's
 * element, a field or the end of a text is. Every prefix of a file, as a reader may find it while it is being written, says less than the whole.
 * Mesh settings have defaults in place of absent fields, so any difference in them counts. Yields to the event loop on its way.
 */
export async function removesAnything(before: MeshResources, after: MeshResources): Promise<boolean> {
  if (!isDeepStrictEqual(before.mesh, after.mesh)) return true;
  const remaining = new Map<string, Resource<unknown>>();
  for (const resource of resourcesOf(after)) remaining.set(keyOf(resource), resource);
  let compared = 0;
  for (const resource of resourcesOf(before)) {
    const other = remaining.get(keyOf(resource));
    if (other === undefined || isLess(resource, other)) return true;
    if (++compared % 100 === 0) await nextTurn();
  }
  return false;
}

/** Every document of a set, each once. */
export function* resourcesOf(resources: MeshResources): Generator<Resource<unknown>> {
  yield* resources.peerAuthentications;
  yield* resources.requestAuthentications;
  yield* resources.authorizationPolicies;
  yield* resources.tokenPropagations;
  yield* resources.registry.services;
  yield* resources.registry.serviceEntries;
  yield* resources.registry.workloadEntries;
  yield* resources.registry.destinationRules;
}

function keyOf({ meta }: Resource<unknown>): string {
  return `${meta.kind} ${meta.namespace}/${meta.name}`;
}

function isLess(before: Resource<unknown>, after: Resource<unknown>): boolean {
  return (
    !isEqualOrMore(before.spec, after.spec) ||
    !isEqualOrMore(before.meta.annotations, after.meta.annotations) ||
    !isEqualOrMore(before.meta.labels, after.meta.labels)
  );
}

// True when nothing of `before` is missing in `after`. Another value in the same place is no removal, unless it is the beginning of the old one.
function isEqualOrMore(before: unknown, after: unknown): boolean {
  if (before === undefined || before === null) return true;
  if (typeof before === 'string') return typeof after === 'string' && !(after.length < before.length && before.startsWith(after));
  if (typeof before !== 'object') return after !== undefined && after !== null;
  if (typeof after !== 'object' || after === null) return false;
  if (Array.isArray(before)) {
    return Array.isArray(after) && after.length >= before.length && before.every((item, at) => isEqualOrMore(item, after[at]));
  }
  const fields = after as Record<string, unknown>;
  return Object.entries(before).every(([name, value]) => isEqualOrMore(value, fields[name]));
}
