import type { ResourceMeta } from '../../identity/workload.js';
import { childOf, placeAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { invalidAt, mapOf, nullable, record, text } from '../shape.js';
import { isDnsLabel, isObjectName } from './values.js';

interface MetadataFields {
  readonly name?: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly creationTimestamp?: string;
}

/** Metadata that a cluster sets and prints; none of it says anything about a policy. */
const serverSet = [
  'uid',
  'resourceVersion',
  'generation',
  'managedFields',
  'selfLink',
  'finalizers',
  'ownerReferences',
  'generateName',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'clusterName',
];

const metadataFields = record<MetadataFields>(
  {
    name: text(),
    namespace: nullable(text()),
    labels: nullable(mapOf(text())),
    annotations: nullable(mapOf(text())),
    creationTimestamp: nullable(text()),
  },
  { passedOver: serverSet },
);

/** The metadata of a resource at `place`; undefined, with problems reported, when it has no valid name and namespace. */
export function readMetadata(kind: string, place: Place): ResourceMeta | undefined {
  const at = childOf(place, 'metadata');
  if (at === undefined) return invalidAt(place, 'lacks `metadata`', 'every resource needs metadata with a name and a namespace');
  const fields = metadataFields(at);
  if (fields === undefined) return undefined;
  const name = checkName(fields.name, at);
  const namespace = checkNamespace(kind, fields.namespace, at);
  const creationTimestamp = readTimestamp(fields.creationTimestamp, at);
  if (name === undefined || namespace === undefined) return undefined;
  const position = place.report.positionOf(place.node.offset);
  return {
    kind,
    namespace,
    name,
    creationTimestamp,
    labels: fields.labels ?? {},
    annotations: fields.annotations ?? {},
    source: { file: place.report.file, ...position },
  };
}

function checkName(name: string | undefined, at: Place): string | undefined {
  if (name === undefined) return childOf(at, 'name') === undefined ? invalidAt(at, 'lacks `name`') : undefined;
  if (isObjectName(name)) return name;
  return invalidAt(
    placeAt(at, 'name'),
    `${quote(name)} is no name of a Kubernetes object`,
    'lower-case letters, digits, "-" and "."',
  );
}

function checkNamespace(kind: string, namespace: string | undefined, at: Place): string | undefined {
  if (namespace === undefined) {
    const given = placeAt(at, 'namespace').node;
    if (given !== at.node && !(given.kind === 'scalar' && given.value === null)) return undefined;
    return invalidAt(at, `${kind} needs a \`namespace\`: there is no kubectl context to take one from`, 'add metadata.namespace');
  }
  if (isDnsLabel(namespace)) return namespace;
  return invalidAt(placeAt(at, 'namespace'), `${quote(namespace)} is no namespace`, 'lower-case letters, digits and "-"');
}

function readTimestamp(timestamp: string | undefined, at: Place): number {
  if (timestamp === undefined) return 0;
  const time = /^\d{4}-\d{2}-\d{2}T/.test(timestamp) ? Date.parse(timestamp) : Number.NaN;
  if (Number.isNaN(time)) invalidAt(placeAt(at, 'creationTimestamp'), 'is no time', 'such as 2026-01-31T12:00:00Z');
  return Number.isNaN(time) ? 0 : time;
}
