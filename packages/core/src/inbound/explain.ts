import { explainPolicies, type Explanation } from '../policy/explain.js';
import type { Refusal } from './refusal.js';

/**
 * Explains a refusal of the authorize step by the configuration that it was decided by; undefined for other steps, which explain themselves.
 * Call it while the request is being answered: attributes are read anew. `maxValues` bounds the work (see explainPolicies), all rules by default.
 * Never throws.
 */
export function explainRefusal(
  { judged }: Pick<Refusal, 'judged'>,
  o: { readonly maxValues?: number } = {},
): Explanation | undefined {
  if (judged === undefined) return undefined;
  const { workload: target, mesh, policies: set, resources } = judged.snapshot;
  return explainPolicies({ policies: resources.authorizationPolicies, target, mesh, attributes: judged.attributes, set, ...o });
}
