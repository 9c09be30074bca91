import { dirname, join, relative, resolve } from 'node:path';
import { existsSync } from 'node:fs';
import {
  createDirectorySource,
  formatProblem,
  parseServiceFile,
  validateDocuments,
  type MeshResources,
  type RequestAuthentication,
  type ServiceFile,
  type Workload,
} from '@enmesh/core/config';
import { isEnmeshError } from '@enmesh/core';
import { MisuseError } from '../output.js';
import { readSingle } from '../validate/inputs.js';

/** What a question is asked of: a workload, and the configuration that holds for it. */
export interface Configuration {
  readonly directory: string;
  readonly workload: Workload;
  readonly service: ServiceFile;
  readonly resources: MeshResources;
}

/** Options of every command that reads a configuration for a workload. */
export interface ConfigurationOptions {
  /** The configuration directory; default what the workload's file says. */
  readonly config?: string;
  /** The workload's file; default `enmesh.yaml` where it exists. */
  readonly workload?: string;
}

/** Reads workload and configuration as `createMesh` would. Throws `MisuseError` with every error of the documents. */
export async function readConfiguration(options: ConfigurationOptions): Promise<Configuration> {
  const file = options.workload ?? (existsSync('enmesh.yaml') ? 'enmesh.yaml' : undefined);
  if (file === undefined) throw new MisuseError('which workload is asked? Name its enmesh.yaml with --workload FILE');
  const service = parsedServiceFile(await readSingle(file), file);
  const { namespace, serviceAccount = 'default', labels = {} } = service;
  if (namespace === undefined) throw new MisuseError(`${file} names no namespace`);
  if (options.config === undefined && service.config === undefined)
    throw new MisuseError(`no configuration directory: name it with --config DIR, or with \`config\` in ${file}`);
  const directory = options.config ?? (relative('', resolve(dirname(file), service.config ?? '')) || '.');
  return { directory, workload: { namespace, serviceAccount, labels }, service, resources: await readResources(directory) };
}

/** Reads and validates a configuration directory. Throws `MisuseError` with every error. */
export async function readResources(directory: string): Promise<MeshResources> {
  const files = await createDirectorySource({ path: directory })
    .read()
    .catch((error: unknown) => {
      throw isEnmeshError(error) ? new MisuseError(error.message) : error;
    });
  const { resources, problems } = validateDocuments(files);
  if (resources !== undefined) return resources;
  const errors = problems.filter(({ level }) => level === 'error');
  const lines = errors.map((problem) => formatProblem({ ...problem, file: join(directory, problem.file) }));
  throw new MisuseError(`the configuration is not valid:\n${lines.join('\n')}`);
}

function parsedServiceFile(text: string, file: string): ServiceFile {
  try {
    return parseServiceFile(text, file);
  } catch (error) {
    throw isEnmeshError(error) ? new MisuseError(error.message) : error;
  }
}

/** The configuration with other keys for some issuers: what `jwksOf` gives takes the place of `jwks` and `jwksUri`. */
export function withKeys(resources: MeshResources, jwksOf: (issuer: string) => string | undefined): MeshResources {
  const requestAuthentications = resources.requestAuthentications.map((policy): RequestAuthentication => {
    const jwtRules = policy.spec.jwtRules?.map((rule) => {
      const jwks = jwksOf(rule.issuer ?? '');
      if (jwks === undefined) return rule;
      const { jwksUri: _, ...rest } = rule;
      return { ...rest, jwks };
    });
    return jwtRules === undefined ? policy : { ...policy, spec: { ...policy.spec, jwtRules } };
  });
  return { ...resources, requestAuthentications };
}
