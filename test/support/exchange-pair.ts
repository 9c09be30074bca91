import { createMesh, type ConfigSource, type Mesh } from '@enmesh/core';
import { open } from './house.js';
import type { FakeWorkloadApi } from './workload-api.js';
import { serviceEntry } from './documents.js';

/** The TokenPropagation by which `gateway` exchanges tokens for its calls of `product`. */
export function exchangePropagation(exchange: object): object {
  return {
    apiVersion: 'enmesh.dev/v1',
    kind: 'TokenPropagation',
    metadata: { name: 'gateway', namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: 'gateway' } },
      outbound: [{ hosts: ['product'], mode: 'EXCHANGE', exchange }],
    },
  };
}

/** Says where `product` is, and by which rule `gateway` knows users (the JSON of one `jwtRules` entry). */
export function exchangeDocuments(port: number, rule: object): string {
  return `${serviceEntry({ name: 'product', port })}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [${JSON.stringify(rule)}]}
`;
}

/** Starts `product`, which tells of each request's Authorization line. */
export async function openProduct(
  agent: FakeWorkloadApi,
  config: ConfigSource,
  onAuthorization: (line: string | undefined) => void,
): Promise<{ readonly mesh: Mesh; readonly port: number }> {
  const workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
  const identity = await agent.authority.identity(workload);
  const mesh = await createMesh({ ...workload, config, identity, log: false, env: {} });
  const server = mesh.createServer((request, response) => {
    onAuthorization(request.headers.authorization);
    response.end('product');
  });
  return { mesh, port: await open(server) };
}
