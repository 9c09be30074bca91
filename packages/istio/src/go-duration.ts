const unitMs: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads a duration as Go writes it (`24h0m0s`, `1.5h`, `300ms`) into milliseconds; undefined for anything else, and for one that is not above zero. */
export function parseGoDuration(text: string): number | undefined {
  if (!/^\+?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+$/.test(text) || text.length > 64) return undefined;
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(count) * (unitMs[unit ?? ''] ?? NaN);
  return sum > 0 && Number.isFinite(sum) ? sum : undefined;
}
