import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh, type Mesh, type MeshIdentity, type PeerIdentity, type RequestEnmesh } from '@enmesh/core';
import { open } from '../../support/house.js';
import type { ChainAuthority } from './authority.js';
import { serviceEntry } from '../../support/documents.js';

type MeshOptions = NonNullable<Parameters<typeof createMesh>[0]>;

/** A workload of namespace shop, with a configuration that a test replaces. */
export interface Party {
  readonly mesh: Mesh;
  /** Replaces the documents by rename and waits until they are in force. */
  write(documents: string): Promise<void>;
  close(): Promise<void>;
}

/** Who a party is, and how its configuration begins. */
export interface PartyOptions extends Omit<MeshOptions, 'identity' | 'config'> {
  readonly serviceAccount: string;
  readonly identity: NonNullable<MeshOptions['identity']> | MeshIdentity;
  readonly documents: string;
  /** Fields of enmesh/mesh.yaml. */
  readonly meshConfig?: string;
}

/** Starts the mesh of a workload. */
export async function createParty({ documents, meshConfig, ...options }: PartyOptions): Promise<Party> {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-party-'));
  const config = join(directory, 'mesh');
  mkdirSync(join(config, 'enmesh'), { recursive: true });
  writeFileSync(join(config, 'documents.yaml'), documents);
  if (meshConfig !== undefined) writeFileSync(join(config, 'enmesh/mesh.yaml'), meshConfig);
  const { serviceAccount } = options;
  const mesh = await createMesh({ namespace: 'shop', labels: { app: serviceAccount }, config, log: false, env: {}, ...options });
  await mesh.ready();
  return {
    mesh,
    async write(text) {
      writeFileSync(join(directory, 'next.yaml'), text);
      renameSync(join(directory, 'next.yaml'), join(config, 'documents.yaml'));
      await mesh.reload();
    },
    async close() {
      await mesh.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Opens a server of a party that sends back a body, and to GET answers with the SPIFFE ID of its peer, `stranger` without one; resolves with its port. */
export function openEcho({ mesh }: Party): Promise<number> {
  const peerOf = (request: object): PeerIdentity | undefined => (request as { enmesh: RequestEnmesh }).enmesh.peer;
  return open(
    mesh.createServer((request, response) => {
      if (request.method === 'GET') response.end(peerOf(request)?.uri ?? 'stranger');
      else request.pipe(response);
    }),
  );
}

/** A service at a port of loopback, whose endpoint has a service account of namespace shop. */
export const entryYaml = (name: string, port: number, serviceAccount = 'product'): string =>
  `---${serviceEntry({ name, port, serviceAccount })}`;

/** A field of MeshConfig that makes a partner's trust domain verifiable by its root. */
export const federationYaml = ({ trustDomain, rootPem }: ChainAuthority): string =>
  `caCertificates:\n- trustDomains: [${trustDomain}]\n  pem: |\n${rootPem.trim().replaceAll(/^/gm, '    ')}\n`;

/** What a call of a party came to: status and body, or the code of the error. */
export async function callService({ mesh }: Party, name: string, path = '/'): Promise<string> {
  try {
    const { statusCode, body } = await mesh.request(`http://${name}.shop.svc.cluster.local${path}`);
    return `${statusCode} ${await body.text()}`;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
