// Makes what the server and both clients need: identities of a test authority, and the shop's product service as a ServiceEntry.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestAuthority } from '@enmesh/core/testing';

const identityOf = async (authority, serviceAccount) => {
  const { id, chain, privateKey, notBefore, notAfter } = await authority.issue({ namespace: 'shop', serviceAccount });
  return { id: id.uri, chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }), notBefore, notAfter };
};

/** The service, and another one at whose address somebody else of the mesh answers. */
const entry = (name, port) => `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, serviceAccount: product, ports: {http: ${port}}}]
`;

/** Writes the identities to a temporary directory; `declare` writes the client's configuration once the ports are known. */
export async function prepare() {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-'));
  const config = join(directory, 'mesh');
  mkdirSync(config);
  const authority = await createTestAuthority();
  const [product, impostor, gateway] = await Promise.all(
    ['product', 'test-team', 'gateway'].map((name) => identityOf(authority, name)),
  );
  const file = join(directory, 'setup.json');
  writeFileSync(file, JSON.stringify({ product, impostor, gateway, roots: [authority.rootPem], config }));
  const declare = (ports) =>
    writeFileSync(join(config, 'services.yaml'), `${entry('product', ports.product)}---\n${entry('taken', ports.impostor)}`);
  return { directory, file, declare };
}
