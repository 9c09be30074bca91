import { optional } from './draft.js';
import { RefusedError, type Fields } from './fields.js';
import type { Labels, Services } from './services.js';

/** Fields of one rule of a ServiceRole, from 1.0 to 1.3. */
export const roleRuleFields = [
  ...['services', 'paths', 'notPaths', 'methods', 'notMethods', 'hosts', 'notHosts', 'ports', 'notPorts', 'constraints'],
];

/** What one legacy rule opens: an operation (undefined: everything) under conditions, on some services. */
export interface ConvertedRule {
  /** Names of services in the role's namespace; undefined for all of them. */
  readonly services: readonly string[] | undefined;
  readonly operation: Readonly<Record<string, readonly string[]>> | undefined;
  readonly when: readonly Readonly<Record<string, unknown>>[];
  /** Labels that the workloads must have beside those of the service, one set for each policy. */
  readonly labels: readonly Labels[];
}

/** One rule of a ServiceRole in `namespace`. */
export function convertRoleRule(rule: Fields, namespace: string, services: Services): ConvertedRule {
  const operation: Record<string, readonly string[]> = {};
  for (const name of ['paths', 'notPaths', 'methods', 'notMethods', 'hosts', 'notHosts', 'ports', 'notPorts']) {
    const values = rule.texts(name);
    if (values === undefined || (!name.startsWith('not') && values.includes('*'))) continue;
    const odd = values.findIndex((value) => /[{}]/.test(value));
    if (odd !== -1)
      throw new RefusedError(`${rule.path}.${name}[${odd}]`, 'the text holds { or }, which today would be a template');
    operation[name] = values;
  }
  const constraints = rule.each('constraints', ['key', 'values', 'value']).map((one) => ({ one, key: one.text('key') ?? '' }));
  const isLabel = ({ key }: { key: string }): boolean => key.startsWith('destination.labels[');
  return {
    services: servicesOf(rule, namespace, services),
    operation: Object.keys(operation).length === 0 ? undefined : operation,
    when: constraints.filter((constraint) => !isLabel(constraint)).flatMap(({ one, key }) => conditionOf(one, key, namespace)),
    labels: constraints.filter(isLabel).reduce<readonly Labels[]>(labelled, [{}]),
  };
}

function servicesOf(rule: Fields, namespace: string, services: Services): readonly string[] | undefined {
  const patterns = rule.texts('services');
  if (patterns === undefined) {
    throw new RefusedError(`${rule.path}.services`, 'a rule names its services; ["*"] is all of the namespace');
  }
  const names: string[] = [];
  for (const [index, pattern] of patterns.entries()) {
    if (pattern === '*' || pattern === `*.${namespace}.svc.cluster.local` || pattern === `*.${namespace}`) return undefined;
    const path = `${rule.path}.services[${index}]`;
    const found = pattern.includes('*') ? services.matching(namespace, pattern) : [nameOf(pattern, namespace, path)];
    if (found.length === 0)
      throw new RefusedError(path, 'a selector has no wildcards; give the Services that it stands for as well');
    names.push(...found);
  }
  return [...new Set(names)];
}

function nameOf(host: string, namespace: string, path: string): string {
  const [name, own, ...rest] = host.split('.');
  const isOwn = own === undefined || (own === namespace && (rest.length === 0 || rest[0] === 'svc'));
  if (name !== undefined && name !== '' && isOwn) return name;
  throw new RefusedError(path, 'a role holds for services of its own namespace only; this one opened nothing');
}

function valuesOf(constraint: Fields): readonly string[] {
  const single = constraint.text('value');
  const values = [...(constraint.texts('values') ?? []), ...(single === undefined ? [] : [single])];
  if (values.length === 0) throw new RefusedError(constraint.path, 'a constraint without values was never fulfilled');
  return values;
}

function conditionOf(constraint: Fields, key: string, namespace: string): Record<string, unknown>[] {
  const values = valuesOf(constraint);
  if (key === 'destination.namespace') {
    if (values.includes(namespace) || values.includes('*')) return [];
    throw new RefusedError(`${constraint.path}.values`, 'a role holds in its own namespace only; this rule opened nothing');
  }
  const isKnown = /^(destination\.(ip|port)|request\.headers\[[^\]]+\]|experimental\.envoy\.filters\..+)$/.test(key);
  if (!isKnown) throw new RefusedError(`${constraint.path}.key`, 'this constraint has no successor');
  return [{ key, ...optional('values', values) }];
}

// Labels of the destination are the selector of a policy, and a selector has one value for each label: several values are several policies.
function labelled(sets: readonly Labels[], { one, key }: { one: Fields; key: string }): readonly Labels[] {
  const label = /^destination\.labels\[([^\]]+)\]$/.exec(key)?.[1];
  if (label === undefined) throw new RefusedError(`${one.path}.key`, 'write destination.labels[name]');
  return valuesOf(one).flatMap((value) => {
    if (value.includes('*')) throw new RefusedError(`${one.path}.values`, 'a selector has no wildcards');
    return sets.map((set) => ({ ...set, [label]: value }));
  });
}
