import { formatObject } from '../convert/print.js';
import type { Findings } from './findings.js';

/** A file to be written, its path relative to the service. */
export interface NewFile {
  readonly path: string;
  readonly text: string;
}

/** `enmesh.yaml` and the configuration directory of a new service: mutual TLS only, and nobody allowed until a policy says so. */
export function filesFor(found: Findings): readonly NewFile[] {
  return [
    { path: 'enmesh.yaml', text: serviceFile(found) },
    { path: 'mesh/peer-authentication.yaml', text: peerAuthentication(found) },
    { path: 'mesh/authorization-policy.yaml', text: authorizationPolicy(found) },
    { path: 'mesh/request-authentication.yaml', text: requestAuthentication(found) },
    { path: 'mesh/services.yaml', text: services(found) },
    { path: 'mesh/enmesh/mesh.yaml', text: meshConfig },
  ];
}

function serviceFile(found: Findings): string {
  const origin =
    found.manifest === undefined
      ? 'Nothing told them apart from the name of the package: check them.'
      : `As in ${found.manifest}.`;
  const { namespace, serviceAccount, labels } = found;
  return `# Who this service is in the mesh. ${origin}
# The environment wins over this file: POD_NAMESPACE, SERVICE_ACCOUNT, ENMESH_LABELS, ENMESH_CONFIG.
${formatObject({ namespace, serviceAccount, labels })}
# A development authority in .enmesh/ signs the certificates; it refuses to work in production.
identity: dev

# The directory of Istio's YAML that this service obeys.
config: mesh
`;
}

function peerAuthentication({ namespace }: Findings): string {
  return `# What the ports of this namespace take: STRICT is mutual TLS only.
# PERMISSIVE takes plaintext as well, for the time of a migration; portLevelMtls makes an exception for one port of one workload.
${formatObject({
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: { name: 'default', namespace },
  spec: { mtls: { mode: 'STRICT' } },
})}`;
}

function authorizationPolicy({ name, namespace, labels }: Findings): string {
  const example = formatObject({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: selectorLabels(labels) },
      action: 'ALLOW',
      rules: [
        {
          from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/CALLER`] } }],
          to: [{ operation: { methods: ['GET'], paths: ['/items', '/items/*'] } }],
        },
      ],
    },
  });
  return `# Nobody is allowed anything in this namespace, unless another policy allows it. Without any policy everybody would be.
${formatObject({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'allow-nothing', namespace },
  spec: {},
})}
# Then open what is needed, caller by caller. Remove the "# " and put in the caller's service account:
${commented(`---\n${example}`)}`;
}

function requestAuthentication({ name, namespace, labels }: Findings): string {
  const verify = formatObject({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: selectorLabels(labels) },
      jwtRules: [
        {
          issuer: 'https://idp.example.com',
          jwksUri: 'https://idp.example.com/.well-known/jwks.json',
          audiences: [name],
          outputPayloadToHeader: 'sec-istio-auth-userinfo',
        },
      ],
    },
  });
  const demand = formatObject({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `${name}-require-user`, namespace },
    spec: {
      selector: { matchLabels: selectorLabels(labels) },
      action: 'DENY',
      rules: [{ from: [{ source: { notRequestPrincipals: ['*'] } }] }],
    },
  });
  return `# Whose tokens are good here. A wrong token is answered 401; a missing one is nothing wrong, so that a policy must ask for it as below.
${commented(verify)}#
# With it: a request without a user is denied.
${commented(`---\n${demand}`)}`;
}

function services({ namespace }: Findings): string {
  const example = formatObject({
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    metadata: { name: 'stock', namespace },
    spec: {
      hosts: [`stock.${namespace}.svc.cluster.local`],
      location: 'MESH_INTERNAL',
      resolution: 'STATIC',
      ports: [{ number: 80, name: 'http', protocol: 'HTTP', targetPort: 8080 }],
      endpoints: [{ address: '127.0.0.1', serviceAccount: 'stock' }],
    },
  });
  return `# The services that mesh.fetch() calls, and whom to expect there: an endpoint's serviceAccount is the identity its certificate must show.
# Kubernetes Services are read as well.
${commented(example)}`;
}

const meshConfig = `# Settings of the whole mesh, in the fields of Istio's MeshConfig. All services of one mesh have the same.
trustDomain: cluster.local
rootNamespace: istio-system
`;

// A selector with the version or the commit in it would let go of the next release.
function selectorLabels(labels: Findings['labels']): Findings['labels'] {
  const key = ['app', 'app.kubernetes.io/name', 'k8s-app'].find((one) => one in labels);
  return key === undefined ? labels : { [key]: labels[key]! };
}

function commented(text: string): string {
  return text.replace(/^(?=.)/gm, '# ');
}
