import {
  oldestFirst,
  rootOf,
  selects,
  trustDomainOf,
  type Attached,
  type Document,
  type MeshFields,
  type Target,
} from './world.js';

interface Level {
  readonly mode?: string;
}

export interface PeerAuthentication extends Attached {
  readonly mtls?: Level;
  readonly portLevelMtls?: Readonly<Record<string, Level | null>>;
}

/** STRICT, PERMISSIVE or DISABLE for a port of the workload (1.2 to 1.4). */
export function modeFor(
  documents: readonly Document<PeerAuthentication>[],
  target: Target,
  mesh: MeshFields,
  port: number,
): string {
  if (port === 15008) return 'STRICT';
  const root = rootOf(mesh);
  const all = oldestFirst(documents.filter(({ kind }) => kind === 'PeerAuthentication'));
  const labelled = ({ spec }: Document<PeerAuthentication>): boolean => Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  const ofMesh = all.find((one) => one.namespace === root && !labelled(one));
  const ofNamespace = all.find((one) => one.namespace === target.namespace && target.namespace !== root && !labelled(one));
  const ofWorkload = all.find(
    (one) => one.namespace === target.namespace && target.namespace !== root && labelled(one) && selects(one.spec, target),
  );
  let mode = 'PERMISSIVE';
  for (const one of [ofMesh, ofNamespace, ofWorkload]) {
    const said = one?.spec.mtls?.mode ?? 'UNSET';
    if (said !== 'UNSET') mode = said;
  }
  const ports = ofWorkload?.spec.portLevelMtls ?? {};
  if (!Object.hasOwn(ports, String(port))) return mode;
  const said = ports[String(port)]?.mode ?? 'UNSET';
  return said === 'UNSET' ? mode : said;
}

export interface ReferenceConnection {
  readonly tls: boolean;
  readonly sni?: string;
  readonly alpn?: readonly string[];
  readonly peer?: string;
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly destinationPort: number;
}

const istioAlpn = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'];

/** Whether an HTTP port in this mode takes the connection (1.5, 1.6). */
export function isAccepted(mode: string, { tls, alpn = [], peer }: ReferenceConnection, mesh: MeshFields): boolean {
  if (!tls) return mode !== 'STRICT';
  if (mode === 'DISABLE') return false;
  if (mode === 'PERMISSIVE' && !alpn.some((name) => istioAlpn.includes(name))) return false;
  const trusted = [
    trustDomainOf(mesh),
    ...(mesh.trustDomainAliases ?? []),
    ...(mesh.caCertificates ?? []).flatMap(({ trustDomains = [] }) => trustDomains),
  ];
  return peer !== undefined && trusted.some((trustDomain) => peer.startsWith(`spiffe://${trustDomain}/`));
}
