import type { RequestAttributes } from '../request/attributes.js';
import type { RequestMatcher } from './conditions.js';
import type { ExtensionProvider } from './provider.js';
import type { AuthorizationPolicy } from './resource.js';
import { compileRule } from './rule.js';

/** Why no provider can be asked, so that what the rule matches is denied (istio-semantics 3.13). */
export type CustomFault = 'unknown-provider' | 'several-providers';

/** The rule of a CUSTOM policy that a request matched. Frozen, made once per rule. */
export interface CustomMatch {
  /** The provider's name, as the policy writes it. */
  readonly provider: string;
  /** What is known of the provider; undefined exactly when there is a `fault`. */
  readonly settings: ExtensionProvider | undefined;
  /** `namespace/name`. */
  readonly policy: string;
  readonly rule: number;
  /** Istio's id of the rule, `istio-ext-authz-<provider>-ns[..]-policy[..]-rule[..]`, with Istio's suffix where there is a `fault`. */
  readonly id: string;
  readonly fault?: CustomFault;
}

interface CustomRule {
  readonly order: string;
  readonly matches: RequestMatcher;
  readonly match: CustomMatch;
}

/** The rules of all CUSTOM policies of one workload, by Istio's order of rule ids; undefined where no such policy selects it. */
export type CustomSet = readonly CustomRule[] | undefined;

/** What CUSTOM policies are compiled against: the trust domains, and the providers that MeshConfig names. */
export interface CustomContext {
  readonly bundle: readonly string[];
  readonly providers: readonly ExtensionProvider[];
}

/**
 * Compiles the CUSTOM policies that select a workload. As in Istio, a provider that MeshConfig does not name, or more than one provider on the
 * workload, makes every match a denial. A provider is found by its exact name.
 */
export function compileCustom(policies: readonly AuthorizationPolicy[], context: CustomContext): CustomSet {
  if (policies.length === 0) return undefined;
  const names = new Set(policies.map(({ spec }) => spec.provider?.name ?? ''));
  const rules = policies.flatMap((policy) => compileRules(policy, context, names.size > 1));
  return rules.sort((a, b) => (a.order < b.order ? -1 : a.order > b.order ? 1 : 0));
}

function compileRules({ meta, spec }: AuthorizationPolicy, context: CustomContext, isOneOfSeveral: boolean): CustomRule[] {
  const provider = spec.provider?.name ?? '';
  const known = context.providers.find(({ name }) => name === provider);
  const fault = isOneOfSeveral ? 'several-providers' : known === undefined ? 'unknown-provider' : undefined;
  return (spec.rules ?? []).map((rule, index) => {
    const order = `ns[${meta.namespace}]-policy[${meta.name}]-rule[${index}]`;
    const id = `istio-ext-authz-${provider}-${order}${fault === undefined ? '' : '-deny-due-to-bad-CUSTOM-action'}`;
    const match: CustomMatch = Object.freeze({
      provider,
      settings: fault === undefined ? known : undefined,
      policy: `${meta.namespace}/${meta.name}`,
      rule: index,
      id,
      ...(fault !== undefined && { fault }),
    });
    const matches = compileRule(rule, { namespace: meta.namespace, bundle: context.bundle, refuses: true });
    return { order, matches, match };
  });
}

/** The first CUSTOM rule that the request matches. Synchronous, without clock or allocation; what a matcher throws is thrown on. */
export function matchCustom(set: { readonly custom?: CustomSet }, request: RequestAttributes): CustomMatch | undefined {
  const rules = set.custom;
  if (rules === undefined) return undefined;
  for (let index = 0; index < rules.length; index += 1) {
    const rule = rules[index] as CustomRule;
    if (rule.matches(request)) return rule.match;
  }
  return undefined;
}
