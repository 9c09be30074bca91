import { EnmeshError } from '../errors.js';
import type { Workload } from '../identity/workload.js';
import { quote } from './problem.js';
import type { ServiceFile } from './service-file.js';
import { isDnsLabel, isObjectName } from './validate/values.js';

/** What code may say of the workload itself. */
interface WorkloadOptions {
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

interface NameRule {
  readonly variable: 'POD_NAMESPACE' | 'SERVICE_ACCOUNT';
  readonly what: string;
  readonly isGood: (name: string) => boolean;
}

const namespaceRule: NameRule = {
  variable: 'POD_NAMESPACE',
  what: 'namespace (lower-case letters, digits and "-")',
  isGood: isDnsLabel,
};
const accountRule: NameRule = {
  variable: 'SERVICE_ACCOUNT',
  what: 'service account (lower-case letters, digits, "-" and ".")',
  isGood: isObjectName,
};

/**
 * Who the workload is, by code, environment and service file, in this order; an empty variable says nothing. Throws `ENMESH_CONFIG_NAMESPACE_MISSING`,
 * `ENMESH_CONFIG_WORKLOAD_INVALID` for a variable that is no name Kubernetes allows (code: `TypeError`), `ENMESH_CONFIG_LABELS_INVALID`.
 */
export function workloadOf(options: WorkloadOptions, env: NodeJS.ProcessEnv, file: ServiceFile): Workload {
  const namespace = nameOf('namespace', options.namespace, env, namespaceRule) ?? file.namespace;
  if (namespace === undefined || namespace === '') {
    throw new EnmeshError(
      'ENMESH_CONFIG_NAMESPACE_MISSING',
      'no namespace of this workload is given: set `namespace` in enmesh.yaml, POD_NAMESPACE, or createMesh({namespace})',
    );
  }
  return {
    namespace,
    serviceAccount: nameOf('serviceAccount', options.serviceAccount, env, accountRule) ?? file.serviceAccount ?? 'default',
    labels: options.labels ?? parseLabels(env.ENMESH_LABELS) ?? file.labels ?? {},
  };
}

/** A name that no document can have would leave every policy out of force, without a word. */
function nameOf(
  option: 'namespace' | 'serviceAccount',
  given: string | undefined,
  env: NodeJS.ProcessEnv,
  { variable, what, isGood }: NameRule,
): string | undefined {
  if (given !== undefined) {
    if (given !== '' && !isGood(given)) throw new TypeError(`createMesh: ${option} ${quote(given)} is no ${what}`);
    return given;
  }
  const said = env[variable];
  if (said === undefined || said === '') return undefined;
  if (!isGood(said)) throw new EnmeshError('ENMESH_CONFIG_WORKLOAD_INVALID', `${variable}: ${quote(said)} is no ${what}`);
  return said;
}

/** `app=product,version=v1`, as in kubectl's -l. */
function parseLabels(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const labels: Record<string, string> = {};
  for (const item of text.split(',')) {
    const at = item.indexOf('=');
    if (at <= 0)
      throw new EnmeshError(
        'ENMESH_CONFIG_LABELS_INVALID',
        `ENMESH_LABELS: \`${item}\` is not name=value; write app=product,version=v1`,
      );
    labels[item.slice(0, at).trim()] = item.slice(at + 1).trim();
  }
  return labels;
}
