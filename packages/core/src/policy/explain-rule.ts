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

/** A field that failed, before it is told: telling costs more than finding, and most rules that fail are not near. */
export interface Failure {
  readonly path: string;
  readonly name: string;
  /** The key of the field in conditions.ts; undefined for a source, operation or condition that asks for nothing. */
  readonly key: string | undefined;
  readonly values: readonly string[];
  readonly isNegative: boolean;
}

/** A request against one rule: where the rule stands and what failed so far. */
interface Trial {
  readonly request: RequestAttributes;
  readonly context: ExplainContext;
  readonly failures: Failure[];
}

type Values = readonly string[] | undefined;

/** Whether values match; undefined when they cannot be judged, which fails a rule of ALLOW, of its notValues too. */
function isMatch(
  key: string,
  values: readonly string[],
  cautious: boolean,
  { request, context }: Omit<Trial, 'failures'>,
): boolean | undefined {
  return compileField(key, values, { ...context, cautious })?.(request);
}

/** Notes the values and notValues of one field where they fail; false where there are neither. */
function tryPair(
  key: string,
  values: Values,
  notValues: Values,
  at: (isNegative: boolean) => Pick<Failure, 'path' | 'name'>,
  trial: Trial,
): boolean {
  const asks = values !== undefined && values.length > 0;
  const excludes = notValues !== undefined && notValues.length > 0;
  if (asks && isMatch(key, values, false, trial) !== true) trial.failures.push({ ...at(false), key, values, isNegative: false });
  if (excludes && isMatch(key, notValues, true, trial) !== false)
    trial.failures.push({ ...at(true), key, values: notValues, isNegative: true });
  return asks || excludes;
}

const nothingAsked = { key: undefined, values: [], isNegative: false };

/** One `source` or `operation`: its fields AND. One without any field matches nothing. */
function tryFields<Fields extends object>(
  from: Fields | undefined,
  names: readonly (readonly [keyof Fields & string, keyof Fields & string, string])[],
  path: string,
  name: string,
  { request, context }: Trial,
): readonly Failure[] {
  const trial: Trial = { request, context, failures: [] };
  let asked = false;
  for (const [positive, negative, key] of names) {
    const values = from?.[positive] as Values;
    const notValues = from?.[negative] as Values;
    if (values === undefined && notValues === undefined) continue;
    const at = (isNegative: boolean): Pick<Failure, 'path' | 'name'> => {
      const field = isNegative ? negative : positive;
      return { path: `${path}.${field}`, name: `${name}.${field}` };
    };
    asked = tryPair(key, values, notValues, at, trial) || asked;
  }
  return asked ? trial.failures : [{ path, name, ...nothingAsked }];
}

/** The alternative with the fewest failures, the first of them; none fail where there are no alternatives. */
function closest<Alternative>(
  alternatives: readonly Alternative[],
  attempt: (one: Alternative, index: number) => readonly Failure[],
): readonly Failure[] {
  let best: readonly Failure[] | undefined;
  for (let index = 0; index < alternatives.length && best?.length !== 0; index += 1) {
    const failed = attempt(alternatives[index] as Alternative, index);
    if (best === undefined || failed.length < best.length) best = failed;
  }
  return best ?? [];
}

/**
 * What keeps an ALLOW rule from matching (istio-semantics 3.4): of `from` and of `to` each the failures of the alternative that fails in the
 * fewest fields, and every condition of `when` that fails. Empty when the rule matches. `index` is the rule's place in its policy.
 */
export function findFailures(
  rule: PolicyRule,
  index: number,
  request: RequestAttributes,
  context: ExplainContext,
): readonly Failure[] {
  const trial: Trial = { request, context, failures: [] };
  const path = `spec.rules[${index}]`;
  const sources = closest(rule.from ?? [], ({ source }, at) =>
    tryFields(source, sourceFields, `${path}.from[${at}].source`, 'source', trial),
  );
  const operations = closest(rule.to ?? [], ({ operation }, at) =>
    tryFields(operation, operationFields, `${path}.to[${at}].operation`, 'operation', trial),
  );
  (rule.when ?? []).forEach(({ key, values, notValues }, position) => {
    const condition = `${path}.when[${position}]`;
    const at = (isNegative: boolean): Pick<Failure, 'path' | 'name'> => ({
      path: `${condition}.${isNegative ? 'notValues' : 'values'}`,
      name: key,
    });
    if (!tryPair(key, values, notValues, at, trial)) trial.failures.push({ path: condition, name: key, ...nothingAsked });
  });
  return [...sources, ...operations, ...trial.failures];
}

/** A value that is no pattern: written into a policy it stands for itself alone. */
const isPlain = (value: string): boolean => !/^\*|\*$|[{}]/.test(value);

/** Tells a failure to people: what was wanted, what the request has, and whether that could be written into the field. */
export function describeFailure(failure: Failure, request: RequestAttributes, context: ExplainContext): FailedField {
  const { path, name, key, values, isNegative } = failure;
  if (key === undefined) return { path, name, expected: [], actual: undefined, literal: false };
  const actual = actualOf(key, request, values);
  const shown = expectedOf(key, values);
  if (isNegative) return { path, name, expected: shown.map((value) => `not ${value}`), actual, literal: false };
  const literal = actual !== undefined && isPlain(actual) && isMatch(key, [actual], false, { request, context }) === true;
  return { path, name, expected: shown, actual, literal };
}
