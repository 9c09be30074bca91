import { isIP, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { GrpcRoute } from '../custom/grpc-package.js';
import { EnmeshError } from '../errors.js';

/**
 * What of `@grpc/grpc-js` is used here, in the shapes of its own types: core does not depend on the package, the application brings it.
 * The members of channel credentials that begin with an underscore are grpc-js' own seam for classes of this kind, so its versions are 1.13 and 1.14.
 */
export interface GrpcModule {
  readonly ChannelCredentials: abstract new () => unknown;
  readonly CallCredentials: {
    createEmpty(): unknown;
    createFromMetadataGenerator(
      generate: (options: object, done: (error: Error | null, metadata?: never) => void) => void,
    ): unknown;
  };
  readonly Channel: new (target: string, credentials: never, options: object) => unknown;
  readonly Metadata: new () => unknown;
}

/** The channel credentials of a grpc-js module. */
export type CredentialsOf<G extends GrpcModule> = InstanceType<G['ChannelCredentials']>;

/** Channel credentials by which the mesh secures each connection that grpc-js has dialled. Whatever `secure` rejects is no connection. */
export function createRouteCredentials<G extends GrpcModule>(grpc: G, secure: GrpcRoute['secure']): CredentialsOf<G> {
  const Base = grpc.ChannelCredentials as unknown as new () => object;
  class RouteCredentials extends Base {
    /** False, or grpc-js would have a certificate for the host asked for. */
    _isSecure(): boolean {
      return false;
    }

    _equals(other: unknown): boolean {
      return this === other;
    }

    _createSecureConnector(_target: unknown, _options: unknown, call?: unknown): object {
      return {
        async connect(dialled: Socket) {
          const socket = await secure(dialled);
          return { socket, secure: socket instanceof TLSSocket };
        },
        waitForReady: () => Promise.resolve(),
        getCallCredentials: () => call ?? grpc.CallCredentials.createEmpty(),
        destroy() {},
      };
    }
  }
  return new RouteCredentials() as CredentialsOf<G>;
}

/**
 * The targets of a route as grpc-js writes them: a list of addresses of one family, or one name for the resolver of the system.
 * Throws `ENMESH_OUTBOUND_UNREACHABLE` without any.
 */
export function grpcTargetOf({ targets }: GrpcRoute): string {
  const [first] = targets;
  if (first === undefined) throw new EnmeshError('ENMESH_OUTBOUND_UNREACHABLE', 'the service has no endpoint');
  const bare = (address: string): string => address.replace(/^\[|\]$/g, '');
  const family = isIP(bare(first.address));
  if (family === 0) return `dns:///${first.address}:${first.port}`;
  const same = targets.filter(({ address }) => isIP(bare(address)) === family);
  const written = same.map(({ address, port }) => (family === 6 ? `[${bare(address)}]:${port}` : `${address}:${port}`));
  return `ipv${family}:${written.join(',')}`;
}
