import type { Resource, ResourceMeta } from '../../identity/workload.js';
import { describeNode, type ConfigNode } from '../node.js';
import { childOf, errorAt, placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { record } from '../shape.js';
import { nearest, spellingHint } from '../spelling.js';
import { closedGroups, kindReaders, legacyGroups, type KindReader, type KnownKind } from './kinds.js';
import { readMetadata } from './metadata.js';

/** Collects the resources of all files of one set. */
export interface ResourceReader {
  readonly found: ReadonlyMap<KnownKind, readonly Resource<object>[]>;
  /** Reads one document: a resource, or a `List` of them. */
  read(place: Place): void;
  /** To be called after the last document: tells of the kinds that were passed over, once each. */
  finish(): void;
}

/** A kind that is passed over: where it was met first, and how often. */
interface PassedOver {
  readonly place: Place;
  count: number;
}

interface Collection {
  readonly found: Map<KnownKind, Resource<object>[]>;
  readonly positions: Map<string, ResourceMeta>;
  readonly passedOver: Map<string, PassedOver>;
}

/** A reader with nothing found yet. */
export function createResourceReader(): ResourceReader {
  const collection: Collection = { found: new Map(), positions: new Map(), passedOver: new Map() };
  return {
    found: collection.found,
    read: (place) => readDocument(place, collection),
    finish() {
      for (const [kind, { place, count }] of collection.passedOver) {
        const documents = count === 1 ? 'one document' : `${count} documents`;
        warnAt(place, 'ENMESH_CONFIG_PASSED_OVER', `${kind} is not read by enmesh: ${documents} passed over`);
      }
    },
  };
}

function readDocument(place: Place, collection: Collection): void {
  if (place.node.kind !== 'map') {
    errorAt(
      place,
      'ENMESH_CONFIG_KIND_UNKNOWN',
      `a document must be a resource with apiVersion and kind, not ${describeNode(place.node)}`,
    );
    return;
  }
  const kind = readWord(place, 'kind');
  const apiVersion = readWord(place, 'apiVersion');
  if (kind === undefined || apiVersion === undefined) return;
  const items = childOf(place, 'items');
  if (kind.endsWith('List') && items?.node.kind === 'list') {
    items.node.items.forEach((node, index) => readDocument({ ...place, node, path: `${items.path}[${index}]` }, collection));
    return;
  }
  const slash = apiVersion.indexOf('/');
  const group = slash === -1 ? '' : apiVersion.slice(0, slash);
  const reader = kindReaders.find((one) => one.kind === kind && one.group === group);
  if (reader === undefined) passOver(kind, apiVersion, group, place, collection);
  else if (!(reader.versions as readonly string[]).includes(apiVersion.slice(slash + 1))) refuseVersion(reader, place);
  else readResource(reader, place, collection);
}

function readWord(place: Place, field: 'kind' | 'apiVersion'): string | undefined {
  const at = childOf(place, field);
  const value = at?.node.kind === 'scalar' ? at.node.value : undefined;
  if (typeof value === 'string' && value !== '') return value;
  const keys = at === undefined && place.node.kind === 'map' ? place.node.entries.map((entry) => entry.key) : [];
  const hint = nearest(field, keys);
  return errorAt(
    at ?? place,
    'ENMESH_CONFIG_KIND_UNKNOWN',
    at === undefined ? `lacks \`${field}\`` : `\`${field}\` must be a string`,
    hint === undefined ? strayHint(keys) : `is ${quote(hint)} meant to be ${field}?`,
  );
}

const meshConfigWords = [
  'trustDomain',
  'trustDomainAliases',
  'rootNamespace',
  'extensionProviders',
  'pathNormalization',
  'meshMTLS',
];

/** Where to put a file that is good, and lies in the wrong folder. */
function strayHint(keys: readonly string[]): string | undefined {
  if (keys.includes('kind') || keys.includes('metadata')) return undefined;
  if (keys.some((key) => meshConfigWords.includes(key)))
    return 'fields of MeshConfig stand in enmesh/mesh.yaml of the configuration directory';
  if (keys.includes('serviceAccount') || keys.includes('identity'))
    return 'the description of a workload, enmesh.yaml, stands beside the service, not in the configuration directory';
  return undefined;
}

function refuseVersion(reader: KindReader, place: Place): void {
  const versions = reader.versions.map((version) => (reader.group === '' ? version : `${reader.group}/${version}`));
  errorAt(
    placeAt(place, 'apiVersion'),
    'ENMESH_CONFIG_KIND_UNKNOWN',
    `there is no such version of ${reader.kind}`,
    `write ${versions.join(' or ')}`,
  );
}

/** Refuses what was probably meant to be read: a policy that is passed over in error opens what it guards. */
function passOver(kind: string, apiVersion: string, group: string, place: Place, collection: Collection): void {
  const others = closedGroups.get(group);
  if (others !== undefined) {
    const known = [...kindReaders.filter((reader) => reader.group === group).map((reader) => reader.kind), ...others];
    if (others.includes(kind)) return countPassedOver(`${kind} (${group})`, placeAt(place, 'kind'), collection);
    errorAt(
      placeAt(place, 'kind'),
      'ENMESH_CONFIG_KIND_UNKNOWN',
      `there is no kind ${quote(kind)} in ${group}`,
      kindHint(kind, group) ?? spellingHint(kind, known),
    );
    return;
  }
  if (legacyGroups.includes(group)) {
    const hint = '`enmesh convert` writes it anew in the kinds of today';
    errorAt(
      placeAt(place, 'kind'),
      'ENMESH_CONFIG_KIND_UNKNOWN',
      `${quote(kind)} of ${group} is no longer obeyed by anyone`,
      hint,
    );
    return;
  }
  const wanted = kindReaders.find((reader) => reader.kind === kind);
  const near = nearest(group === '' ? apiVersion : group, closedGroups.keys());
  if (near !== undefined || (wanted !== undefined && wanted.group !== '')) {
    const right = `${near ?? wanted?.group}/${kindReaders.find((reader) => reader.group === (near ?? wanted?.group))?.versions[0]}`;
    errorAt(
      placeAt(place, 'apiVersion'),
      'ENMESH_CONFIG_KIND_UNKNOWN',
      `${quote(apiVersion)} has no kind ${quote(kind)}`,
      `did you mean ${right}?`,
    );
    return;
  }
  countPassedOver(group === '' ? kind : `${kind} (${group})`, placeAt(place, 'kind'), collection);
}

/** `did you mean security.istio.io/v1?` for a kind of another group. */
function kindHint(kind: string, group: string): string | undefined {
  const reader = kindReaders.find((one) => one.kind === kind && one.group !== group && one.group !== '');
  return reader && `${kind} is a kind of ${reader.group}/${reader.versions[0]}`;
}

function countPassedOver(label: string, place: Place, collection: Collection): void {
  const key = label.length > 160 ? `${label.slice(0, 157)}...` : label;
  const earlier = collection.passedOver.get(key);
  if (earlier === undefined) collection.passedOver.set(key, { place, count: 1 });
  else earlier.count++;
}

const topLevel = record<object>({}, { passedOver: ['apiVersion', 'kind', 'metadata', 'spec', 'status'] });

function readResource(reader: KindReader & { readonly kind: KnownKind }, place: Place, collection: Collection): void {
  if (reader.open !== true) topLevel(place);
  const meta = readMetadata(reader.kind, place);
  const empty: ConfigNode = { kind: 'map', offset: place.node.offset, entries: [] };
  const spec = reader.spec(childOf(place, 'spec') ?? { node: empty, path: 'spec', report: place.report });
  if (meta === undefined || spec === undefined) return;
  reader.check?.(meta, spec, place);
  warnMisplaced(reader, place);
  const key = `${reader.kind} ${meta.namespace}/${meta.name}`;
  const earlier = collection.positions.get(key);
  if (earlier !== undefined) {
    const first = `${earlier.source.file}:${earlier.source.line}`;
    errorAt(
      placeAt(place, 'metadata', 'name'),
      'ENMESH_CONFIG_DUPLICATE',
      `${key} is defined twice, first at ${first}`,
      'remove one, or rename it',
    );
    return;
  }
  collection.positions.set(key, meta);
  const list = collection.found.get(reader.kind);
  const resource = { meta: { ...meta, ...ruleStartsOf(reader.kind, place) }, spec };
  if (list === undefined) collection.found.set(reader.kind, [resource]);
  else list.push(resource);
}

/** Where the rules of a policy begin: what a denial is explained with. */
function ruleStartsOf(kind: KnownKind, place: Place): Pick<ResourceMeta, 'ruleStarts'> {
  const { node } = placeAt(place, 'spec', 'rules');
  if (kind !== 'AuthorizationPolicy' || node.kind !== 'list') return {};
  return { ruleStarts: node.items.map(({ offset }) => place.report.positionOf(offset)) };
}

function warnMisplaced(reader: KindReader, place: Place): void {
  if (reader.group !== 'enmesh.dev' || /(^|[/\\])enmesh[/\\]/.test(place.report.file)) return;
  const hint = 'move the file into the sub-folder enmesh/';
  warnAt(
    placeAt(place, 'kind'),
    'ENMESH_CONFIG_DOUBTFUL',
    `Kubernetes does not know ${reader.kind}: kubectl apply would stop at this file`,
    hint,
  );
}
