import type { IncomingMessage, ServerResponse } from 'node:http';
import { createMesh, type ConfigSource, type Mesh, type MeshIdentity, type X509Svid } from '@enmesh/core';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';
import { open } from './house.js';
import { serviceEntry } from './documents.js';

type Authority = Awaited<ReturnType<typeof createTestAuthority>>;
type Issuer = Awaited<ReturnType<typeof createTestIssuer>>;
type Handler = (request: IncomingMessage & { enmesh?: SeenEnmesh }, response: ServerResponse) => void | Promise<void>;

interface SeenEnmesh {
  readonly user?: { readonly principal?: string; readonly claims: Readonly<Record<string, unknown>> };
  readonly actors: readonly string[];
}

/** One service of a chain: its mesh, where it listens, and what it does with a request (to be replaced by tests). */
export interface ChainService {
  readonly name: string;
  readonly mesh: Mesh;
  readonly port: number;
  readonly url: string;
  handle: Handler;
  /** Puts another SVID in the place of the one that is held, as a renewal does. */
  renew(svid?: X509Svid): Promise<void>;
}

/** Several services in one mesh with one set of documents. */
export interface Chain {
  readonly authority: Authority;
  readonly issuer: Issuer;
  of(name: string): ChainService;
  /** Replaces the documents beside the services' own and puts them in force everywhere. `ISSUER` and `JWKS` stand for the test issuer's. */
  write(yaml: string): Promise<void>;
  close(): Promise<void>;
}

/** Options of {@link createChain}. `svidOf` gives a service's first SVID; `mesh` further options of every mesh. */
export interface ChainOptions {
  readonly services: readonly string[];
  readonly yaml: string;
  readonly svidOf?: (name: string, authority: Authority) => Promise<X509Svid>;
  readonly mesh?: Parameters<typeof createMesh>[0];
  /** Options of the mesh of one service. */
  readonly meshOf?: (name: string) => Parameters<typeof createMesh>[0];
}

/** Starts a chain; every service listens with mutual TLS on loopback as `http://NAME.shop.svc.cluster.local`. */
export async function createChain(options: ChainOptions): Promise<Chain> {
  const authority = await createTestAuthority();
  const issuer = await createTestIssuer();
  const files = { services: '', policies: '' };
  const fill = (yaml: string): string => yaml.replaceAll('ISSUER', issuer.issuer).replaceAll('JWKS', issuer.jwksText);
  const config: ConfigSource = {
    read: async () => [
      { name: 'services.yaml', text: files.services },
      { name: 'enmesh/policies.yaml', text: files.policies },
    ],
    watch: () => () => {},
  };
  const svidOf = options.svidOf ?? ((name) => authority.issue({ namespace: 'shop', serviceAccount: name }));
  files.policies = fill(options.yaml);
  const services = await Promise.all(
    options.services.map((name) =>
      startService(name, { authority, config, svidOf, mesh: { ...options.mesh, ...options.meshOf?.(name) } }),
    ),
  );
  files.services = services.map(({ name, port }) => serviceEntry({ name, port })).join('\n---\n');
  await Promise.all(services.map(({ mesh }) => mesh.reload()));
  return {
    authority,
    issuer,
    of: (name) => services.find((one) => one.name === name) as ChainService,
    async write(yaml) {
      files.policies = fill(yaml);
      await Promise.all(services.map(({ mesh }) => mesh.reload()));
    },
    async close() {
      await Promise.all(services.map(({ mesh }) => mesh.close()));
    },
  };
}

interface Setting {
  readonly authority: Authority;
  readonly config: ConfigSource;
  readonly svidOf: (name: string, authority: Authority) => Promise<X509Svid>;
  readonly mesh: Parameters<typeof createMesh>[0];
}

async function startService(name: string, { authority, config, svidOf, mesh: more }: Setting): Promise<ChainService> {
  const { identity, renew } = renewable(await svidOf(name, authority), authority);
  const workload = { namespace: 'shop', serviceAccount: name, labels: { app: name } };
  const mesh = await createMesh({ ...workload, config, identity, log: false, env: {}, ...more });
  await mesh.ready();
  const service: { handle: Handler } = { handle: (_request, response) => void response.end(name) };
  const port = await open(
    mesh.createServer((request, response) => {
      void (async () => {
        try {
          await service.handle(request as Parameters<Handler>[0], response);
        } catch (error) {
          const { code } = ((error as { cause?: unknown }).cause ?? error) as { code?: string };
          response.statusCode = 599;
          response.end(code ?? String(error));
        }
      })();
    }),
  );
  const renewal = async (svid?: X509Svid): Promise<void> => renew(svid ?? (await svidOf(name, authority)));
  return Object.assign(service, { name, mesh, port, url: `http://${name}.shop.svc.cluster.local`, renew: renewal });
}

function renewable(first: X509Svid, authority: Authority): { identity: MeshIdentity; renew: (svid: X509Svid) => void } {
  let current = first;
  const listeners = new Set<(svid: X509Svid) => void>();
  return {
    identity: {
      svid: {
        current: () => current,
        watch(onChange) {
          listeners.add(onChange);
          return () => void listeners.delete(onChange);
        },
      },
      bundles: { current: () => authority.bundles, watch: () => () => {} },
    },
    renew(svid) {
      current = svid;
      for (const tell of listeners) tell(svid);
    },
  };
}
