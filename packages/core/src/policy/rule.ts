import { compileField, type FieldContext, type RequestMatcher } from './conditions.js';
import type { PolicyOperation, PolicyRule, PolicySource } from './resource.js';

/** What a rule is compiled for. `refuses` is true where a match refuses: DENY, and AUDIT and CUSTOM likewise. */
export interface RuleContext extends Omit<FieldContext, 'cautious'> {
  readonly refuses: boolean;
}

/** The fields of `source`: positive and negative name of each beside the key it shares with `when`. */
export const sourceFields: readonly (readonly [keyof PolicySource, keyof PolicySource, string])[] = [
  ['principals', 'notPrincipals', 'source.principal'],
  ['namespaces', 'notNamespaces', 'source.namespace'],
  ['serviceAccounts', 'notServiceAccounts', 'source.serviceAccount'],
  ['trustDomains', 'notTrustDomains', 'source.trustDomain'],
  ['requestPrincipals', 'notRequestPrincipals', 'request.auth.principal'],
  ['ipBlocks', 'notIpBlocks', 'source.ip'],
  ['remoteIpBlocks', 'notRemoteIpBlocks', 'remote.ip'],
];

/** The fields of `operation`, likewise. */
export const operationFields: readonly (readonly [keyof PolicyOperation, keyof PolicyOperation, string])[] = [
  ['ports', 'notPorts', 'destination.port'],
  ['methods', 'notMethods', 'operation.method'],
  ['hosts', 'notHosts', 'operation.host'],
  ['paths', 'notPaths', 'operation.path'],
];

const always: RequestMatcher = () => true;
const never: RequestMatcher = () => false;

/** All must match; an empty list matches everything. */
function allOf(matchers: readonly RequestMatcher[]): RequestMatcher {
  const [first, second, third] = matchers;
  if (first === undefined) return always;
  if (second === undefined) return first;
  if (third === undefined) return (request) => first(request) && second(request);
  if (matchers.length === 3) return (request) => first(request) && second(request) && third(request);
  return (request) => {
    for (const matcher of matchers) if (!matcher(request)) return false;
    return true;
  };
}

/** One must match; an empty list matches nothing. */
function oneOf(matchers: readonly RequestMatcher[]): RequestMatcher {
  const [first, second] = matchers;
  if (first === undefined) return never;
  if (second === undefined) return first;
  return (request) => {
    for (const matcher of matchers) if (matcher(request)) return true;
    return false;
  };
}

/**
 * Adds the matchers of one field, for its values and its notValues. A field that cannot be judged makes a rule of ALLOW match nothing and falls
 * away from a rule that refuses (Istio's own principle, istio-semantics 3.11): what is unsure denies.
 */
function addPair(
  matchers: RequestMatcher[],
  key: string,
  values: readonly string[] | undefined,
  notValues: readonly string[] | undefined,
  context: RuleContext,
): void {
  const unsure = context.refuses ? always : never;
  if (values !== undefined && values.length > 0) {
    matchers.push(compileField(key, values, { ...context, cautious: context.refuses }) ?? unsure);
  }
  if (notValues !== undefined && notValues.length > 0) {
    const matches = compileField(key, notValues, { ...context, cautious: !context.refuses });
    matchers.push(matches === undefined ? unsure : (request) => !matches(request));
  }
}

type Values = readonly string[] | undefined;

/** One `source` or `operation`: its fields AND. One without any field is refused at load; here it is unsure. */
function compileFields<Fields extends PolicySource | PolicyOperation>(
  from: Fields | undefined,
  names: readonly (readonly [keyof Fields, keyof Fields, string])[],
  context: RuleContext,
): RequestMatcher {
  const matchers: RequestMatcher[] = [];
  if (from !== undefined) {
    for (const [positive, negative, key] of names) {
      addPair(matchers, key, from[positive] as Values, from[negative] as Values, context);
    }
  }
  if (matchers.length === 0) return context.refuses ? always : never;
  return allOf(matchers);
}

/**
 * Compiles one rule (istio-semantics 3.4): one of `from` and one of `to` must match, and every condition of `when`. Absent and empty lists
 * ask for nothing, so `{}` matches every request. An absent attribute fails positive values and satisfies negative ones.
 */
export function compileRule(rule: PolicyRule, context: RuleContext): RequestMatcher {
  const matchers: RequestMatcher[] = [];
  if (rule.to !== undefined && rule.to.length > 0) {
    matchers.push(oneOf(rule.to.map(({ operation }) => compileFields(operation, operationFields, context))));
  }
  if (rule.from !== undefined && rule.from.length > 0) {
    matchers.push(oneOf(rule.from.map(({ source }) => compileFields(source, sourceFields, context))));
  }
  for (const { key, values, notValues } of rule.when ?? []) {
    const condition: RequestMatcher[] = [];
    addPair(condition, key, values, notValues, context);
    matchers.push(condition.length === 0 ? (context.refuses ? always : never) : allOf(condition));
  }
  return allOf(matchers);
}
