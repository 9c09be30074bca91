/** Prints a goal beside its figure; answers 1 when it is missed, which only `--gate` makes an error: a busy machine misses them too. */
export function printGoal(name, figure, most, unit) {
  const isMet = figure <= most;
  console.log(`goal ${isMet ? 'met   ' : 'missed'}: ${name} ${figure}${unit}, at most ${most}${unit}`);
  return isMet ? 0 : 1;
}
