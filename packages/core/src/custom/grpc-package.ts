import type { Socket } from 'node:net';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { EnmeshError } from '../errors.js';
import type { ExtensionProvider, GrpcProvider } from '../policy/provider.js';
import type { CustomAuthorizer } from './contract.js';

/** How the service of a gRPC provider is reached now. */
export interface GrpcRoute {
  /** IP addresses, or names that the resolver of the system knows. */
  readonly targets: readonly { readonly address: string; readonly port: number }[];
  /** Makes of a fresh TCP connection to a target what the mesh says: mutual TLS with secure naming, or the connection itself. Rejects when in doubt. */
  secure(socket: Socket): Promise<Socket>;
  /** Whether a server that it led to would not be accepted any more: what is in flight there has 15 s to finish. */
  isDistrusted?(): boolean;
}

/** What a gRPC authorizer is made of. */
export interface GrpcAuthorizerOptions {
  readonly provider: GrpcProvider;
  /** Asked at each check; the same object comes back while configuration and identity stay. Throws when the call would be refused. */
  readonly route: () => GrpcRoute;
  /** Tells when the identity of this workload or its trust bundles have changed, until it is stopped: connections of before are then retired unasked. */
  readonly watch?: (onChange: () => void) => () => void;
}

/** What `@enmesh/ext-authz` exports. */
export interface ExtAuthzModule {
  createGrpcAuthorizer(options: GrpcAuthorizerOptions): CustomAuthorizer;
}

const packageName = '@enmesh/ext-authz';

/** Loads the package for gRPC where a provider asks for it; undefined when it is not installed, beside us or in the application. */
export function loadExtAuthz(): ExtAuthzModule | undefined {
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      const load = createRequire(from);
      return load(packageName) as ExtAuthzModule;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isAbsent = code === 'MODULE_NOT_FOUND' && message.includes(packageName);
      if (!isAbsent)
        throw new EnmeshError('ENMESH_CUSTOM_GRPC_MISSING', `${packageName} cannot be loaded: ${code ?? message}`, {
          cause: error,
        });
    }
  }
  return undefined;
}

/** Gives the package for gRPC, loading it once; throws `ENMESH_CUSTOM_GRPC_MISSING` where it is not installed. */
export function createGrpcPackage(
  load: () => ExtAuthzModule | undefined,
): (provider: Pick<GrpcProvider, 'name'>) => ExtAuthzModule {
  let loaded: ExtAuthzModule | undefined;
  return ({ name }) => {
    loaded ??= load();
    if (loaded !== undefined) return loaded;
    throw new EnmeshError(
      'ENMESH_CUSTOM_GRPC_MISSING',
      `extensionProviders: ${name} is an envoyExtAuthzGrpc provider, and ${packageName} is not installed; npm install ${packageName}`,
    );
  };
}

/** Refuses a configuration whose gRPC providers cannot be asked. */
export function requireGrpc(providers: readonly ExtensionProvider[], grpc: (provider: GrpcProvider) => unknown): void {
  for (const provider of providers) if (provider.kind === 'grpc') grpc(provider);
}
