import type { RequestAttributes } from '../request/attributes.js';
import { compileField, type FieldContext } from './conditions.js';
import { actualOf, expectedOf } from './explain-actual.js';
import type { PolicyRule } from './resource.js';
import { operationFields, sourceFields } from './rule.js';

/** One field of an ALLOW rule that a request does not satisfy. */
export interface FailedField {
  /** Where it stands in the document: `spec.rules[0].from[1].source.principals`, `spec.rules[0].when[2].values`. */
  readonly path: string;
  /** The same in a reader's words: `source.principals`, or the key of a `when`. */
  readonly name: string;
  /** The values that would do, or `not <value>` each where none of them may; empty for a source, operation or condition without any field. */
  readonly expected: readonly string[];
  /**
   * What the request has, escaped and at most 203 characters; undefined when it has nothing. Never a token, a claim's value that the policy
   * does not name, or more of a secret header than `present`.
   */
  readonly actual: string | undefined;
  /** Whether `actual` written into the field as it stands would satisfy it, and nothing but it. */
  readonly literal: boolean;
}

/** What values of an ALLOW rule are read against: the policy's namespace and the mesh's trust domains. */
export type ExplainContext = Omit<FieldContext, 'cautious'>;

interface Place {
  readonly request: RequestAttributes;
  readonly context: ExplainContext;
}

interface Field {
  readonly path: string;
  readonly name: string;
  readonly key: string;
  readonly values: readonly string[] | undefined;
}

/** Whether the values of a field match; what cannot be judged fails a rule of ALLOW, its notValues too. */
function isMatch(field: Field, cautious: boolean, { request, context }: Place): boolean | undefined {
  return compileField(field.key, field.values ?? [], { ...context, cautious })?.(request);
}

/** A value that is no pattern: written into a policy it stands for itself alone. */
const isPlain = (value: string): boolean => !/^\*|\*$|[{}]/.test(value);

function failedValues(field: Field, place: Place): readonly FailedField[] {
  const { path, name, key, values } = field;
  if (values === undefined || values.length === 0 || isMatch(field, false, place) === true) return [];
  const actual = actualOf(key, place.request, values);
  const literal = actual !== undefined && isPlain(actual) && isMatch({ ...field, values: [actual] }, false, place) === true;
  return [{ path, name, expected: expectedOf(key, values), actual, literal }];
}

function failedNotValues(field: Field, place: Place): readonly FailedField[] {
  const { path, name, key, values } = field;
  if (values === undefined || values.length === 0 || isMatch(field, true, place) === false) return [];
  const expected = expectedOf(key, values).map((value) => `not ${value}`);
  return [{ path, name, expected, actual: actualOf(key, place.request, values), literal: false }];
}

/** One `source` or `operation` against the request: its fields AND. One without any field matches nothing. */
function failedFields<Fields extends object>(
  from: Fields | undefined,
  names: readonly (readonly [keyof Fields & string, keyof Fields & string, string])[],
  at: { readonly path: string; readonly name: string },
  place: Place,
): readonly FailedField[] {
  let asked = false;
  const failed = names.flatMap(([positive, negative, key]) => {
    const field = (name: keyof Fields & string): Field => {
      const values = from?.[name] as readonly string[] | undefined;
      asked ||= values !== undefined && values.length > 0;
      return { path: `${at.path}.${name}`, name: `${at.name}.${name}`, key, values };
    };
    return [...failedValues(field(positive), place), ...failedNotValues(field(negative), place)];
  });
  return asked ? failed : [{ ...at, expected: [], actual: undefined, literal: false }];
}

/** The alternative with the fewest failures, the first of them; none fail where there are no alternatives. */
function closest(alternatives: readonly (readonly FailedField[])[]): readonly FailedField[] {
  let best = alternatives[0] ?? [];
  for (const failed of alternatives) if (failed.length < best.length) best = failed;
  return best;
}

function failedConditions(rule: PolicyRule, path: string, place: Place): readonly FailedField[] {
  return (rule.when ?? []).flatMap(({ key, values, notValues }, index) => {
    const at = { path: `${path}.when[${index}]`, name: key };
    if ((values ?? []).length === 0 && (notValues ?? []).length === 0)
      return [{ ...at, expected: [], actual: undefined, literal: false }];
    return [
      ...failedValues({ path: `${at.path}.values`, name: key, key, values }, place),
      ...failedNotValues({ path: `${at.path}.notValues`, name: key, key, values: notValues }, place),
    ];
  });
}

/**
 * The fields of an ALLOW rule that keep it from matching (istio-semantics 3.4): of `from` and of `to` each those of the alternative that fails
 * in the fewest, and every condition of `when` that fails. Empty when the rule matches. `index` is the rule's place in its policy.
 */
export function explainRule(
  rule: PolicyRule,
  index: number,
  request: RequestAttributes,
  context: ExplainContext,
): readonly FailedField[] {
  const place: Place = { request, context };
  const path = `spec.rules[${index}]`;
  const sources = (rule.from ?? []).map(({ source }, at) =>
    failedFields(source, sourceFields, { path: `${path}.from[${at}].source`, name: 'source' }, place),
  );
  const operations = (rule.to ?? []).map(({ operation }, at) =>
    failedFields(operation, operationFields, { path: `${path}.to[${at}].operation`, name: 'operation' }, place),
  );
  return [...closest(sources), ...closest(operations), ...failedConditions(rule, path, place)];
}
