/**
 * Whether a ratio reaches its goal: `met` when the median is within it and the upper end of the 95 % interval at most 0.05 above; `missed` when even
 * the lower end is above; else `not resolved`, because the machine was too noisy to say.
 */
export function verdictOf({ median, low, high }, goal) {
  if (median <= goal && high <= goal + 0.05) return 'met';
  return low > goal ? 'missed' : 'not resolved';
}
