import type { SourceDocument } from './document.js';
import { optional, selectorOf, type Draft } from './draft.js';
import { readFields, RefusedError, type Fields } from './fields.js';
import { convertRoleRule, roleRuleFields, type ConvertedRule } from './rbac-rule.js';
import { isPermissive, type RbacScope } from './rbac-scope.js';
import { convertSubject, subjectFields, type ConvertedSubject } from './rbac-subject.js';
import { isSame } from './document.js';
import type { Labels, Services } from './services.js';

const bindingFields = ['subjects', 'roleRef', 'role', 'actions', 'mode'];

/** What {@link convertRoleBinding} needs to know beside the binding. */
export interface RoleContext {
  readonly roles: readonly SourceDocument[];
  readonly services: Services;
  readonly scope: RbacScope;
  /** The refusal of a binding that had no effect. */
  readonly unenforced: () => RefusedError;
}

/** One `ServiceRoleBinding` with its `ServiceRole` (rbac.istio.io/v1alpha1) as ALLOW policies, one for each set of workloads. */
export function convertRoleBinding(source: SourceDocument, context: RoleContext): Draft[] {
  const binding = readFields(source.spec, 'spec', bindingFields);
  const dryRun = isPermissive(binding, 'mode') || context.scope.dryRun;
  const subjects = binding.each('subjects', subjectFields).map((subject) => convertSubject(subject));
  if (subjects.length === 0) throw new RefusedError('spec.subjects', 'it is bound to nobody');
  const rules = ruleFields(binding, source, context.roles).map((rule) =>
    convertRoleRule(rule, source.namespace, context.services),
  );
  const groups = groupByWorkloads(rules, source.namespace, context);
  if (groups.length === 0) throw context.unenforced();
  const subjectNotes = subjects.flatMap((subject) => subject.notes);
  return groups.map((group, index) => ({
    kind: 'AuthorizationPolicy',
    namespace: source.namespace,
    name: groups.length === 1 ? source.name : `${source.name}-${group.suffix === '' ? index : group.suffix}`,
    dryRun,
    spec: { ...selectorOf(group.labels), action: 'ALLOW', rules: group.rules.flatMap((rule) => rulesOf(rule, subjects)) },
    notes: [...new Set([...group.notes, ...subjectNotes])],
  }));
}

function ruleFields(binding: Fields, source: SourceDocument, roles: readonly SourceDocument[]): readonly Fields[] {
  const inline = binding.each('actions', roleRuleFields);
  if (inline.length > 0) return inline;
  const reference = binding.map('roleRef', ['kind', 'name', 'apiGroup']);
  const name = binding.text('role') ?? reference?.text('name');
  const role = roles.find((one) => one.name === name && one.namespace === source.namespace);
  if (role === undefined) {
    throw new RefusedError('spec.roleRef', 'the ServiceRole of this name and namespace is not among the documents');
  }
  const rules = readFields(role.spec, 'spec', ['rules']).each('rules', roleRuleFields);
  if (rules.length === 0) throw new RefusedError('spec.roleRef', 'its ServiceRole has no rules, so it opened nothing');
  return rules;
}

interface WorkloadGroup {
  readonly suffix: string;
  readonly labels: Labels | undefined;
  readonly notes: readonly string[];
  readonly rules: ConvertedRule[];
}

function groupByWorkloads(rules: readonly ConvertedRule[], namespace: string, context: RoleContext): readonly WorkloadGroup[] {
  const groups: WorkloadGroup[] = [];
  for (const rule of rules) {
    for (const group of workloadsOf(rule, namespace, context)) {
      const known = groups.find((one) => isSame(one.labels, group.labels));
      if (known === undefined) groups.push({ ...group, rules: [rule] });
      else known.rules.push(rule);
    }
  }
  return groups;
}

/** The sets of workloads of one rule: its services as far as roles had an effect on them, each with the labels that the rule asks for. */
function workloadsOf(
  rule: ConvertedRule,
  namespace: string,
  { services, scope }: RoleContext,
): readonly Omit<WorkloadGroup, 'rules'>[] {
  const reach = (rule.services ?? [undefined]).flatMap((service): readonly (string | undefined)[] => {
    const enforced = scope.enforced(namespace, service);
    if (enforced === 'all') return [service];
    return enforced === 'none' ? [] : enforced;
  });
  return reach.flatMap((service) => {
    const target = service === undefined ? undefined : services.target(namespace, service);
    return rule.labels.map((extra) => {
      const labels = { ...target?.labels, ...extra };
      const suffix = [...(service === undefined ? [] : [service]), ...Object.values(extra)].join('-');
      return {
        suffix: suffix.toLowerCase().replace(/[^a-z0-9-]+/g, '-'),
        labels: Object.keys(labels).length === 0 ? undefined : labels,
        notes: target?.note === undefined ? [] : [target.note],
      };
    });
  });
}

/** Rules of today for one legacy rule: subjects without conditions of their own share one, since `when` holds for a whole rule. */
function rulesOf(rule: ConvertedRule, subjects: readonly ConvertedSubject[]): readonly Record<string, unknown>[] {
  const to = rule.operation === undefined ? undefined : [{ operation: rule.operation }];
  const build = (from: readonly unknown[] | undefined, when: readonly unknown[]): Record<string, unknown> => ({
    ...optional('from', from),
    ...optional('to', to),
    ...optional('when', when.length === 0 ? undefined : when),
  });
  const plain = subjects.filter((subject) => subject.when.length === 0);
  const isOpen = plain.some((subject) => subject.source === undefined);
  const shared = plain.length === 0 ? [] : [build(isOpen ? undefined : plain.map(({ source }) => ({ source })), rule.when)];
  const conditional = subjects
    .filter((subject) => subject.when.length > 0)
    .map((subject) => build(subject.source && [{ source: subject.source }], [...rule.when, ...subject.when]));
  return [...shared, ...conditional];
}
