import { isSecretHeader, shownText } from '../policy/explain-text.js';
import type { PolicyCondition, PolicyRule } from '../policy/resource.js';

/** A rule in words: who, what and under which conditions; several alternatives are joined by `or`. Absent members ask for nothing. */
export interface DescribedRule {
  readonly from?: string;
  readonly to?: string;
  readonly when?: string;
}

const mostValues = 8;

/** Says a rule of an AuthorizationPolicy in words. Values that a policy compares secret headers with are left out. */
export function describeRule(rule: PolicyRule): DescribedRule {
  const from = (rule.from ?? []).map(({ source }) => fieldsOf(source));
  const to = (rule.to ?? []).map(({ operation }) => fieldsOf(operation));
  const when = (rule.when ?? []).map(conditionOf);
  return {
    ...(from.length > 0 && { from: from.join(' or ') }),
    ...(to.length > 0 && { to: to.join(' or ') }),
    ...(when.length > 0 && { when: when.join(' and ') }),
  };
}

function fieldsOf(fields: object): string {
  const said = Object.entries(fields as Record<string, readonly string[] | undefined>).map(
    ([name, values]) => `${name} ${listed(values ?? [])}`,
  );
  return said.join(' and ');
}

function conditionOf({ key, values, notValues }: PolicyCondition): string {
  const header = /^request\.headers\[(.*)\]$/.exec(key)?.[1]?.toLowerCase();
  const isSecret = header !== undefined && isSecretHeader(header);
  const say = (items: readonly string[]): string => (isSecret ? 'a value that is not shown' : listed(items));
  const parts = [
    ...((values ?? []).length > 0 ? [`is ${say(values ?? [])}`] : []),
    ...((notValues ?? []).length > 0 ? [`is not ${say(notValues ?? [])}`] : []),
  ];
  return `${shownText(key)} ${parts.join(' and ')}`;
}

function listed(values: readonly string[]): string {
  const rest = values.length > mostValues ? [`${values.length - mostValues} others`] : [];
  return [...values.slice(0, mostValues).map(shownText), ...rest].join(', ');
}
