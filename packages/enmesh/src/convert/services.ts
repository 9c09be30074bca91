import { RefusedError } from './fields.js';
import type { SourceDocument } from './document.js';

/** Labels of workloads, as in `selector.matchLabels`. */
export type Labels = Readonly<Record<string, string>>;

/** Which workloads stand behind a legacy service name, and what that knowledge rests on. */
export interface Target {
  readonly labels: Labels;
  /** What the author has to look at; absent when a Service among the documents told the labels. */
  readonly note?: string;
}

interface ServicePort {
  readonly name?: unknown;
  readonly port?: unknown;
  readonly targetPort?: unknown;
}

/** The Kubernetes Services among the documents: the legacy kinds speak of services, today's of the labels of workloads. */
export interface Services {
  target(namespace: string, name: string): Target;
  /** The workload's port behind a service port given by number or name; a note when it had to be assumed. */
  port(namespace: string, name: string, port: { number?: string; name?: string; path: string }): { port: string; note?: string };
  /** Names of the known services of a namespace that match `prefix*`, `*suffix` or an exact name. */
  matching(namespace: string, pattern: string): readonly string[];
}

/** Reads the Services (`v1`) of a set of documents. */
export function readServices(documents: readonly SourceDocument[]): Services {
  const known = new Map<string, { selector: Labels; ports: readonly ServicePort[] }>();
  for (const { apiVersion, kind, namespace, name, spec } of documents) {
    if (apiVersion !== 'v1' || kind !== 'Service') continue;
    const { selector, ports } = (spec ?? {}) as { selector?: unknown; ports?: unknown };
    known.set(`${namespace}/${name}`, {
      selector: labelsOf(selector),
      ports: Array.isArray(ports) ? (ports as ServicePort[]) : [],
    });
  }
  return {
    target(namespace, name) {
      const labels = known.get(`${namespace}/${name}`)?.selector;
      if (labels !== undefined && Object.keys(labels).length > 0) return { labels };
      const note = `the workloads of service ${name} are taken to be labelled app: ${name}; give its Service as well, or correct the selector`;
      return { labels: { app: name }, note };
    },
    port(namespace, name, wanted) {
      const ports = known.get(`${namespace}/${name}`)?.ports;
      const found = ports?.find((one) =>
        wanted.name === undefined ? String(one.port) === wanted.number : one.name === wanted.name,
      );
      return portOf(found, name, wanted);
    },
    matching(namespace, pattern) {
      const names = [...known.keys()]
        .filter((key) => key.startsWith(`${namespace}/`))
        .map((key) => key.slice(namespace.length + 1));
      return names.filter((name) => matches(pattern, name) || matches(pattern, `${name}.${namespace}.svc.cluster.local`));
    },
  };
}

function matches(pattern: string, name: string): boolean {
  if (pattern.endsWith('*')) return name.startsWith(pattern.slice(0, -1));
  return pattern.startsWith('*') ? name.endsWith(pattern.slice(1)) : name === pattern;
}

function portOf(
  found: ServicePort | undefined,
  service: string,
  wanted: { number?: string; name?: string; path: string },
): { port: string; note?: string } {
  const real = found?.targetPort ?? found?.port;
  if (typeof real === 'number' || (typeof real === 'string' && /^\d+$/.test(real))) return { port: String(real) };
  if (wanted.number === undefined || found !== undefined) {
    throw new RefusedError(
      wanted.path,
      `the port's number on the workload is not known; give the Service ${service} with a numeric targetPort`,
    );
  }
  const note = `port ${wanted.number} of service ${service} is taken to be the workload's port too; today's kinds count the workload's ports`;
  return { port: wanted.number, note };
}

function labelsOf(value: unknown): Labels {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
