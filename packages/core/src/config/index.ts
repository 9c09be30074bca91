/** `@enmesh/core/config`: reading, validating and compiling a configuration directory without a mesh, for the command line and for tools. */
export { createDirectorySource, type ConfigSource, type DirectorySourceOptions } from './directory.js';
export { formatProblem, type ConfigProblem } from './problem.js';
export { parseServiceFile, type DevIdentitySettings, type ServiceFile } from './service-file.js';
export { compileSnapshot, type MeshSnapshot } from './snapshot.js';
export { configLimits, validateDocuments, type ConfigFile, type MeshResources, type ValidationResult } from './validate.js';
