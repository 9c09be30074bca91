/** The workload this process is: what selectors are compared with, and whose identity it carries. */
export interface Workload {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Where a value stands in a configuration file; `line` and `column` begin at 1. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What Kubernetes metadata policies are selected and ordered by. `creationTimestamp` is milliseconds since the epoch, 0 when absent. */
export interface ResourceMeta {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly creationTimestamp: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly source: SourcePosition;
  /** Of an AuthorizationPolicy from a file: where each of its rules begins. */
  readonly ruleStarts?: readonly Pick<SourcePosition, 'line' | 'column'>[];
}

/** Where rule `index` of a policy begins, or its document where that is not known. */
export function sourceOfRule({ source, ruleStarts }: ResourceMeta, index: number): SourcePosition {
  return { ...source, ...ruleStarts?.[index] };
}

/** One configuration document: its metadata and its typed, validated spec. */
export interface Resource<Spec> {
  readonly meta: ResourceMeta;
  readonly spec: Spec;
}

/** `spec.selector` of the security kinds. */
export interface WorkloadSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
}

/** Whether every label of the selector stands in `labels` with the same value; an empty or absent selector matches everything. */
export function isSelected(selector: WorkloadSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const wanted = selector?.matchLabels;
  if (wanted === undefined) return true;
  for (const name in wanted) if (labels[name] !== wanted[name]) return false;
  return true;
}

/** Istio's order of policies: oldest first, then by name, then by namespace. */
export function compareByCreation(a: { readonly meta: ResourceMeta }, b: { readonly meta: ResourceMeta }): number {
  return (
    a.meta.creationTimestamp - b.meta.creationTimestamp ||
    compareText(a.meta.name, b.meta.name) ||
    compareText(a.meta.namespace, b.meta.namespace)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
