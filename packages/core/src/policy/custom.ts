import type { RequestAttributes } from '../request/attributes.js';
import type { ExtensionProvider } from './provider.js';
import type { AuthorizationPolicy } from './resource.js';
import { compileRuleList, firstMatch, type CompiledRule, type IndexedRules } from './rule-list.js';

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

/** The rules of all CUSTOM policies of one workload, by Istio's order of rule ids; undefined where no such policy selects it. */
export type CustomSet = (IndexedRules & { readonly matchOf: (rule: CompiledRule) => CustomMatch }) | undefined;

/** What CUSTOM policies are compiled against: the trust domains, and the providers that MeshConfig names. */
export interface CustomContext {
  readonly bundle: readonly string[];
  readonly providers: readonly ExtensionProvider[];
}

/**
 * Compiles the CUSTOM policies that select a workload. As in Istio, a provider that MeshConfig does not name, or more than one provider on the
 * workload, makes every match a denial. A provider is found by its exact name.
 */
export function* compileCustom(
  policies: readonly AuthorizationPolicy[],
  { bundle, providers }: CustomContext,
): Generator<void, CustomSet> {
  if (policies.length === 0) return undefined;
  const named = new Map(policies.map(({ meta, spec }) => [`${meta.namespace}/${meta.name}`, spec.provider?.name ?? '']));
  const areSeveral = new Set(named.values()).size > 1;
  const made = new Map<CompiledRule, CustomMatch>();
  const list = yield* compileRuleList(policies, { action: 'deny', isDryRun: false }, bundle);
  return {
    ...list,
    matchOf(rule) {
      let match = made.get(rule);
      if (match === undefined) made.set(rule, (match = createMatch(rule, named.get(rule.policy) ?? '', providers, areSeveral)));
      return match;
    },
  };
}

function createMatch(
  { policy, rule, id }: CompiledRule,
  provider: string,
  providers: readonly ExtensionProvider[],
  isOneOfSeveral: boolean,
): CustomMatch {
  const known = providers.find(({ name }) => name === provider);
  const fault = isOneOfSeveral ? 'several-providers' : known === undefined ? 'unknown-provider' : undefined;
  return Object.freeze({
    provider,
    settings: fault === undefined ? known : undefined,
    policy,
    rule,
    id: `istio-ext-authz-${provider}-${id}${fault === undefined ? '' : '-deny-due-to-bad-CUSTOM-action'}`,
    ...(fault !== undefined && { fault }),
  });
}

/** The first CUSTOM rule that the request matches. Synchronous, without clock; what a matcher throws is thrown on. */
export function matchCustom(set: { readonly custom?: CustomSet }, request: RequestAttributes): CustomMatch | undefined {
  const { custom } = set;
  if (custom === undefined) return undefined;
  const found = custom.rules[firstMatch(custom.rules, custom.index, request)];
  return found && custom.matchOf(found);
}
