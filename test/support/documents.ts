/** What is said of a service of the mesh that listens on loopback. */
export interface DeclaredService {
  readonly name: string;
  readonly port: number;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  /** The port that callers name; `port` is where the service listens. */
  readonly servicePort?: number;
  readonly protocol?: 'HTTP' | 'GRPC';
  readonly subjectAltNames?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** The ServiceEntry of `NAME.NAMESPACE.svc.cluster.local` with one endpoint at 127.0.0.1, as a YAML document without separators. */
export function serviceEntry({ name, port, namespace = 'shop', ...more }: DeclaredService): string {
  const { serviceAccount = name, servicePort = 80, protocol = 'HTTP', subjectAltNames = [], labels = {} } = more;
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  hosts: [${name}.${namespace}.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: ${servicePort}, name: ${protocol.toLowerCase()}, protocol: ${protocol}, targetPort: ${port}}]
  subjectAltNames: ${JSON.stringify(subjectAltNames)}
  endpoints: [{address: 127.0.0.1, serviceAccount: ${serviceAccount}, labels: ${JSON.stringify(labels)}}]
`;
}

/** The PeerAuthentication of a whole namespace, as a YAML document without separators. */
export function peerAuthentication(mode: string, namespace = 'shop'): string {
  return `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: ${namespace}}
spec: {mtls: {mode: ${mode}}}
`;
}
