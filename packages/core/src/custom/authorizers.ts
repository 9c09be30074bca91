import { EnmeshError } from '../errors.js';
import type { ExtensionProvider, GrpcProvider } from '../policy/provider.js';
import type { CustomAuthorizer } from './contract.js';
import { createHttpAuthorizer, type CheckExchange } from './http-check.js';

/** The authorizers of a mesh: one for each provider in force, made when first asked. */
export interface Authorizers {
  of(provider: ExtensionProvider): CustomAuthorizer;
  /** Ends those whose provider is not in force any more. */
  use(providers: readonly ExtensionProvider[]): void;
  close(): void;
}

/** How authorizers are reached. */
export interface AuthorizersOptions {
  readonly exchange: CheckExchange;
  /** Makes a gRPC authorizer; throws `ENMESH_CUSTOM_GRPC_MISSING` where the package for it is not installed. */
  readonly grpc: (provider: GrpcProvider) => CustomAuthorizer;
}

/** Creates the authorizers of a mesh. A provider that a reload leaves as it was keeps its connections. */
export function createAuthorizers({ exchange, grpc }: AuthorizersOptions): Authorizers {
  const open = new Map<string, CustomAuthorizer>();
  const keys = new WeakMap<ExtensionProvider, string>();
  let isClosed = false;
  const keyOf = (provider: ExtensionProvider): string => {
    let key = keys.get(provider);
    if (key === undefined) keys.set(provider, (key = JSON.stringify(provider)));
    return key;
  };
  return {
    of(provider) {
      if (isClosed) throw new EnmeshError('ENMESH_MESH_CLOSED', 'an authorizer was asked for after mesh.close()');
      const key = keyOf(provider);
      let authorizer = open.get(key);
      if (authorizer === undefined) {
        authorizer = provider.kind === 'http' ? createHttpAuthorizer(provider, exchange) : grpc(provider);
        open.set(key, authorizer);
      }
      return authorizer;
    },
    use(providers) {
      const inForce = new Set(providers.map(keyOf));
      for (const [key, authorizer] of open) {
        if (inForce.has(key)) continue;
        open.delete(key);
        authorizer.close();
      }
    },
    close() {
      isClosed = true;
      for (const authorizer of open.values()) authorizer.close();
      open.clear();
    },
  };
}
