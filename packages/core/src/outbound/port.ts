import type { KubernetesPort } from '../config/registry.js';

/** A service's port with what its protocol means to a client. */
export interface CompiledPort {
  readonly number: number;
  readonly name: string;
  /** A number, or for Kubernetes the name that an endpoint must have in its `ports`. */
  readonly targetPort: number | string | undefined;
  /** HTTP in any form, or a protocol that was not told and is therefore looked at. */
  readonly http: boolean;
  /** HTTP by its protocol, so that nobody needs to look. */
  readonly declaredHttp: boolean;
  /** HTTP/2 by its protocol: HTTP2, GRPC, GRPC-WEB. */
  readonly http2: boolean;
  /** UDP: no sidecar carries it. */
  readonly udp: boolean;
}

/** Protocols as Istio names them; a ServiceEntry's `protocol`, or what a Kubernetes port says, in lower case. */
const http2Protocols: ReadonlySet<string> = new Set(['http2', 'grpc', 'grpc-web']);
const otherProtocols: ReadonlySet<string> = new Set(['https', 'tcp', 'tls', 'udp', 'mongo', 'redis', 'mysql']);
const knownProtocols: ReadonlySet<string> = new Set(['http', 'http_proxy', ...http2Protocols, ...otherProtocols]);

/** Ports of Kubernetes Services where the server speaks first (SMTP, DNS, MySQL, MongoDB): nobody waits there for a request to look at. */
const serverFirstPorts: ReadonlySet<number> = new Set([25, 53, 3306, 27017]);

/** The names that Kubernetes itself gives to `appProtocol`. */
const kubernetesProtocols: ReadonlyMap<string, string> = new Map([
  ['kubernetes.io/h2c', 'http2'],
  ['kubernetes.io/ws', 'http'],
  ['kubernetes.io/wss', 'https'],
]);

/**
 * A port of a Service or ServiceEntry. A ServiceEntry tells the protocol in `protocol`; for Kubernetes, whose `protocol` is the
 * transport, `appProtocol` does or else the port's name, up to the first `-` (Istio: protocol selection).
 */
export function compilePort(port: KubernetesPort, of: 'kubernetes' | 'serviceEntry'): CompiledPort {
  const protocol = of === 'kubernetes' ? protocolOfKubernetes(port) : (port.protocol ?? '').toLowerCase();
  return {
    number: port.number,
    name: port.name ?? '',
    targetPort: port.targetPort === 0 ? undefined : port.targetPort,
    http: !otherProtocols.has(protocol),
    declaredHttp: knownProtocols.has(protocol) && !otherProtocols.has(protocol),
    http2: http2Protocols.has(protocol),
    udp: protocol === 'udp',
  };
}

function protocolOfKubernetes({ number, name = '', protocol, appProtocol }: KubernetesPort): string {
  if (protocol === 'UDP') return 'udp';
  const told = kubernetesProtocols.get(appProtocol ?? '') ?? (appProtocol ?? name).toLowerCase();
  if (told.startsWith('grpc-web')) return 'grpc-web';
  const [first = ''] = told.split('-', 1);
  return !knownProtocols.has(first) && serverFirstPorts.has(number) ? 'tcp' : first;
}
