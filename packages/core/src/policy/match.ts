import { compileAffixes } from './affix.js';

/** Whether one string value satisfies a policy field. */
export type TextMatcher = (text: string) => boolean;

/**
 * What a lone `*` asks for (istio-semantics 3.5): `some` is Istio's `.+`, which no text with a line feed satisfies; `some-line` the same but
 * for that exception, used where a doubtful match refuses; `present` takes the empty text too (headers, hosts).
 */
export type AnyMeaning = 'some' | 'some-line' | 'present';

const anyMatchers: Readonly<Record<AnyMeaning, TextMatcher>> = {
  some: (text) => text !== '' && !text.includes('\n'),
  'some-line': (text) => text !== '',
  present: () => true,
};

/** Joins the matchers of one field into their OR; an empty list matches nothing. */
export function anyText(matchers: readonly TextMatcher[]): TextMatcher {
  const [first, second] = matchers;
  if (first === undefined) return () => false;
  if (second === undefined) return first;
  if (matchers.length === 2) return (text) => first(text) || second(text);
  return (text) => {
    for (const matcher of matchers) if (matcher(text)) return true;
    return false;
  };
}

function exactMatcher(values: readonly string[]): TextMatcher {
  if (values.length === 1) {
    const only = values[0] as string;
    return (text) => text === only;
  }
  const set = new Set(values);
  return (text) => set.has(text);
}

/**
 * Compiles the values of one field, which OR, by Istio's string syntax (istio-semantics 3.5): `*` alone, then a leading `*` (suffix), then a
 * trailing `*` (prefix), else exact. Comparison is by code unit; no pattern is ever built.
 */
export function compileText(values: readonly string[], any: AnyMeaning): TextMatcher {
  const exact: string[] = [];
  const prefixes: string[] = [];
  const suffixes: string[] = [];
  const matchers: TextMatcher[] = [];
  for (const value of values) {
    if (value === '*') matchers.push(anyMatchers[any]);
    else if (value.startsWith('*')) suffixes.push(value.slice(1));
    else if (value.endsWith('*')) prefixes.push(value.slice(0, -1));
    else exact.push(value);
  }
  if (suffixes.length > 0) matchers.unshift(compileAffixes(suffixes, 'end'));
  if (prefixes.length > 0) matchers.unshift(compileAffixes(prefixes, 'start'));
  if (exact.length > 0) matchers.unshift(exactMatcher(exact));
  return anyText(matchers);
}
