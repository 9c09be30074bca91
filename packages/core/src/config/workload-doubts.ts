import { isSelected, type Resource, type SourcePosition, type Workload, type WorkloadSelector } from '../identity/workload.js';
import type { PolicyRule } from '../policy/resource.js';
import { finish } from '../policy/steps.js';
import { compileTlsModes } from '../tls/mode.js';
import { joinPath } from './place.js';
import { quote, type ConfigProblem } from './problem.js';
import { clearTextOf, findClearDoubts, type PortMode } from './validate/clear-text.js';
import { isNearly, knownLabels, maySelect, type KnownLabels } from './validate/known-workloads.js';
import type { MeshResources } from './validate.js';

/** What a process knows of itself besides its configuration. */
export interface WorkloadFacts {
  /** The workload's ports that are listened on, as policies name them; absent while that is not known. */
  readonly ports?: readonly number[] | undefined;
  /** All other workloads that share the documents, where they are known: a selector that selects none of them all is then always doubtful. */
  readonly others?: readonly Workload[] | undefined;
}

const rulesPerStep = 64;

/** More doubts than this are not told. */
const doubtLimit = 500;

type AnyPolicy = Resource<{
  readonly selector?: WorkloadSelector;
  readonly targetRef?: unknown;
  readonly targetRefs?: readonly unknown[];
}>;

/**
 * What in valid documents is doubtful for this workload, as warnings of code `ENMESH_CONFIG_DOUBTFUL` at the document's line: a selector that selects
 * nothing known here, fields that need mutual TLS where callers come in the clear, and, with `ports`, ports that nobody listens on.
 */
export function warnForWorkload(
  resources: MeshResources,
  workload: Workload,
  facts: WorkloadFacts = {},
): readonly ConfigProblem[] {
  return finish(warnForWorkloadInSteps(resources, workload, facts));
}

/** The same in short steps. */
export function* warnForWorkloadInSteps(
  resources: MeshResources,
  workload: Workload,
  { ports, others }: WorkloadFacts,
): Generator<void, readonly ConfigProblem[]> {
  const problems: ConfigProblem[] = [];
  const add = (source: SourcePosition, path: string, message: string, hint?: string): void => {
    if (problems.length < doubtLimit)
      problems.push({
        level: 'warning',
        code: 'ENMESH_CONFIG_DOUBTFUL',
        ...source,
        path,
        message,
        ...(hint !== undefined && { hint }),
      });
  };
  yield* selectorDoubts(resources, workload, others, add);
  const modes = portModes(resources, workload, ports);
  for (const policy of resources.authorizationPolicies) {
    yield;
    if (problems.length >= doubtLimit) break;
    if (!isApplied(policy, workload, resources.mesh.rootNamespace)) continue;
    const clearText = clearTextOf(policy, modes);
    const listening = hasLabels(policy) ? ports : undefined;
    if (clearText === undefined && listening === undefined) continue;
    const { source } = policy.meta;
    for (const [index, rule] of (policy.spec.rules ?? []).entries()) {
      if (index % rulesPerStep === rulesPerStep - 1) yield;
      const at = `spec.rules[${index}]`;
      const doubts = clearText === undefined ? [] : findClearDoubts(rule, at, clearText);
      for (const { path, message } of doubts) add(source, path, message, 'make the port STRICT');
      if (listening !== undefined) rulePortDoubts(rule, at, listening, (path, message) => add(source, path, message, portHint));
    }
  }
  if (ports !== undefined) portLevelDoubts(resources, workload, ports, add);
  return problems;
}

type Add = (source: SourcePosition, path: string, message: string, hint?: string) => void;

const hasLabels = ({ spec }: AnyPolicy): boolean => Object.keys(spec.selector?.matchLabels ?? {}).length > 0;

function isApplied({ meta, spec }: AnyPolicy, workload: Workload, rootNamespace: string): boolean {
  if (meta.namespace !== workload.namespace && meta.namespace !== rootNamespace) return false;
  return spec.targetRef === undefined && (spec.targetRefs ?? []).length === 0 && isSelected(spec.selector, workload.labels);
}

/**
 * A directory may serve workloads that nothing here speaks of. A selector that fits nobody is therefore doubtful only where all are known, where it is all
 * but that of a known one, or where no selector fits this workload, which then has other labels than was thought.
 */
function* selectorDoubts(
  resources: MeshResources,
  workload: Workload,
  others: readonly Workload[] | undefined,
  add: Add,
): Generator<void> {
  const root = resources.mesh.rootNamespace;
  const lists: readonly (readonly AnyPolicy[])[] = [
    resources.peerAuthentications.filter(({ meta }) => meta.namespace !== root),
    resources.requestAuthentications,
    resources.authorizationPolicies,
  ];
  const known = [...knownLabels(resources.registry, workload), ...(others ?? []).map((other) => ({ ...other, open: false }))];
  const idle: AnyPolicy[] = [];
  let isSelectedHere = false;
  for (const policy of lists.flat()) {
    yield;
    const { namespace } = policy.meta;
    if (!hasLabels(policy) || (namespace !== workload.namespace && namespace !== root)) continue;
    const wanted = policy.spec.selector?.matchLabels ?? {};
    const isAmong = (labels: KnownLabels): boolean =>
      (namespace === root || labels.namespace === namespace) && maySelect(wanted, labels);
    if (isSelected(policy.spec.selector, workload.labels)) isSelectedHere = true;
    else if (idle.length < doubtLimit && !known.some(isAmong)) idle.push(policy);
  }
  const isShared = isSelectedHere && others === undefined;
  const own = Object.entries(workload.labels).map(([name, value]) => `${name}=${value}`);
  const here = own.length === 0 ? 'this one has no labels' : `this one has ${quote(own.join(', '))}`;
  for (const { meta, spec } of idle) {
    yield;
    if (isShared && !known.some((labels) => isNearly(spec.selector?.matchLabels ?? {}, labels))) continue;
    add(
      meta.source,
      'spec.selector.matchLabels',
      `selects no workload that is known here: ${here}`,
      others === undefined ? letters : `${letters}; where several services share the directory, name the enmesh.yaml of each`,
    );
  }
}

const letters = 'compare keys and values letter by letter';

/** The ports of the workload that can be told apart, with their modes; without known ports, those that PeerAuthentication names, and 0 for all others. */
function portModes(
  { peerAuthentications, mesh }: MeshResources,
  workload: Workload,
  ports: readonly number[] | undefined,
): PortMode[] {
  const modes = compileTlsModes(peerAuthentications, workload, mesh.rootNamespace);
  const named = peerAuthentications
    .filter((policy) => isApplied(policy, workload, mesh.rootNamespace))
    .flatMap(({ spec }) => Object.keys(spec.portLevelMtls ?? {}).map(Number));
  return (ports ?? [...new Set([...named, 0])]).map((port) => ({
    port,
    mode: modes.modeFor(port),
    source: modes.sourceFor(port),
  }));
}

const listOfPorts = (ports: readonly number[]): string =>
  ports.length === 0 ? 'no port' : `port ${[...ports].sort((a, b) => a - b).join(', ')}`;

function rulePortDoubts(
  rule: PolicyRule,
  at: string,
  ports: readonly number[],
  tell: (path: string, message: string) => void,
): void {
  const check = (values: readonly string[] | undefined, path: () => string): void => {
    const dead = values?.filter((value) => !ports.includes(Number(value))) ?? [];
    if (dead.length > 0)
      tell(path(), `nobody listens on port ${dead.slice(0, 10).join(', ')}: this process listens on ${listOfPorts(ports)}`);
  };
  rule.to?.forEach(({ operation }, nth) => check(operation.ports, () => `${at}.to[${nth}].operation.ports`));
  rule.when?.forEach(({ key, values }, nth) => {
    if (key === 'destination.port') check(values, () => `${at}.when[${nth}].values`);
  });
}

const portHint = "write the workload's own port, not the service's";

function portLevelDoubts(
  { peerAuthentications, mesh }: MeshResources,
  workload: Workload,
  ports: readonly number[],
  add: Add,
): void {
  for (const policy of peerAuthentications) {
    if (!isApplied(policy, workload, mesh.rootNamespace)) continue;
    for (const port of Object.keys(policy.spec.portLevelMtls ?? {})) {
      if (ports.includes(Number(port))) continue;
      const path = joinPath('spec.portLevelMtls', port);
      add(policy.meta.source, path, `nobody listens on port ${port}: this process listens on ${listOfPorts(ports)}`, portHint);
    }
  }
}
