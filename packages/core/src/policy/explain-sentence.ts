import type { Explanation, FailedField, NearMiss } from './explain.js';
import { shownText } from './explain-text.js';

const maxFields = 3;
const maxValues = 3;

/**
 * One near miss as one short sentence: `shop/product-callers rule 0: source.principals is cluster.local/ns/shop/sa/visitor, wants
 * cluster.local/ns/shop/sa/gateway`. At most three fields and three values of each; as safe to log as the explanation itself.
 */
export function formatNearMiss({ policy, rule, failed }: NearMiss): string {
  const fields = failed.slice(0, maxFields).map(formatField);
  const rest = failed.length > maxFields ? `; and ${failed.length - maxFields} more` : '';
  return `${shownText(policy)} rule ${rule}: ${fields.join('; ')}${rest}`;
}

/** The sentences of an explanation's near misses, the closest first. */
export function nearSentences({ near }: Explanation): readonly string[] {
  return near.map(formatNearMiss);
}

function formatField({ name, expected, actual }: FailedField): string {
  if (expected.length === 0) return `${shownText(name)} asks for nothing, which no request satisfies`;
  const is = actual === undefined ? 'is absent' : actual === '' ? 'is empty' : `is ${actual}`;
  const rest = expected.length > maxValues ? [`${expected.length - maxValues} others`] : [];
  const wants = [...expected.slice(0, maxValues), ...rest].join(expected[0]?.startsWith('not ') ? ' and ' : ' or ');
  return `${shownText(name)} ${is}, wants ${wants}`;
}
