import type { Dispatcher } from 'undici';
import type { MeshResources } from '../config/validate.js';
import { createAuthorizers, type Authorizers } from '../custom/authorizers.js';
import { createGrpcPackage, loadExtAuthz, requireGrpc, type ExtAuthzModule } from '../custom/grpc-package.js';
import { originOf } from '../custom/http-check.js';
import { createCheckExchange } from '../outbound/check-exchange.js';
import { watchIdentity } from '../outbound/epoch.js';
import { createGrpcRoute } from '../outbound/grpc-route.js';
import type { OutboundOptions } from '../outbound/options.js';

/** The external authorizers of a mesh, before and after it has a configuration. */
export interface AuthorizerFactory {
  /** Throws `ENMESH_CUSTOM_GRPC_MISSING` for a configuration whose gRPC providers cannot be asked. */
  readonly admit: (resources: MeshResources) => void;
  open(outbound: OutboundOptions, dispatcher: () => Dispatcher): Authorizers;
}

/** Prepares the external authorizers. `given` is the package for gRPC where the application brings it. */
export function prepareAuthorizers(given: ExtAuthzModule | undefined): AuthorizerFactory {
  const grpcPackage = createGrpcPackage(() => given ?? loadExtAuthz());
  return {
    admit: ({ mesh }) => requireGrpc(mesh.extensionProviders, grpcPackage),
    open: (outbound, dispatcher) =>
      createAuthorizers({
        exchange: createCheckExchange(dispatcher),
        grpc: (provider) => {
          const { hostname: host } = new URL(originOf(provider));
          const route = createGrpcRoute(outbound, { host, port: provider.port, declaredOnly: false });
          const watch = (onChange: () => void): (() => void) => watchIdentity(outbound.identity, onChange);
          return grpcPackage(provider).createGrpcAuthorizer({ provider, route, watch });
        },
      }),
  };
}
