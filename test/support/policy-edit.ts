import type { FailedField, NearMiss } from '../../packages/core/src/policy/explain.js';
import type { AuthorizationPolicy, PolicyRule } from '../../packages/core/src/policy/resource.js';

type Open = Record<string, unknown[] | undefined>;

/** Applies what a near miss says: each failing field gets the actual value where it can stand there, else the condition goes. */
export function editByNearMiss(all: readonly AuthorizationPolicy[], miss: NearMiss): AuthorizationPolicy[] {
  const edited = structuredClone(all) as AuthorizationPolicy[];
  const found = edited.find(({ meta }) => `${meta.namespace}/${meta.name}` === miss.policy);
  const changed = found?.spec.rules?.[miss.rule];
  if (changed === undefined) throw new Error(`no rule ${miss.rule} of ${miss.policy}`);
  for (const failed of miss.failed) editField(changed, miss.rule, failed);
  tidy(changed as unknown as Open);
  return edited;
}

function editField(changed: PolicyRule, index: number, { path, actual, literal }: FailedField): void {
  const prefix = `spec.rules[${index}].`;
  if (!path.startsWith(prefix)) throw new Error(`${path} is not in rule ${index}`);
  const steps = path.slice(prefix.length).split(/[.[\]]+/);
  const last = steps.pop() as string;
  const holder = steps.reduce((at, step) => (at as Record<string, unknown>)[step], changed as unknown) as Open;
  if (!Array.isArray(holder[last])) throw new Error(`there are no values at ${path}`);
  if (literal && actual !== undefined) holder[last] = [actual];
  else delete holder[last];
}

/** A list whose entry asks for nothing any more asks for nothing. */
function tidy(changed: Open): void {
  const isEmpty = (entry: unknown): boolean => Object.keys((Object.values(entry as object) as object[])[0] ?? {}).length === 0;
  for (const list of ['from', 'to']) if (changed[list]?.some(isEmpty) === true) delete changed[list];
  changed['when'] = changed['when']?.filter(
    (entry) => Object.values(entry as object).filter((value) => value !== undefined).length > 1,
  );
}
