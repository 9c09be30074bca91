import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh, type Mesh, type TrustBundleSet, type X509Svid } from '@enmesh/core';
import { createTestAuthority, type TestAuthority } from '@enmesh/core/testing';

type MeshOptions = NonNullable<Parameters<typeof createMesh>[0]>;
type MeshIdentity = Exclude<MeshOptions['identity'], string | undefined> & { svid: { current(): X509Svid } };

/** An identity that a test replaces; `svid` and `bundles` tell whoever watches. */
export function replaceable(
  first: X509Svid,
  bundles: TrustBundleSet,
): MeshIdentity & { rotate(next: X509Svid): void; trust(next: TrustBundleSet): void } {
  const hold = <T>(initial: T) => {
    let value = initial;
    const listeners = new Set<(next: T) => void>();
    return {
      source: {
        current: () => value,
        watch(listener: (next: T) => void) {
          listeners.add(listener);
          return () => void listeners.delete(listener);
        },
      },
      replace(next: T) {
        value = next;
        for (const listener of [...listeners]) listener(next);
      },
    };
  };
  const [svid, trust] = [hold(first), hold(bundles)];
  return { svid: svid.source, bundles: trust.source, rotate: svid.replace, trust: trust.replace };
}

/** One workload of a test with its configuration directory. */
export interface Caller {
  readonly mesh: Mesh;
  /** The directory of its documents. */
  readonly config: string;
  readonly identity: ReturnType<typeof replaceable>;
  /** Replaces files by rename and waits until they are in force. */
  configure(files: Readonly<Record<string, string>>): Promise<void>;
}

/** Workloads of namespace shop around one authority, closed together. */
export interface Callers {
  readonly authority: TestAuthority;
  readonly ends: (() => unknown)[];
  open(serviceAccount: string, files?: Readonly<Record<string, string>>, options?: MeshOptions): Promise<Caller>;
  /** Serves `listener` at a door of the workload. */
  serve(caller: Caller, listener: RequestListener): Promise<number>;
  close(): Promise<void>;
}

/** Policies of a workload that takes mutual TLS only. */
export const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

/** A ServiceEntry of `name.shop.svc.cluster.local`, port 80, whose endpoints have the service account of the same name. */
export function serviceAt(name: string, ports: readonly number[], protocol = 'HTTP', more = ''): string {
  const endpoints = ports.map((port) => `{address: 127.0.0.1, serviceAccount: ${name}, ports: {main: ${port}}}`);
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop.svc.cluster.local]
  ports: [{number: 80, name: main, protocol: ${protocol}}]
  resolution: STATIC
  location: MESH_INTERNAL
  ${more}
  endpoints: [${endpoints.join(', ')}]
`;
}

/** Listens on a free port of loopback. */
export async function listenOn(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

/** Makes the world of a test. */
export async function createCallers(): Promise<Callers> {
  const authority = await createTestAuthority();
  const ends: (() => unknown)[] = [];
  return {
    authority,
    ends,
    async open(serviceAccount, files = {}, options = {}) {
      const root = mkdtempSync(join(tmpdir(), 'enmesh-callers-'));
      ends.push(() => rmSync(root, { recursive: true, force: true }));
      const config = join(root, 'mesh');
      mkdirSync(join(config, 'enmesh'), { recursive: true });
      for (const [name, text] of Object.entries({ 'strict.yaml': strict, ...files })) writeFileSync(join(config, name), text);
      const identity = replaceable(await authority.issue({ namespace: 'shop', serviceAccount }), authority.bundles);
      const mesh = await createMesh({ namespace: 'shop', serviceAccount, config, identity, log: false, env: {}, ...options });
      ends.push(() => mesh.close({ deadlineMs: 500 }));
      return {
        mesh,
        config,
        identity,
        async configure(next) {
          for (const [name, text] of Object.entries(next)) {
            writeFileSync(join(root, 'next'), text);
            renameSync(join(root, 'next'), join(config, name));
          }
          await mesh.reload();
        },
      };
    },
    serve: ({ mesh }, listener) => listenOn(mesh.createServer(listener)),
    async close() {
      for (const end of ends.splice(0).reverse()) await end();
    },
  };
}
