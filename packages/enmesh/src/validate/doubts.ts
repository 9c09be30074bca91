import { warnForWorkload, type ConfigProblem, type MeshResources, type Workload } from '@enmesh/core/config';

const selectorPath = 'spec.selector.matchLabels';

/** What in valid documents is doubtful for workloads that share them, each doubt once. `areAll`: nobody else shares them. */
export function doubtsFor(resources: MeshResources, workloads: readonly Workload[], areAll: boolean): readonly ConfigProblem[] {
  const told = new Map<string, ConfigProblem>();
  for (const workload of workloads) {
    const others = areAll ? workloads.filter((other) => other !== workload) : undefined;
    for (const problem of warnForWorkload(resources, workload, { others })) {
      const { file, line, column, path, message } = problem;
      const key = JSON.stringify([file, line, column, path, path === selectorPath ? '' : message]);
      if (!told.has(key)) told.set(key, problem);
    }
  }
  return [...told.values()];
}
