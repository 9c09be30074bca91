/** Prints a goal beside its figure; answers 1 when it is missed, which only `--gate` makes an error: a busy machine misses them too. */
export function printGoal(name, figure, most, unit) {
  const isMet = figure <= most;
  console.log(`goal ${isMet ? 'met   ' : 'missed'}: ${name} ${figure}${unit}, at most ${most}${unit}`);
  return isMet ? 0 : 1;
}

/**
 * Prints a goal beside the interval of its median: met or missed only where the whole interval lies on one side, else not resolved.
 * Answers 1 when it is missed.
 */
export function printIntervalGoal(name, { median, low, high }, { most = Infinity, least = -Infinity }, unit) {
  const verdict = high <= most && low >= least ? 'met' : low > most || high < least ? 'missed' : 'not resolved';
  const [word, bound] = most < Infinity ? ['at most', most] : ['at least', least];
  const text = (value) => `${Number(value.toPrecision(3))}${unit}`;
  console.log(`goal ${verdict.padEnd(12)}: ${name} ${text(median)} (${text(low)} to ${text(high)}), ${word} ${text(bound)}`);
  return verdict === 'missed' ? 1 : 0;
}
