/** `@enmesh/core/config`: reading, validating and compiling a configuration directory without a mesh, for the command line and for tools. */
export { createDirectorySource, type ConfigSource, type DirectorySourceOptions } from './directory.js';
export { formatProblem, type ConfigProblem } from './problem.js';
export type { DevIdentitySettings, IdentitySettings } from './identity-settings.js';
export { parseServiceFile, type ServiceFile } from './service-file.js';
export { compileSnapshot, type MeshSnapshot } from './snapshot.js';
export { configLimits, validateDocuments, type ConfigFile, type MeshResources, type ValidationResult } from './validate.js';
export type { MeshSettings } from './mesh-config.js';
export type { Registry } from './registry.js';
export {
  isSelected,
  sourceOfRule,
  type Resource,
  type ResourceMeta,
  type SourcePosition,
  type Workload,
} from '../identity/workload.js';
export type { RequestAuthentication } from '../jwt/resource.js';
export { isDryRun } from '../policy/compile.js';
export type { AuthorizationPolicy, PolicyRule } from '../policy/resource.js';
export { acceptSettings, type AcceptSettings } from '../tls/accept-settings.js';
export { compileTlsModes, type TlsMode, type TlsModes } from '../tls/mode.js';
export type { PeerAuthentication } from '../tls/resource.js';
export { warnForWorkload, type WorkloadFacts } from './workload-doubts.js';
