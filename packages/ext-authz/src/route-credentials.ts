import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { GrpcRoute } from '@enmesh/core/custom';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/**
 * Channel credentials by which the mesh secures each connection that grpc-js has dialled. The underscored members are grpc-js' own seam for such
 * classes; its versions are therefore pinned to one minor line.
 */
export class RouteCredentials extends ChannelCredentials {
  readonly #route: GrpcRoute;

  constructor(route: GrpcRoute) {
    super();
    this.#route = route;
  }

  override _isSecure(): boolean {
    return false;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(_target: unknown, _options: unknown, call?: CallCredentials): SecureConnector {
    const route = this.#route;
    return {
      async connect(dialled) {
        const socket = await route.secure(dialled);
        return { socket, secure: socket instanceof TLSSocket };
      },
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => call ?? CallCredentials.createEmpty(),
      destroy() {},
    };
  }
}

/** The targets of a route as a grpc-js target: a list of addresses of one family, or one name for the resolver. */
export function targetOf({ targets }: GrpcRoute): string {
  const [first] = targets;
  if (first === undefined) throw new Error('the authorizer has no endpoint');
  const bare = (address: string): string => address.replace(/^\[|\]$/g, '');
  const family = isIP(bare(first.address));
  if (family === 0) return `dns:///${first.address}:${first.port}`;
  const same = targets.filter(({ address }) => isIP(bare(address)) === family);
  const written = same.map(({ address, port }) => (family === 6 ? `[${bare(address)}]:${port}` : `${address}:${port}`));
  return `ipv${family}:${written.join(',')}`;
}
