import type { ErrorCode } from '../errors.js';
import { defaultMeshSettings, type MeshSettings } from './mesh-config.js';
import type { JwtRuleSpec, RequestAuthentication } from '../jwt/resource.js';
import type { AuthorizationPolicy } from '../policy/resource.js';
import type { PeerAuthentication } from '../tls/resource.js';
import type { Resource } from '../identity/workload.js';
import { readYamlDocuments } from './documents.js';
import { childOf, errorAt, type Place } from './place.js';
import type { ConfigProblem } from './problem.js';
import type { DestinationRule, KubernetesService, Registry, ServiceEntry, WorkloadEntry } from './registry.js';
import { createProblemList, createReport, type ProblemList } from './report.js';
import { createRuleEstimate } from './rule-estimate.js';
import type { TokenPropagation } from '../propagation/resource.js';
import { findUnboundHosts } from './validate/hop-hosts.js';
import { findIgnoredModes } from './validate/ignored-modes.js';
import type { KnownKind } from './validate/kinds.js';
import { meshConfig } from './validate/mesh-config.js';
import { createResourceReader } from './validate/resources.js';

/** One file of the configuration directory. */
export interface ConfigFile {
  /** Its path inside the directory, as shown to people. */
  readonly name: string;
  readonly text: string;
  /** True for `enmesh/mesh.yaml`: MeshConfig's own fields instead of resources. */
  readonly meshConfig?: boolean;
  /** Why its text could not be read; `text` is empty then, and the set has an error. `message` is a sentence about the file. */
  readonly fault?: { readonly code: ErrorCode; readonly message: string };
}

/** All resources of a configuration directory, in the order of files and documents; plain data. */
export interface MeshResources {
  readonly mesh: MeshSettings;
  readonly peerAuthentications: readonly PeerAuthentication[];
  readonly requestAuthentications: readonly RequestAuthentication[];
  readonly authorizationPolicies: readonly AuthorizationPolicy[];
  readonly registry: Registry;
  readonly tokenPropagations: readonly TokenPropagation[];
}

/** `resources` is undefined when `problems` holds any error. Both can be cloned into another thread. */
export interface ValidationResult {
  readonly resources: MeshResources | undefined;
  readonly problems: readonly ConfigProblem[];
}

/** Bytes of one file and of all files together, and rules of all policies together, beyond which a set is refused. */
export const configLimits = { fileBytes: 8 * 1024 * 1024, totalBytes: 64 * 1024 * 1024, rules: 50_000 };

/**
 * Reads and validates all files of a configuration directory at once, reporting every problem of every file by line and column. Pure and synchronous.
 * Codes of problems: `ENMESH_CONFIG_SYNTAX`, `_LIMIT`, `_KIND_UNKNOWN`, `_FIELD_UNKNOWN`, `_VALUE_INVALID`, `_DUPLICATE`, `_UNSUPPORTED`, and as warnings
 * `_PASSED_OVER`, `_DOUBTFUL`. Without a file of MeshConfig, Istio's defaults hold.
 */
export function validateDocuments(files: readonly ConfigFile[]): ValidationResult {
  const list = createProblemList();
  if (hasFarTooManyRules(files, list)) return { resources: undefined, problems: list.problems };
  const reader = createResourceReader();
  let mesh: MeshSettings | undefined;
  let totalBytes = 0;
  for (const file of files) {
    const bytes = Buffer.byteLength(file.text);
    totalBytes += bytes;
    const places = readPlaces(file, bytes, totalBytes, list);
    if (file.meshConfig === true) mesh = readMesh(places, mesh);
    else for (const place of places) if (!isTestCases(place, file.name)) reader.read(place);
  }
  reader.finish();
  const resources = gather(mesh ?? defaultMeshSettings, reader.found);
  for (const check of list.waiting) check(resources.mesh);
  for (const problem of findIgnoredModes(resources.peerAuthentications, resources.mesh.rootNamespace)) list.add(problem);
  for (const problem of findUnboundHosts(resources.tokenPropagations, resources.registry)) list.add(problem);
  const rules = countRules(resources);
  if (rules > configLimits.rules) {
    createReport(files[0]?.name ?? '', '', list).error(
      0,
      '',
      'ENMESH_CONFIG_LIMIT',
      `${rules} rules in all; at most ${configLimits.rules} are allowed`,
    );
  }
  return { resources: list.errors > 0 ? undefined : resources, problems: list.problems };
}

/** The cases of `enmesh test`, which stand beside the policies. A resource in such a file is a resource all the same. */
function isTestCases(place: Place, file: string): boolean {
  const has = (key: string): boolean => childOf(place, key) !== undefined;
  return /\.test\.ya?ml$/.test(file) && has('cases') && !has('kind') && !has('apiVersion');
}

/**
 * Refuses unread what has half as many rules again as are allowed: reading 100 000 takes half a minute and a gigabyte. What is nearer to the limit is
 * counted when it is read.
 */
function hasFarTooManyRules(files: readonly ConfigFile[], list: ProblemList): boolean {
  const most = configLimits.rules * 1.5;
  const estimate = createRuleEstimate(most);
  for (const file of files) {
    const place = file.text.length > configLimits.fileBytes ? undefined : estimate.add(file.text);
    if (place === undefined) continue;
    const message = `more than ${most} rules in all; at most ${configLimits.rules} are allowed`;
    createReport(file.name, file.text, list).error(place.offset, '', 'ENMESH_CONFIG_LIMIT', message);
    return true;
  }
  return false;
}

function* readPlaces(file: ConfigFile, bytes: number, totalBytes: number, list: ProblemList): Generator<Place> {
  const report = createReport(file.name, file.text, list);
  if (file.fault !== undefined) return report.error(0, '', file.fault.code, file.fault.message);
  const tooBig = (what: string, limit: number): void =>
    report.error(0, '', 'ENMESH_CONFIG_LIMIT', `${what} more than ${limit / 1024 / 1024} MiB`);
  if (bytes > configLimits.fileBytes) return tooBig('the file has', configLimits.fileBytes);
  if (totalBytes > configLimits.totalBytes) return tooBig('with this file the directory has', configLimits.totalBytes);
  for (const node of readYamlDocuments(file.text, report)) yield { node, path: '', report };
}

function readMesh(places: Iterable<Place>, earlier: MeshSettings | undefined): MeshSettings | undefined {
  let mesh = earlier;
  for (const place of places) {
    if (mesh !== undefined)
      errorAt(place, 'ENMESH_CONFIG_DUPLICATE', 'MeshConfig is given twice', 'keep one document in enmesh/mesh.yaml');
    mesh ??= meshConfig(place);
  }
  return mesh;
}

function gather(mesh: MeshSettings, found: ReadonlyMap<KnownKind, readonly Resource<object>[]>): MeshResources {
  // Each list holds what the shape of its kind has decoded.
  const of = <T extends Resource<object>>(kind: KnownKind): readonly T[] => (found.get(kind) ?? []) as readonly T[];
  const peerAuthentications = of<PeerAuthentication>('PeerAuthentication');
  return {
    mesh,
    peerAuthentications,
    requestAuthentications: of<RequestAuthentication>('RequestAuthentication'),
    authorizationPolicies: of<AuthorizationPolicy>('AuthorizationPolicy'),
    registry: {
      services: of<KubernetesService>('Service'),
      serviceEntries: of<ServiceEntry>('ServiceEntry'),
      workloadEntries: of<WorkloadEntry>('WorkloadEntry'),
      destinationRules: of<DestinationRule>('DestinationRule'),
      peerAuthentications,
    },
    tokenPropagations: of<TokenPropagation>('TokenPropagation'),
  };
}

function countRules(resources: MeshResources): number {
  const count = (rules: readonly (JwtRuleSpec | object)[] | undefined): number => rules?.length ?? 0;
  return (
    resources.authorizationPolicies.reduce((sum, one) => sum + count(one.spec.rules), 0) +
    resources.requestAuthentications.reduce((sum, one) => sum + count(one.spec.jwtRules), 0)
  );
}
