/** One value of a metric with its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with all its samples. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly Sample[];
}

/** A counter with labels. */
export interface Counter {
  /** Adds `by`, by default 1; 0 makes the series known. */
  add(labels: Readonly<Record<string, string>>, by?: number): void;
  samples(): readonly Sample[];
}

/** Series of one counter are never more than this: labels are of few values, and a mistake here must not fill memory. */
const maxSeries = 1000;

/** Creates a counter whose series are told apart by their labels. */
export function createCounter(): Counter {
  const series = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();
  return {
    add(labels, by = 1) {
      const key = formatLabels(labels);
      const known = series.get(key);
      if (known !== undefined) known.value += by;
      else if (series.size < maxSeries) series.set(key, { labels, value: by });
    },
    samples: () => [...series.values()].map(({ labels, value }) => ({ labels, value })),
  };
}

/** Writes a metric in Prometheus' text format 0.0.4, its lines ended. */
export function formatMetric({ name, help, type, samples }: Metric): string {
  const lines = samples.map(({ labels, value }) => `${name}${formatLabels(labels)} ${value}`);
  return [`# HELP ${name} ${escapeText(help)}`, `# TYPE ${name} ${type}`, ...lines].map((line) => `${line}\n`).join('');
}

function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeText(value).replaceAll('"', '\\"')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
