import { parseAllDocuments } from 'yaml';

/** Settings of a mesh that a verdict depends on, as they stand in MeshConfig. */
export interface MeshFields {
  readonly trustDomain?: string;
  readonly trustDomainAliases?: readonly string[];
  readonly caCertificates?: readonly { readonly trustDomains?: readonly string[] }[];
  readonly rootNamespace?: string;
  readonly pathNormalization?: { readonly normalization?: string };
}

/** Whose policies are meant. */
export interface Target {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A document as it stands in YAML, nothing but its place and time filled in. */
export interface Document<Spec> {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  /** Milliseconds; 0 when absent. */
  readonly created: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: Spec;
}

/** What every security kind may say about its workloads. */
export interface Attached {
  readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  readonly targetRef?: unknown;
  readonly targetRefs?: readonly unknown[];
}

export const trustDomainOf = (mesh: MeshFields): string => mesh.trustDomain ?? 'cluster.local';
export const rootOf = (mesh: MeshFields): string => mesh.rootNamespace ?? 'istio-system';

interface Raw {
  readonly kind: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly creationTimestamp?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: object;
}

/** Reads the documents of a YAML stream. */
export function readDocuments(text: string): readonly Document<never>[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Raw | null)
    .filter((raw) => raw !== null)
    .map(({ kind, metadata: { name = '', namespace = 'default', creationTimestamp, annotations = {} } = {}, spec = {} }) => ({
      kind,
      name,
      namespace,
      created: creationTimestamp === undefined ? 0 : Date.parse(creationTimestamp),
      annotations,
      spec: spec as never,
    }));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Oldest first, then by name, then by namespace (1.3). */
export function oldestFirst<Spec>(documents: readonly Document<Spec>[]): Document<Spec>[] {
  return [...documents].sort((a, b) => a.created - b.created || compare(a.name, b.name) || compare(a.namespace, b.namespace));
}

/** Whether the labels of the selector are all the workload's. */
export function selects({ selector }: Attached, target: Target): boolean {
  return Object.entries(selector?.matchLabels ?? {}).every(([name, value]) => target.labels[name] === value);
}

/** The documents of a kind that a workload without a gateway obeys (2.2, 3.1): its namespace's and the root's, without targetRefs. */
export function selected<Spec extends Attached>(
  documents: readonly Document<Spec>[],
  kind: string,
  target: Target,
  mesh: MeshFields,
): Document<Spec>[] {
  return documents.filter(
    ({ kind: own, namespace, spec }) =>
      own === kind &&
      (namespace === target.namespace || namespace === rootOf(mesh)) &&
      spec.targetRef === undefined &&
      (spec.targetRefs ?? []).length === 0 &&
      selects(spec, target),
  );
}
