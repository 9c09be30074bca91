import type { Socket } from 'node:net';
import type { GrpcRoute } from '../custom/grpc-package.js';
import { originOf } from '../custom/http-check.js';
import { EnmeshError } from '../errors.js';
import type { GrpcProvider } from '../policy/provider.js';
import { openTarget } from './connector.js';
import { pinIdentity } from './epoch.js';
import { defaultConnectTimeoutMs, type OutboundOptions } from './options.js';
import { planCall, type ServicePlan, type Target } from './plan.js';

/** As a sidecar offers to a service that speaks HTTP/2. */
const grpcAlpn = ['istio-h2', 'istio', 'h2'];

/**
 * The way to the service of a gRPC provider, planned as any call of this workload: made anew when configuration or identity change.
 * Throws `ENMESH_OUTBOUND_*` where a call would be refused.
 */
export function createGrpcRoute(options: OutboundOptions, provider: GrpcProvider): () => GrpcRoute {
  let known: { readonly route: GrpcRoute; readonly key: string; readonly svid: unknown; readonly bundles: unknown } | undefined;
  return () => {
    const { hostname } = new URL(originOf(provider));
    const plan = planCall(options.snapshot(), { protocol: 'http:', host: hostname, port: provider.port });
    if (plan.kind === 'refused') throw plan.error;
    const isMutual = plan.kind === 'service' && plan.targets.some(({ tls }) => tls === 'ISTIO_MUTUAL');
    const key = plan.kind === 'service' ? plan.key : hostname;
    const svid = isMutual ? options.identity.svid.current() : undefined;
    const bundles = isMutual ? options.identity.bundles.current() : undefined;
    if (known?.key === key && known.svid === svid && known.bundles === bundles) return known.route;
    const route = plan.kind === 'service' ? routeOf(options, plan) : plainRoute(hostname, provider.port);
    known = { route, key, svid, bundles };
    return route;
  };
}

/** A host that the mesh has no part in, as outboundTrafficPolicy allows. */
function plainRoute(address: string, port: number): GrpcRoute {
  return { targets: [{ address, port }], secure: (socket) => Promise.resolve(socket) };
}

function routeOf(options: OutboundOptions, plan: ServicePlan): GrpcRoute {
  const identity = pinIdentity(options.identity, plan);
  const timeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs;
  return {
    targets: plan.targets,
    secure(socket) {
      const target = targetOf(plan, socket);
      return new Promise<Socket>((done, fail) => {
        const settle = (error: Error | null, secured: Socket | null): void => {
          if (secured !== null) return done(secured);
          fail(error ?? new EnmeshError('ENMESH_OUTBOUND_CONNECT', `${plan.service} gave no connection`));
        };
        openTarget({ plan, identity, timeoutMs }, target, settle, { socket, alpn: grpcAlpn });
      });
    },
  };
}

/** The target that a connection leads to. Where that cannot be told by its address, all targets must be of one mode. */
function targetOf({ targets, service }: ServicePlan, socket: Socket): Target {
  const found = targets.find(({ address, port }) => address === socket.remoteAddress && port === socket.remotePort);
  const [first] = targets;
  const target = found ?? (targets.every(({ tls }) => tls === first?.tls) ? first : undefined);
  if (target === undefined)
    throw new EnmeshError('ENMESH_OUTBOUND_CONNECT', `${service} has endpoints of several modes, and this is none of them`);
  return target;
}
