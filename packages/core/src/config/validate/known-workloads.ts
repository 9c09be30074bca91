import type { Workload } from '../../identity/workload.js';
import type { Registry } from '../registry.js';
import { nearest } from '../spelling.js';

/** Labels of a workload that the documents know of. `open`: it may have others, for only a selector told of it. */
export interface KnownLabels {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly open: boolean;
}

/** This workload, and every other one that the registry speaks of. */
export function knownLabels(registry: Registry, { namespace, labels }: Workload): KnownLabels[] {
  return [
    { namespace, labels, open: false },
    ...registry.workloadEntries.map(({ meta, spec }) => ({
      namespace: meta.namespace,
      labels: { ...spec.labels, ...meta.labels },
      open: false,
    })),
    ...registry.serviceEntries.flatMap(({ meta, spec }) => [
      ...(spec.endpoints ?? []).map((endpoint) => ({ namespace: meta.namespace, labels: endpoint.labels ?? {}, open: false })),
      { namespace: meta.namespace, labels: spec.workloadSelector?.labels ?? {}, open: true },
    ]),
    ...registry.services.map(({ meta, spec }) => ({ namespace: meta.namespace, labels: spec.selector ?? {}, open: true })),
  ];
}

/** Whether a selector's labels can be those of a known workload; of an open one at least a label must be the same and none another. */
export function maySelect(wanted: Readonly<Record<string, string>>, { labels, open }: KnownLabels): boolean {
  const names = Object.keys(wanted);
  if (!open) return names.every((name) => labels[name] === wanted[name]);
  return (
    names.some((name) => labels[name] === wanted[name]) && names.every((name) => (labels[name] ?? wanted[name]) === wanted[name])
  );
}

/** Whether a selector's labels are those of a known workload but for the spelling of a key or a value. */
export function isNearly(wanted: Readonly<Record<string, string>>, { labels }: KnownLabels): boolean {
  return Object.entries(wanted).every(([name, value]) => {
    const key = Object.hasOwn(labels, name) ? name : nearest(name, Object.keys(labels));
    const found = key === undefined ? undefined : labels[key];
    // `v1` and `v2` are two versions, not one misspelt.
    return found !== undefined && (found === value || (value.length > 3 && nearest(value, [found]) !== undefined));
  });
}
