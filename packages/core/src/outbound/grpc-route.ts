import { isIP, type Socket } from 'node:net';
import type { GrpcRoute } from '../custom/grpc-package.js';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { X509Svid } from '../identity/svid.js';
import type { VerifiedServer } from '../tls/client.js';
import { openTarget } from './connector.js';
import { bundlesOf, pinIdentity, usesIdentity } from './epoch.js';
import { defaultConnectTimeoutMs, type OutboundOptions } from './options.js';
import { planCall, type CallPlan, type PlanSources, type RefusedPlan, type ServicePlan, type Target } from './plan.js';
import { reportConnection, reportRefusedConnection } from './report.js';
import { createServers, type Servers } from './servers.js';

/** As a sidecar offers to a service that speaks HTTP/2. */
const grpcAlpn = ['istio-h2', 'istio', 'h2'];

/** Whom gRPC shall speak to. */
export interface GrpcService {
  readonly host: string;
  readonly port: number;
  /** A host that nobody declares is refused, whatever `outboundTrafficPolicy` says. */
  readonly declaredOnly: boolean;
}

/** A route with what its calls carry is decided by. */
export interface CarryingRoute extends GrpcRoute {
  /** The SVID that its connections show; undefined where they show none. */
  readonly svid: X509Svid | undefined;
  /** The plan of calls that begin now: that of the configuration in force, under which the connections are still the right ones. */
  plan(): LivePlan;
}

type LivePlan = Exclude<CallPlan, RefusedPlan>;

interface Known {
  readonly route: CarryingRoute;
  readonly servers: Servers;
  readonly key: string;
  readonly svid: unknown;
  readonly bundles: unknown;
}

/**
 * The way to a service that speaks gRPC, planned as any call of this workload: made anew when configuration or identity change,
 * and when the certificate of a server ends that it led to.
 * Throws `ENMESH_OUTBOUND_*` where a call would be refused, and `ENMESH_IDENTITY_NONE`.
 */
export function createGrpcRoute(options: OutboundOptions, service: GrpcService): () => CarryingRoute {
  let planned: { readonly snapshot: PlanSources; readonly plan: LivePlan } | undefined;
  let known: Known | undefined;
  return () => {
    const snapshot = options.snapshot();
    if (planned?.snapshot !== snapshot) planned = { snapshot, plan: planOf(snapshot, service) };
    const { plan } = planned;
    const isMutual = plan.kind === 'service' && usesIdentity(plan);
    const key = plan.kind === 'service' ? plan.key : service.host;
    const svid = isMutual ? options.identity.svid.current() : undefined;
    const bundles = isMutual ? options.identity.bundles.current() : undefined;
    const isSame = known?.key === key && known.svid === svid && known.bundles === bundles;
    if (known !== undefined && isSame && (options.clock ?? Date.now)() < known.servers.until) return known.route;
    const servers = createServers();
    const way = plan.kind === 'service' ? routeOf(options, plan, servers) : plainRoute(service.host, service.port);
    const route = { ...way, svid, plan: () => planned?.plan ?? plan };
    known = { route, servers, key, svid, bundles };
    return route;
  };
}

function planOf(snapshot: PlanSources, { host, port, declaredOnly }: GrpcService): LivePlan {
  const plan = planCall(snapshot, { protocol: 'http:', host, port });
  if (plan.kind === 'refused') throw plan.error;
  if (plan.kind === 'pass' && declaredOnly)
    throw new EnmeshError(
      'ENMESH_OUTBOUND_UNDECLARED',
      `${plan.undeclaredPort ?? `no service declares ${host}:${port}`}, and the mesh secures nothing else`,
    );
  return plan;
}

/** A host that the mesh has no part in, as outboundTrafficPolicy allows. */
function plainRoute(address: string, port: number): GrpcRoute {
  return { targets: [{ address, port }], secure: (socket) => Promise.resolve(socket) };
}

function routeOf(options: OutboundOptions, plan: ServicePlan, servers: Servers): GrpcRoute {
  const { clock = Date.now } = options;
  const identity = pinIdentity(options.identity, plan);
  const timeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs;
  return {
    targets: plan.targets,
    async secure(socket) {
      const target = targetOf(plan, socket);
      return new Promise<Socket>((done, fail) => {
        const settle = (error: Error | null, secured: Socket | null, server?: VerifiedServer): void => {
          if (secured !== null) {
            if (server !== undefined) servers.add(server);
            reportConnection(plan, target, secured);
            return done(secured);
          }
          if (isEnmeshError(error)) reportRefusedConnection(plan, target, error);
          fail(error ?? new EnmeshError('ENMESH_OUTBOUND_CONNECT', `${plan.service} gave no connection`));
        };
        openTarget({ plan, identity, timeoutMs, clock }, target, settle, { socket, alpn: grpcAlpn });
      });
    },
    isDistrusted() {
      const bundles = bundlesOf(options.identity);
      return (
        servers.until <= clock() || (servers.until < Infinity && (bundles === undefined || !servers.isTrusted(bundles, clock())))
      );
    },
  };
}

/**
 * The target that a connection leads to. Where that cannot be told by its address, all targets must be of one mode; in the clear it must be one of
 * theirs, unless they are known by name only: what nothing proves at least has to be at the right address.
 */
function targetOf({ targets, service }: ServicePlan, socket: Socket): Target {
  const found = targets.find(
    ({ address, port }) => address.replace(/^\[|\]$/g, '') === socket.remoteAddress && port === socket.remotePort,
  );
  const [first] = targets;
  const isAnyGood = targets.every(({ tls, address }) => tls === first?.tls && (tls !== 'DISABLE' || isIP(address) === 0));
  const target = found ?? (isAnyGood ? first : undefined);
  if (target === undefined)
    throw new EnmeshError('ENMESH_OUTBOUND_CONNECT', `the connection leads to none of the endpoints of ${service}`);
  return target;
}
