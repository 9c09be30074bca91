import type { ServicePort } from '../config/registry.js';

/** A service's port with what its protocol means to a client. */
export interface CompiledPort {
  readonly number: number;
  readonly name: string;
  /** A number, or for Kubernetes the name that an endpoint must have in its `ports`. */
  readonly targetPort: number | string | undefined;
  /** HTTP in any form, or a protocol that was not told and is therefore looked at. */
  readonly http: boolean;
  /** HTTP/2 by its protocol: HTTP2, GRPC, GRPC-WEB. */
  readonly http2: boolean;
  /** UDP: no sidecar carries it. */
  readonly udp: boolean;
}

const http2Protocols: ReadonlySet<string> = new Set(['HTTP2', 'GRPC', 'GRPC-WEB', 'GRPC_WEB']);
const otherProtocols: ReadonlySet<string> = new Set([
  'HTTPS',
  'TCP',
  'TLS',
  'UDP',
  'MONGO',
  'REDIS',
  'MYSQL',
  'HBONE',
  'DOUBLE_HBONE',
]);

/**
 * A port of a Service or ServiceEntry. A ServiceEntry tells the protocol in `protocol`; for Kubernetes, whose `protocol` is the
 * transport, the port's name does, up to its first `-` (Istio: protocol selection).
 */
export function compilePort(port: ServicePort, of: 'kubernetes' | 'serviceEntry'): CompiledPort {
  const name = port.name ?? '';
  const protocol = of === 'kubernetes' ? protocolOfName(name, port.protocol) : (port.protocol ?? '').toUpperCase();
  return {
    number: port.number,
    name,
    targetPort: port.targetPort === 0 ? undefined : port.targetPort,
    http: !otherProtocols.has(protocol),
    http2: http2Protocols.has(protocol),
    udp: protocol === 'UDP',
  };
}

function protocolOfName(name: string, transport: string | undefined): string {
  if (transport === 'UDP') return 'UDP';
  const lower = name.toLowerCase();
  if (lower === 'grpc-web' || lower.startsWith('grpc-web-')) return 'GRPC-WEB';
  const dash = lower.indexOf('-');
  return (dash === -1 ? lower : lower.slice(0, dash)).toUpperCase();
}
