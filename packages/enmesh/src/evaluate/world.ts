import {
  formatProblem,
  validateDocuments,
  type ConfigFile,
  type ConfigProblem,
  type MeshResources,
  type Resource,
  type Workload,
} from '@enmesh/core/config';

/** A world of a stream: MeshConfig fields and documents, and the workload whose door is asked, where one is given. */
export interface GivenWorld {
  readonly workload: Workload | undefined;
  readonly mesh: object;
  readonly documents: string;
}

/** When documents without `creationTimestamp` of a stream were created, in milliseconds: the format's own day. */
const created = Date.parse('2024-01-01T00:00:00Z');

/** What is wrong with a configuration, in one sentence: its first error, and how many there are. */
function sayErrors(problems: readonly ConfigProblem[]): string {
  const errors = problems.filter(({ level }) => level === 'error');
  const [first] = errors;
  if (first === undefined) return 'the configuration has an error';
  return formatProblem(first) + (errors.length > 1 ? ` (and ${errors.length - 1} more)` : '');
}

/** Validates the documents of a world. Returns the sentence that says why not when they are refused. */
export function readWorld({ mesh, documents }: GivenWorld): MeshResources | string {
  const files: ConfigFile[] = [
    { name: 'mesh', text: JSON.stringify(mesh), meshConfig: true },
    { name: 'documents', text: documents },
  ];
  const { resources, problems } = validateDocuments(files);
  return resources === undefined ? sayErrors(problems) : dated(resources);
}

function dated(resources: MeshResources): MeshResources {
  const date = <R extends Resource<object>>(list: readonly R[]): readonly R[] =>
    list.map((one) => (one.meta.creationTimestamp === 0 ? { ...one, meta: { ...one.meta, creationTimestamp: created } } : one));
  const { registry } = resources;
  const peerAuthentications = date(resources.peerAuthentications);
  return {
    ...resources,
    peerAuthentications,
    requestAuthentications: date(resources.requestAuthentications),
    authorizationPolicies: date(resources.authorizationPolicies),
    registry: {
      services: date(registry.services),
      serviceEntries: date(registry.serviceEntries),
      workloadEntries: date(registry.workloadEntries),
      destinationRules: date(registry.destinationRules),
      peerAuthentications,
    },
  };
}
