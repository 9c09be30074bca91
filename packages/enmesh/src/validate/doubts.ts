import { warnForWorkload, type ConfigProblem, type MeshResources, type Workload } from '@enmesh/core/config';

const selectorPath = 'spec.selector.matchLabels';

/**
 * What in valid documents is doubtful for the workloads that share them, each doubt once. A selector that selects nothing is doubtful only when it selects
 * none of them.
 */
export function doubtsFor(resources: MeshResources, workloads: readonly Workload[]): readonly ConfigProblem[] {
  const told = new Map<string, { problem: ConfigProblem; count: number }>();
  for (const workload of workloads) {
    for (const problem of warnForWorkload(resources, workload)) {
      const { file, line, column, path, message } = problem;
      const key = JSON.stringify([file, line, column, path, path === selectorPath ? '' : message]);
      told.set(key, { problem, count: (told.get(key)?.count ?? 0) + 1 });
    }
  }
  const isShared = ({ problem, count }: { problem: ConfigProblem; count: number }): boolean =>
    problem.path !== selectorPath || count === workloads.length;
  return [...told.values()].filter(isShared).map(({ problem }) => problem);
}
