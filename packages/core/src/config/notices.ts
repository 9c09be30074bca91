import { EnmeshError } from '../errors.js';
import { noticeEvents } from '../telemetry/events.js';
import { formatProblem, type ConfigProblem } from './problem.js';
import type { MeshSnapshot } from './snapshot.js';
import type { MeshResources } from './validate.js';

const maxProblems = 20;
const maxWarnings = 1000;
const nothingDeclared = 'no documents, so plaintext is accepted and every request allowed';

/** What a configuration store says of its loads on `enmesh:notice`: each rejection once, each warning once, each new configuration. */
export interface LoadNotices {
  loaded(snapshot: MeshSnapshot, problems: readonly ConfigProblem[], files: number, milliseconds: number): void;
  /** Doubts about valid documents for this workload: each once, also when it is told again with more known of the ports. */
  doubted(problems: readonly ConfigProblem[]): void;
  /** `fingerprint` tells one failing content from the next; the same one again stays silent. */
  rejected(error: EnmeshError, fingerprint: string): void;
  /** The content in force is read again: a rejection after it is news, even of a content that was rejected before. */
  restored(): void;
  /** Something failed that changes nothing: a listener, unless `what` says otherwise. */
  listenerFailed(error: unknown, what?: string): void;
}

/** Creates the notices of one store; `label` names the source, the directory's path. */
export function createLoadNotices(label: string): LoadNotices {
  const warned = new Set<string>();
  let lastRejected: string | undefined;
  return {
    loaded(snapshot, problems, files, milliseconds) {
      lastRejected = undefined;
      for (const problem of problems) warnOnce(problem, warned);
      const counts = countsOf(snapshot.resources);
      const listed = Object.entries(counts).map(([kind, count]) => `${count} ${kind}`);
      noticeEvents.publish({
        kind: 'config-loaded',
        // Files without a document are a good configuration, and most likely a mistake.
        level: listed.length === 0 ? 'warn' : 'info',
        message: `configuration ${snapshot.generation} of ${label} is in force: ${listed.length === 0 ? nothingDeclared : listed.join(', ')}`,
        details: { generation: snapshot.generation, files, milliseconds, counts },
      });
    },
    doubted(problems) {
      for (const problem of problems) warnOnce(problem, warned, problem.message.split(':', 1)[0]);
    },
    rejected(error, fingerprint) {
      if (fingerprint === lastRejected) return;
      lastRejected = fingerprint;
      noticeEvents.publish({
        kind: 'config-rejected',
        level: 'error',
        code: error.code,
        message: `configuration is rejected, the last good one stays in force: ${error.message}`,
        details: error.details,
      });
    },
    restored() {
      lastRejected = undefined;
    },
    listenerFailed(error, what = 'a listener of new configurations') {
      noticeEvents.publish({
        kind: 'config-warning',
        level: 'error',
        message: `${what} failed: ${error instanceof Error ? error.name : typeof error}`,
      });
    },
  };
}

/** The error of a set that is not valid: all its problems with file, line and column, at most 20 of them written out. Code `ENMESH_CONFIG_INVALID`. */
export function invalidConfiguration(label: string, problems: readonly ConfigProblem[]): EnmeshError {
  const errors = problems.filter((problem) => problem.level === 'error');
  const shown = errors.slice(0, maxProblems);
  const more = errors.length - shown.length;
  const lines = shown.map((problem) => `\n  ${formatProblem(problem)}`).join('');
  const message = `${label} has ${errors.length} error${errors.length === 1 ? '' : 's'}:${lines}${more > 0 ? `\n  and ${more} more` : ''}`;
  return new EnmeshError('ENMESH_CONFIG_INVALID', message, { details: { problems: shown, total: errors.length } });
}

/** `message` is what tells the problem from others at its place. */
function warnOnce(problem: ConfigProblem, warned: Set<string>, message = problem.message): void {
  if (problem.level !== 'warning' || warned.size >= maxWarnings) return;
  // An edit above it moves the line of a warning, and makes it no new one.
  const text = formatProblem({ ...problem, message, line: 0, column: 0 });
  if (warned.has(text)) return;
  warned.add(text);
  noticeEvents.publish({
    kind: 'config-warning',
    level: 'warn',
    code: problem.code,
    message: formatProblem(problem),
    details: { problem },
  });
}

/** How many documents of each kind that is read there are; a kind without any is not listed. */
export function countsOf(resources: MeshResources): Readonly<Record<string, number>> {
  const { registry } = resources;
  const lists = {
    AuthorizationPolicy: resources.authorizationPolicies,
    RequestAuthentication: resources.requestAuthentications,
    PeerAuthentication: resources.peerAuthentications,
    TokenPropagation: resources.tokenPropagations,
    Service: registry.services,
    ServiceEntry: registry.serviceEntries,
    WorkloadEntry: registry.workloadEntries,
    DestinationRule: registry.destinationRules,
  };
  return Object.fromEntries(
    Object.entries(lists)
      .map(([kind, list]) => [kind, list.length] as const)
      .filter(([, count]) => count > 0),
  );
}
