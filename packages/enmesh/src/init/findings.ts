import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { readDocuments, type SourceDocument } from '../convert/document.js';

/** What can be found out about a service from its folder. */
export interface Findings {
  readonly name: string;
  readonly framework: 'express' | 'fastify' | 'node';
  /** Whether its code is CommonJS (package.json without `"type": "module"`). */
  readonly isCommonJs: boolean;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Where namespace, account and labels come from; undefined when they are guessed from the name. */
  readonly manifest: string | undefined;
}

const manifestFolders = ['.', 'k8s', 'kube', 'kubernetes', 'manifests', 'deploy', 'deployment', 'deployments', 'infra'];
const workloadKinds = ['Deployment', 'StatefulSet', 'DaemonSet', 'Pod', 'Job', 'ReplicaSet'];

/** Looks at package.json and at Kubernetes manifests in a folder and its usual sub-folders. Never fails: what cannot be read is not known. */
export async function inspectService(directory: string): Promise<Findings> {
  const manifest = await readManifest(join(directory, 'package.json'));
  const name = serviceName(typeof manifest['name'] === 'string' ? manifest['name'] : basename(resolve(directory)));
  const dependencies = { ...asRecord(manifest['dependencies']), ...asRecord(manifest['devDependencies']) };
  const framework = ['fastify', 'express'].find((one) => one in dependencies) as 'express' | 'fastify' | undefined;
  const workload = pickWorkload(await readWorkloads(directory), name);
  const podNamespace = workload === undefined || workload.source.namespace === '' ? undefined : workload.source.namespace;
  return {
    name,
    framework: framework ?? 'node',
    isCommonJs: manifest['type'] !== 'module',
    namespace: label(podNamespace) ?? 'default',
    serviceAccount: workload === undefined ? name : (label(workload.serviceAccount) ?? 'default'),
    labels: workload?.labels ?? { app: name },
    manifest: workload && `${workload.source.kind} ${workload.source.name} (${workload.source.file}:${workload.source.line})`,
  };
}

interface FoundWorkload {
  readonly source: SourceDocument;
  readonly labels: Readonly<Record<string, string>>;
  readonly serviceAccount: string | undefined;
}

async function readWorkloads(directory: string): Promise<readonly FoundWorkload[]> {
  const found: FoundWorkload[] = [];
  for (const folder of manifestFolders) {
    const names = await readdir(join(directory, folder)).catch((): string[] => []);
    for (const name of names
      .filter((one) => /^[^.].*\.ya?ml$/i.test(one))
      .toSorted()
      .slice(0, 200)) {
      const path = join(directory, folder, name);
      const size = await stat(path).then(
        (one) => (one.isFile() ? one.size : Infinity),
        () => Infinity,
      );
      if (size > 1024 * 1024) continue;
      const text = await readFile(path, 'utf8').catch(() => '');
      const { documents } = readDocuments({ file: join(folder, name), text, namespace: '' });
      found.push(...documents.flatMap((document) => workloadOf(document) ?? []));
    }
  }
  return found;
}

function workloadOf(source: SourceDocument): FoundWorkload | undefined {
  if (!workloadKinds.includes(source.kind)) return undefined;
  const template =
    source.kind === 'Pod'
      ? { spec: source.spec, metadata: { labels: source.labels } }
      : asRecord(asRecord(source.spec)['template']);
  const labels = Object.entries(asRecord(asRecord(template['metadata'])['labels']));
  const account = asRecord(template['spec'])['serviceAccountName'];
  return {
    source,
    labels: Object.fromEntries(labels.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
    serviceAccount: typeof account === 'string' ? account : undefined,
  };
}

/** The workload of the service's name, or the only one there is. */
function pickWorkload(workloads: readonly FoundWorkload[], name: string): FoundWorkload | undefined {
  const named = workloads.filter((one) => one.source.name === name || Object.values(one.labels).includes(name));
  return named[0] ?? (workloads.length === 1 ? workloads[0] : undefined);
}

async function readManifest(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return asRecord(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return {};
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** A package name as a Kubernetes name: without its scope, lower case, letters, digits and dashes. */
function serviceName(text: string): string {
  const name = text
    .replace(/^@[^/]*\//, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return name === '' ? 'service' : name;
}

function label(text: string | undefined): string | undefined {
  return text !== undefined && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text) ? text : undefined;
}
