/** At which end of a text a value must stand. */
export type AffixEnd = 'start' | 'end';

/** So few values are asked one after the other: that is quicker than a search. */
const fewValues = 4;

/** Whether some of the values stands at that end of a text. The work hardly grows with their number, however long the text is. */
export function compileAffixes(values: readonly string[], end: AffixEnd): (text: string) => boolean {
  const atStart = end === 'start';
  const isAffix = (value: string, text: string): boolean => (atStart ? text.startsWith(value) : text.endsWith(value));
  const [only] = values;
  if (only !== undefined && values.length === 1) return (text) => isAffix(only, text);
  if (values.length <= fewValues) return (text) => values.some((value) => isAffix(value, text));
  const sorted = independentValues(values, atStart);
  return (text) => isFound(sorted, text, atStart);
}

/** The values in order, without those that another value is an affix of: then at most one of them can match, and only the one that a search meets. */
function independentValues(values: readonly string[], atStart: boolean): readonly string[] {
  const sorted = [...values].sort((a, b) => compareAffix(a, b, atStart) || a.length - b.length);
  const kept: string[] = [];
  for (const value of sorted) {
    const last = kept.at(-1);
    if (last === undefined || compareAffix(last, value, atStart) !== 0) kept.push(value);
  }
  return kept;
}

/** 0 when `value` stands at that end of `text`; else where it lies before or behind it, code unit by code unit from that end. */
function compareAffix(value: string, text: string, atStart: boolean): number {
  for (let at = 0; at < value.length; at += 1) {
    if (at === text.length) return 1;
    const difference = atStart
      ? value.charCodeAt(at) - text.charCodeAt(at)
      : value.charCodeAt(value.length - 1 - at) - text.charCodeAt(text.length - 1 - at);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isFound(sorted: readonly string[], text: string, atStart: boolean): boolean {
  let low = 0;
  let high = sorted.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = compareAffix(sorted[middle] as string, text, atStart);
    if (order === 0) return true;
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
