/**
 * `@enmesh/core/grpc`: clients of `@grpc/grpc-js` whose connections are the mesh's. The application brings grpc-js; core does not depend on it.
 */
import type { GrpcRoute } from '../custom/grpc-package.js';
import { carryGrpc, type GrpcCall } from './grpc-carry.js';
import { MeshChannel, type ChannelOptions } from './grpc-channel.js';
import { createRouteCredentials, type CredentialsOf, type GrpcModule } from './grpc-credentials.js';
import { createGrpcRoute, type CarryingRoute } from './grpc-route.js';
import { watchIdentity } from './epoch.js';
import { outboundOf } from './registered.js';
import { expirySweepMs } from './servers.js';

export type { CredentialsOf, GrpcModule } from './grpc-credentials.js';
export type { GrpcRoute } from '../custom/grpc-package.js';

/** What the constructor of a grpc-js client takes. */
export interface GrpcConnection<G extends GrpcModule> {
  readonly target: string;
  readonly credentials: CredentialsOf<G>;
  /** To be joined with options of the application's own: `{...options, 'grpc.max_receive_message_length': 65536}`. */
  readonly options: {
    readonly channelFactoryOverride: (
      target: string,
      credentials: CredentialsOf<G>,
      options: object,
    ) => InstanceType<G['Channel']>;
  };
}

/**
 * Target, credentials and options for a client of grpc-js that calls a declared service: mode, server name, ALPN (`istio-h2, istio, h2`) and secure naming as
 * for every call of the mesh. A new SVID, trust bundle or configuration counts from the next call; calls in flight finish on the connection they have.
 * Calls that the mesh refuses end with UNAVAILABLE and our code in `details`. `authority` is `host:port`, the port that of the service.
 *
 * @example
 * const { target, credentials, options } = createGrpcCredentials(grpc, mesh, 'stock.shop.svc.cluster.local:50051');
 * const stock = new StockClient(target, credentials, options);
 */
export function createGrpcCredentials<G extends GrpcModule>(grpc: G, mesh: object, authority: string): GrpcConnection<G> {
  const { host, port } = parseAuthority(authority);
  const { options, closers } = outboundOf(mesh);
  const route = createGrpcRoute(options, { host, port, declaredOnly: true });
  const origin = `http://${authority}`;
  const shape = (call: object, { svid, plan }: CarryingRoute, path: string): void =>
    carryGrpc({ grpc, options, plan: plan(), svid, origin, path }, call as GrpcCall);
  return connectionOf(grpc, { authority, route, shape: shape as ChannelOptions['shape'] }, (channel) => {
    const unattend = attended(channel, (onChange) => watchIdentity(options.identity, onChange));
    const close = (deadlineMs: number): Promise<void> => channel.finish(deadlineMs);
    closers.add(close);
    return () => {
      closers.delete(close);
      unattend();
    };
  });
}

/** {@link createGrpcCredentials} for a service whose route is given, and what tells of a new identity; for `@enmesh/ext-authz`. */
export function createRouteConnection<G extends GrpcModule>(
  grpc: G,
  authority: string,
  route: () => GrpcRoute,
  watch: (onChange: () => void) => () => void = () => () => {},
): GrpcConnection<G> {
  return connectionOf(grpc, { authority, route }, (channel) => attended(channel, watch));
}

/** Has a channel look again at each change, and now and then: certificates of servers end without one. */
function attended(channel: MeshChannel, watch: (onChange: () => void) => () => void): () => void {
  const sweeper = setInterval(() => channel.refresh(), expirySweepMs).unref();
  const stop = watch(() => channel.refresh());
  return () => {
    clearInterval(sweeper);
    stop();
  };
}

function connectionOf<G extends GrpcModule>(
  grpc: G,
  { authority, route, shape }: Pick<ChannelOptions, 'authority' | 'route' | 'shape'>,
  attend: (channel: MeshChannel) => () => void,
): GrpcConnection<G> {
  return {
    target: authority,
    // Whoever forgets the options still gets no connection but the mesh's.
    credentials: createRouteCredentials(grpc, async (socket) => route().secure(socket)),
    options: {
      channelFactoryOverride(_target, _credentials, given) {
        const channel: MeshChannel = new MeshChannel({ grpc, authority, route, shape, given }, () => stop());
        const stop = attend(channel);
        return channel as unknown as InstanceType<G['Channel']>;
      },
    },
  };
}

function parseAuthority(authority: string): { readonly host: string; readonly port: number } {
  const parts = /^(\[[^\]]+\]|[^:[\]/]+):(\d{1,5})$/.exec(authority);
  if (parts === null) throw new TypeError('the address of a gRPC service is written host:port');
  return { host: String(parts[1]), port: Number(parts[2]) };
}
