import { compareByCreation } from '../../identity/workload.js';
import type { PeerAuthentication } from '../../tls/resource.js';
import type { ConfigProblem } from '../problem.js';

const hasLabels = ({ spec }: PeerAuthentication): boolean => Object.keys(spec.selector?.matchLabels ?? {}).length > 0;

function problemAt({ meta }: PeerAuthentication, path: string, message: string, hint: string): ConfigProblem {
  return { level: 'warning', code: 'ENMESH_CONFIG_DOUBTFUL', ...meta.source, path, message, hint };
}

/** PeerAuthentications that count nowhere: in the root namespace with a selector, or younger than another of the same scope (istio-semantics 1.2, 1.3). */
export function findIgnoredModes(policies: readonly PeerAuthentication[], rootNamespace: string): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const first = new Map<string, PeerAuthentication>();
  for (const policy of [...policies].sort(compareByCreation)) {
    const { namespace } = policy.meta;
    if (namespace === rootNamespace && hasLabels(policy)) {
      const hint = `the root namespace is ${rootNamespace}: write it in the namespace of the workloads, or without selector`;
      problems.push(
        problemAt(policy, 'spec.selector', 'a selector in the root namespace selects nothing: the policy is ignored', hint),
      );
      continue;
    }
    const scope = JSON.stringify([namespace, Object.entries(policy.spec.selector?.matchLabels ?? {}).sort()]);
    const earlier = first.get(scope);
    if (earlier === undefined) {
      first.set(scope, policy);
      continue;
    }
    const level = hasLabels(policy)
      ? 'the same workloads'
      : namespace === rootNamespace
        ? 'the whole mesh'
        : `namespace ${namespace}`;
    const message = `ignored: ${earlier.meta.namespace}/${earlier.meta.name} is for ${level} too, and comes first`;
    problems.push(problemAt(policy, 'metadata.name', message, 'keep one: the oldest counts, then the first by name'));
  }
  return problems;
}
