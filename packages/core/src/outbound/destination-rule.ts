import type { MeshSettings } from '../config/mesh-config.js';
import type { DestinationRule, DestinationRuleSpec, Registry } from '../config/registry.js';
import { compareByCreation, isSelected, type Workload } from '../identity/workload.js';
import { clusterDomain, matchesHost } from './host-name.js';

type Subset = NonNullable<DestinationRuleSpec['subsets']>[number];

/** One or several DestinationRules of one host and namespace, merged as Istio merges them (istio-semantics 5.1). */
export interface MergedRule {
  readonly host: string;
  readonly namespace: string;
  /** `namespace/name` of the first of them. */
  readonly name: string;
  readonly trafficPolicy: DestinationRuleSpec['trafficPolicy'];
  readonly subsets: readonly Subset[];
  readonly exportTo: ReadonlySet<string>;
  readonly selector: Readonly<Record<string, string>> | undefined;
}

type RulesByHost = Map<string, MergedRule[]>;

/** DestinationRules by the namespace they stand in, as three views of each namespace. */
export interface DestinationRuleIndex {
  readonly rootNamespace: string;
  /** Rules that clients of the same namespace see. */
  readonly local: ReadonlyMap<string, RulesByHost>;
  /** Rules that other namespaces may see. */
  readonly exported: ReadonlyMap<string, RulesByHost>;
  /** The root namespace's private rules: all that its own clients see in the first step. */
  readonly rootPrivate: RulesByHost;
}

/** Compiles what {@link findDestinationRule} looks in. */
export function compileDestinationRules(
  registry: Registry,
  { rootNamespace, defaultDestinationRuleExportTo }: Pick<MeshSettings, 'rootNamespace' | 'defaultDestinationRuleExportTo'>,
): DestinationRuleIndex {
  const local = new Map<string, RulesByHost>();
  const exported = new Map<string, RulesByHost>();
  const rootPrivate: RulesByHost = new Map();
  for (const rule of [...registry.destinationRules].sort(compareRules)) {
    const compiled = compileRule(rule);
    const { exportTo, namespace } = compiled;
    const isLocal = exportTo.size === 0 || exportTo.has('*') || exportTo.has('.') || exportTo.has(namespace);
    const isPrivate =
      exportTo.size === 0
        ? defaultDestinationRuleExportTo.includes('.')
        : exportTo.size === 1 && (exportTo.has('.') || exportTo.has(namespace));
    if (isLocal) addRule(rulesOf(local, namespace), compiled);
    if (!isPrivate) addRule(rulesOf(exported, namespace), compiled);
    else if (namespace === rootNamespace) addRule(rootPrivate, compiled);
  }
  return { rootNamespace, local, exported, rootPrivate };
}

function compareRules(a: DestinationRule, b: DestinationRule): number {
  return Number(b.spec.workloadSelector !== undefined) - Number(a.spec.workloadSelector !== undefined) || compareByCreation(a, b);
}

function compileRule({ meta, spec }: DestinationRule): MergedRule {
  const host = spec.host.toLowerCase();
  const isShort = host !== '*' && !host.includes('.');
  const selector = spec.workloadSelector;
  return {
    host: isShort ? `${host}.${meta.namespace}.svc.${clusterDomain}` : host,
    namespace: meta.namespace,
    name: `${meta.namespace}/${meta.name}`,
    trafficPolicy: spec.trafficPolicy,
    subsets: withoutRepeats(spec.subsets ?? []),
    exportTo: new Set(selector === undefined ? spec.exportTo : ['.']),
    selector: selector === undefined ? undefined : (selector.matchLabels ?? {}),
  };
}

function withoutRepeats(subsets: readonly Subset[]): Subset[] {
  return subsets.filter((subset, i) => subsets.findIndex((other) => other.name === subset.name) === i);
}

function rulesOf(map: Map<string, RulesByHost>, namespace: string): RulesByHost {
  let rules = map.get(namespace);
  if (rules === undefined) map.set(namespace, (rules = new Map()));
  return rules;
}

/**
 * Istio's merge: into every earlier rule that is seen by the same namespaces, or by fewer of them. Quirks included: a private rule beside a
 * workloadSelector rule vanishes into that one, and what is exported more widely vanishes into an earlier rule for the same workloads.
 */
function addRule(rules: RulesByHost, rule: MergedRule): void {
  const list = rules.get(rule.host);
  if (list === undefined) {
    rules.set(rule.host, [rule]);
    return;
  }
  let apart = true;
  list.forEach((existing, i) => {
    const same = isSameSet(existing.exportTo, rule.exportTo);
    const isWider = existing.exportTo.size > 0 && [...existing.exportTo].every((name) => rule.exportTo.has(name));
    const sameWorkloads = isSameSelector(existing.selector, rule.selector);
    const otherWorkloads = existing.selector !== undefined && rule.selector !== undefined && !sameWorkloads;
    if (otherWorkloads || (!same && !isWider)) {
      apart = true;
      return;
    }
    apart = !same && !sameWorkloads;
    list[i] = mergeRules(existing, rule);
  });
  if (apart) list.push(rule);
}

function mergeRules(first: MergedRule, second: MergedRule): MergedRule {
  return {
    ...first,
    trafficPolicy: first.trafficPolicy ?? second.trafficPolicy,
    subsets: withoutRepeats([...first.subsets, ...second.subsets]),
  };
}

function isSameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((value) => b.has(value));
}

function isSameSelector(a: MergedRule['selector'], b: MergedRule['selector']): boolean {
  return a === undefined || b === undefined ? a === b : isSameMap(a, b);
}

function isSameMap(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/**
 * The rule that applies when `client` calls `service`: looked for in the client's namespace, then the service's, then the root's. The most
 * specific host of a namespace decides alone, and ends the search even when it is for other workloads (istio-semantics 5.1).
 */
export function findDestinationRule(
  index: DestinationRuleIndex,
  client: Workload,
  service: { readonly host: string; readonly namespace: string },
): MergedRule | undefined {
  const own = client.namespace === index.rootNamespace ? index.rootPrivate : index.local.get(client.namespace);
  const rules =
    mostSpecific(own, service.host) ??
    exportedTo(index, service.namespace, service.host, client.namespace) ??
    exportedTo(index, index.rootNamespace, service.host, client.namespace);
  return rules === undefined ? undefined : ruleFor(rules, client);
}

function exportedTo(
  index: DestinationRuleIndex,
  owner: string,
  host: string,
  namespace: string,
): readonly MergedRule[] | undefined {
  const rules = mostSpecific(index.exported.get(owner), host)?.filter(
    ({ exportTo }) => exportTo.size === 0 || exportTo.has('*') || exportTo.has(namespace),
  );
  return rules === undefined || rules.length === 0 ? undefined : rules;
}

function mostSpecific(rules: RulesByHost | undefined, host: string): readonly MergedRule[] | undefined {
  if (rules === undefined) return undefined;
  const exact = rules.get(host);
  if (exact !== undefined) return exact;
  let best: string | undefined;
  for (const pattern of rules.keys()) {
    if (!pattern.startsWith('*') || !matchesHost(pattern, host)) continue;
    if (best === undefined || pattern.length > best.length) best = pattern;
  }
  return best === undefined ? undefined : rules.get(best);
}

/** The rule whose workloadSelector fits the client in its own namespace, else the last one for everybody. */
function ruleFor(rules: readonly MergedRule[], client: Workload): MergedRule | undefined {
  let forAll: MergedRule | undefined;
  for (const rule of rules) {
    if (rule.selector === undefined) forAll = rule;
    else if (rule.namespace === client.namespace && isSelected({ matchLabels: rule.selector }, client.labels)) return rule;
  }
  return forAll;
}
