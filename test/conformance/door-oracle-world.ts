import { mkdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createMesh, deniedEvents, fixedSvidSource, fixedTrustBundleSource, stepEvents } from '@enmesh/core';
import type { Decision, DeniedEvent, Mesh, RequestEnmesh, TrustBundle } from '@enmesh/core';
import { createTestAuthority, type TestAuthority, type TestCertificate } from '@enmesh/core/testing';
import { createClient, type Answer } from './door-oracle-client.js';
import type { Case, World } from './inbound-oracle.js';

/** A world with what only the door needs of it. */
export type DoorWorld = World & { readonly workload: { readonly serviceAccount: string; readonly port: number } };

/** A case with what only the door needs of it. `upstream` is what Envoy's application got. */
export type DoorCase = Case & {
  readonly connection: { readonly alpn?: readonly string[] };
  readonly request: { readonly body?: string };
  readonly expect: {
    readonly body?: string;
    readonly headers?: Readonly<Record<string, readonly string[]>>;
    readonly upstream?: Upstream;
  };
};

/** The request as an application sees it: header lines by lower-case name, in order. */
export interface Upstream {
  readonly path: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly forwardedClientCert?: string;
}

/** What became of a case at our door. `lost` is a connection that ended without an answer and without a refusal of ours. */
export interface Observed {
  readonly outcome: 'allowed' | 'denied' | 'closed' | 'lost';
  readonly status?: number;
  readonly body?: string;
  /** `www-authenticate` of the answer. */
  readonly challenge?: string | undefined;
  /** What policies decided: as the handler is told, or as `enmesh:authorize` tells it. */
  readonly decision?: Decision | undefined;
  /** The refusal as `enmesh:denied` told it. */
  readonly denied?: DeniedEvent | undefined;
  readonly upstream?: Upstream;
  /** Headers of which the application would find other lines elsewhere than in `rawHeaders`. */
  readonly unlike?: readonly string[];
}

/** Certificates of every peer of the oracle, signed by one root that vouches for all their trust domains, as Envoy's one root did. */
export interface Peers {
  /** The mesh CA where `trustDomain` is the mesh's own. */
  authority(trustDomain: string): Promise<TestAuthority>;
  certificate(authority: TestAuthority, uri: string): Promise<TestCertificate>;
}

/** Makes each authority and each certificate once. */
export function createPeers(): Peers {
  const authorities = new Map<string, Promise<TestAuthority>>();
  const certificates = new Map<string, Promise<TestCertificate>>();
  const once = <Value>(made: Map<string, Promise<Value>>, key: string, make: () => Promise<Value>): Promise<Value> => {
    const value = made.get(key) ?? make();
    made.set(key, value);
    return value;
  };
  return {
    authority: (trustDomain) => once(authorities, trustDomain, () => createTestAuthority({ trustDomain })),
    certificate: (authority, uri) => once(certificates, `${authority.trustDomain} ${uri}`, () => authority.issueUri(uri)),
  };
}

/** A world's mesh behind a listening server. Cases are tried one after the other: that is how an event is known to be theirs. */
export interface OpenWorld {
  tryCase(entry: DoorCase): Promise<Observed>;
  close(): Promise<void>;
}

/** Where a world is: its configuration directory, the address that its cases call, and the trust domains of all callers. */
export interface Place {
  readonly directory: string;
  readonly address: string;
  readonly peers: Peers;
  readonly trustDomains: Iterable<string>;
  /** Whether the mesh writes x-forwarded-client-cert and its kin; without, most requests take a shorter way. */
  readonly istioHeaders: boolean;
  /**
   * Whether the cases of a world that come over the same connection share one, each sent twice and its second answer counting:
   * then the verdict stands on what the mesh remembers of connections and tokens.
   */
  readonly keepsConnections: boolean;
}

/** Writes the configuration directory of a world. */
export function writeWorld(directory: string, world: World): void {
  mkdirSync(join(directory, 'enmesh'), { recursive: true });
  writeFileSync(join(directory, 'enmesh', 'mesh.yaml'), JSON.stringify(world.mesh));
  writeFileSync(join(directory, 'policies.yaml'), world.documents);
}

/** Starts the mesh of a world and its server. Rejects when the configuration is refused. */
export async function openWorld(world: DoorWorld, place: Place): Promise<OpenWorld> {
  const authority = await place.peers.authority(world.mesh.trustDomain ?? 'cluster.local');
  const mesh = await startMesh(world, place, authority);
  let request: IncomingMessage | undefined;
  const server = mesh.createServer(
    (received, response) => {
      request = received.resume();
      response.end();
    },
    { workloadPort: world.workload.port, http: { keepAliveTimeout: 60_000 } },
  );
  await new Promise<void>((done, fail) => void server.once('error', fail).listen(0, place.address, done));
  const client = createClient((server.address() as AddressInfo).port, place.keepsConnections);
  return {
    async tryCase(entry) {
      request = undefined;
      const { peer } = entry.connection;
      const certificate = peer === undefined ? undefined : await place.peers.certificate(authority, peer);
      const ears = listen();
      try {
        const answer = await client.send(entry, certificate);
        return request === undefined ? await refused(answer, ears) : allowed(answer, request, ears);
      } finally {
        ears.stop();
      }
    },
    async close() {
      client.close();
      server.closeAllConnections();
      await mesh.close();
    },
  };
}

async function startMesh(world: DoorWorld, place: Place, authority: TestAuthority): Promise<Mesh> {
  const { namespace, serviceAccount, labels } = world.workload;
  const bundle = (trustDomain: string): [string, TrustBundle] => [trustDomain, { trustDomain, roots: [authority.rootPem] }];
  const mesh = await createMesh({
    namespace,
    serviceAccount,
    labels,
    config: place.directory,
    identity: {
      svid: fixedSvidSource(await authority.issue({ namespace, serviceAccount })),
      bundles: fixedTrustBundleSource(new Map([authority.trustDomain, ...place.trustDomains].map(bundle))),
    },
    istioHeaders: place.istioHeaders,
    log: false,
    env: {},
  });
  await mesh.ready();
  return mesh;
}

interface Ears {
  readonly denied: readonly DeniedEvent[];
  readonly decision: Decision | undefined;
  /** Resolves when a refusal was told, or after two seconds without one. */
  refusal(): Promise<void>;
  stop(): void;
}

/** Listens to what the mesh tells of one case. */
function listen(): Ears {
  const denied: DeniedEvent[] = [];
  let decision: Decision | undefined;
  let tell = (): void => {};
  const stops = [
    deniedEvents.subscribe((event) => {
      denied.push(event);
      tell();
    }),
    stepEvents.authorize.subscribe(({ details }) => (decision = details?.['decision'] as Decision)),
  ];
  return {
    denied,
    get decision() {
      return decision;
    },
    async refusal() {
      if (denied.length > 0) return;
      await new Promise<void>((done) => {
        const timer = setTimeout(done, 2_000);
        tell = () => {
          clearTimeout(timer);
          done();
        };
      });
    },
    stop() {
      for (const stop of stops) stop();
    },
  };
}

function allowed(answer: Answer | undefined, request: IncomingMessage, { denied }: Ears): Observed {
  const { decision } = (request as IncomingMessage & { enmesh: RequestEnmesh }).enmesh;
  const unlike = readersUnlike(request);
  return { outcome: 'allowed', ...answer, decision, denied: denied.at(-1), upstream: upstreamOf(request), unlike };
}

async function refused(answer: Answer | undefined, ears: Ears): Promise<Observed> {
  if (answer !== undefined) return { outcome: 'denied', ...answer, decision: ears.decision, denied: ears.denied.at(-1) };
  await ears.refusal();
  return { outcome: ears.denied.length > 0 ? 'closed' : 'lost', denied: ears.denied.at(-1) };
}

/** Left out of the comparison: what Envoy writes for itself, and what belongs to one hop (in Node the parser needs them). */
const notCompared = /^(x-request-id|x-envoy-.*|x-forwarded-proto|x-forwarded-client-cert|connection|keep-alive)$/;

function upstreamOf({ url = '', rawHeaders }: IncomingMessage): Upstream {
  const lines = linesOf(rawHeaders);
  const certificate = lines.get('x-forwarded-client-cert')?.join(',');
  return {
    path: url,
    headers: Object.fromEntries([...lines].filter(([name]) => !notCompared.test(name))),
    ...(certificate === undefined ? {} : { forwardedClientCert: certificate }),
  };
}

function linesOf(rawHeaders: readonly string[]): Map<string, string[]> {
  const lines = new Map<string, string[]>();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase();
    lines.set(name, [...(lines.get(name) ?? []), rawHeaders[at + 1] as string]);
  }
  return lines;
}

/** Names of headers of which the application would find another value elsewhere than in `rawHeaders`. */
function readersUnlike({ headers, headersDistinct, rawHeaders }: IncomingMessage): string[] {
  const lines = linesOf(rawHeaders);
  const unlike = new Set<string>();
  for (const name of new Set([...lines.keys(), ...Object.keys(headers), ...Object.keys(headersDistinct)])) {
    const values = lines.get(name) ?? [];
    if (JSON.stringify(headersDistinct[name] ?? []) !== JSON.stringify(values)) unlike.add(name);
    if (String(headers[name]) !== values.join(name === 'cookie' ? '; ' : ', ')) unlike.add(name);
  }
  return [...unlike];
}
