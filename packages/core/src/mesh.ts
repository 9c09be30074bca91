import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:https';
import { createDirectorySource } from './config/directory.js';
import { readSettings, type MeshOptions, type Settings } from './config/settings.js';
import type { MeshSnapshot } from './config/snapshot.js';
import { createConfigStore, type ConfigStore, type ConfigStoreOptions } from './config/store.js';
import type { Authorizers } from './custom/authorizers.js';
import type { ExtAuthzModule } from './custom/grpc-package.js';
import { EnmeshError } from './errors.js';
import { formatIstioId } from './identity/spiffe-id.js';
import type { MeshIdentity } from './identity/source.js';
import { createDoor, type DoorParts } from './inbound/door.js';
import { checkServerOptions } from './inbound/server-options.js';
import { registerMesh } from './inbound/enforce.js';
import { createInbound } from './inbound/inbound.js';
import { createProbe } from './inbound/probe.js';
import { watchUndecided } from './inbound/undecided.js';
import { createKeySets, type KeySets } from './jwt/key-sets.js';
import { createJwtVerifier } from './jwt/verify.js';
import type { Admin, AdminOptions } from './mesh/admin.js';
import { openAudit } from './mesh/audit.js';
import { prepareAuthorizers } from './mesh/authorizers.js';
import { createJwtSvidCheck } from './mesh/jwt-svids.js';
import { metricsWhenAsked } from './mesh/metrics-when-asked.js';
import { lazyClients, openTokens, type Stops } from './mesh/clients.js';
import { openMeshIdentity } from './mesh/mesh-identity.js';
import type { Mesh, MeshServer } from './mesh/mesh-type.js';
import { createReadiness, type Readiness } from './mesh/readiness.js';
import type { MeshClients } from './outbound/clients.js';
import { createKeyFetch, type KeyFetch } from './outbound/key-fetch.js';
import { createOutliers } from './outbound/outliers.js';
import { registerOutbound } from './outbound/registered.js';
import { createTokenFetch } from './outbound/token-fetch.js';
import { evaluatePolicies } from './policy/evaluate.js';
import { currentContext, runAs } from './propagation/context.js';
import { createEgressGuard } from './propagation/egress-guard.js';
import { currentTransactionToken, takesTransactionTokens } from './propagation/transaction-token.js';
import { isTooOld, reportRuntime } from './telemetry/runtime.js';
import { createVoice } from './telemetry/voice.js';
import { drainServer } from './tls/drain.js';

/** For applications in one bundle; otherwise `@enmesh/ext-authz` is loaded where a provider of kind envoyExtAuthzGrpc asks for it. */
export interface ExtAuthzOption {
  /** What `@enmesh/ext-authz` exports. */
  readonly extAuthz?: ExtAuthzModule;
}

/**
 * Creates the mesh of this workload from code, environment and enmesh.yaml.
 * Rejects with `ENMESH_CONFIG_*` when there is no good configuration and with `ENMESH_ISSUANCE_*` when the identity is refused: nothing starts open.
 * @example
 * const mesh = await createMesh();
 * mesh.createServer((req, res) => res.end(`hello ${req.enmesh.peer?.uri}`)).listen(8080);
 */
export async function createMesh(options: MeshOptions & ExtAuthzOption = {}): Promise<Mesh> {
  if (isTooOld(process.version))
    throw new EnmeshError('ENMESH_MESH_RUNTIME', `enmesh needs Node.js 20.19 or newer, and this is ${process.version}`);
  const settings = readSettings(options);
  const stops: Stops = [];
  if (settings.log) stops.push(createVoice({}));
  try {
    return await assemble(settings, options.extAuthz, stops);
  } catch (error) {
    await endAll(stops, 0);
    throw error;
  }
}

async function assemble(settings: Settings, extAuthz: ExtAuthzModule | undefined, stops: Stops): Promise<Mesh> {
  reportRuntime(process.version, new Date(settings.clock()));
  const authorizerFactory = prepareAuthorizers(extAuthz);
  const jwtSvids = createJwtSvidCheck(settings.workload);
  const store = await openStore(settings, (resources) => {
    authorizerFactory.admit(resources);
    jwtSvids.admit(resources);
  });
  stops.push(() => store.close());
  const { trustDomain } = store.current().mesh;
  const { scope: audit, reload: reloadSettings } = await openAudit(settings, trustDomain, stops);
  const { identity, ready: identityReady, bundleEndpoints, close: closeIdentity } = await openMeshIdentity(settings, store);
  stops.push(closeIdentity);
  jwtSvids.use(identity, store.current().resources);
  const tokenFetch = createTokenFetch({ snapshot: () => store.current() }, () => clients().dispatcher);
  const tokens = openTokens(settings, store, { identity, tokenFetch }, stops);
  const egressGuard = createEgressGuard({ mode: settings.egressGuard, bodies: settings.guardBodies });
  if (settings.guardProcess && egressGuard !== undefined) {
    const { guardProcess } = await import('./outbound/guard-process.js');
    stops.push(guardProcess(egressGuard, { audit, tokens }));
  }
  const outbound = {
    identity,
    snapshot: () => store.current(),
    outliers: createOutliers(),
    clock: settings.clock,
    tokens,
    egressGuard,
    transactionToken: currentTransactionToken,
    audit,
  };
  const clients = lazyClients(outbound, stops);
  const keySets = openKeySets(
    settings,
    store,
    createKeyFetch(outbound, () => clients().dispatcher),
    stops,
  );
  const authorizers = authorizerFactory.open(outbound, () => clients().dispatcher);
  stops.push(
    store.watch(({ mesh }) => authorizers.use(mesh.extensionProviders)),
    () => authorizers.close(),
  );
  const parts = { ...partsOf(settings, store, identity, keySets, authorizers), audit };
  stops.push(watchUndecided());
  const readiness = createReadiness(identity.svid, settings.clock);
  const generation = (): number => store.current().generation;
  const gauges = { svid: identity.svid, generation, isReady: readiness.isReady, bundleEndpoints };
  const keySetFigures = { keySets: () => keySets.status(), clock: settings.clock };
  const { metrics, close: closeMetrics } = metricsWhenAsked({ ...gauges, ...keySetFigures });
  stops.push(closeMetrics);
  const told = { snapshot: () => store.current(), metrics, keySets: () => keySets.status() };
  const admin = await openAdminOf(settings, told, stops);
  const rooms = {
    store,
    keySets,
    parts,
    clients,
    identityReady,
    trustDomain,
    adminPort: admin?.port,
    readiness,
    metrics,
    reloadSettings,
  };
  const mesh = meshOf(settings, rooms, stops);
  registerMesh(mesh, parts);
  stops.push(registerOutbound(mesh, outbound));
  return mesh;
}

async function openAdminOf(
  { adminPort: port, clock }: Settings,
  told: Pick<AdminOptions, 'snapshot' | 'metrics' | 'keySets'>,
  stops: Stops,
): Promise<Admin | undefined> {
  if (port === undefined) return undefined;
  const { openAdmin } = await import('./mesh/admin.js');
  const admin = await openAdmin({ port, ...told, clock });
  stops.push(() => admin.close());
  return admin;
}

function openStore(settings: Settings, admit: ConfigStoreOptions['admit'] & {}): Promise<ConfigStore> {
  const source = typeof settings.config === 'string' ? createDirectorySource({ path: settings.config }) : settings.config;
  return createConfigStore({ source, workload: settings.workload, admit });
}

function openKeySets(settings: Settings, store: ConfigStore, fetching: KeyFetch, stops: Stops): KeySets {
  const { insecureHttp, keysCaFile: caFile, snapshotDirectory, clock } = settings;
  const keySets = createKeySets({
    ...fetching,
    ...{ insecureHttp, caFile, clock },
    ...(snapshotDirectory === undefined ? {} : { snapshotDirectory }),
  });
  keySets.use(store.current().jwt);
  const unwatch = store.watch((snapshot) => keySets.use(snapshot.jwt));
  stops.push(() => {
    unwatch();
    keySets.close();
  });
  return keySets;
}

function partsOf(
  settings: Settings,
  store: ConfigStore,
  identity: MeshIdentity,
  keySets: KeySets,
  authorizers: Authorizers,
): Omit<DoorParts, 'audit'> {
  const snapshot = (): MeshSnapshot => store.current();
  const { clock, istioHeaders, maxHeaderCount, permissiveAnyAlpn, decisionHeader } = settings;
  const verifier = createJwtVerifier({ keySets });
  return {
    inbound: createInbound({
      ...{ snapshot, svid: identity.svid, verifier, clock, istioHeaders, maxHeaderCount },
      authorizerOf: (provider) => authorizers.of(provider),
    }),
    identity,
    snapshot,
    watchSnapshot: (onChange) => store.watch(onChange),
    clock,
    permissiveAnyAlpn,
    maxHeaderCount,
    keepsContext: () => settings.requestContext || needsContext(store.current()),
    answer: { decisionHeader },
  };
}

/** Whether calls must know their request: some carry more than the service, or a transaction token may have to go on. */
function needsContext({ propagation, jwt }: MeshSnapshot): boolean {
  return propagation.needsContext || takesTransactionTokens(jwt);
}

interface Rooms {
  readonly store: ConfigStore;
  readonly keySets: KeySets;
  readonly parts: DoorParts;
  readonly clients: () => MeshClients;
  readonly identityReady: () => Promise<void>;
  readonly trustDomain: string;
  readonly adminPort: number | undefined;
  readonly readiness: Readiness;
  readonly metrics: () => string;
  readonly reloadSettings: () => Promise<void>;
}

function meshOf(settings: Settings, rooms: Rooms, stops: Stops): Mesh {
  const { store, parts, clients, readiness } = rooms;
  const servers = new Set<Server>();
  let closing: Promise<void> | undefined;
  const ready = async (): Promise<void> => {
    await Promise.all([rooms.identityReady(), rooms.keySets.ready()]);
    if (closing === undefined) readiness.begin();
  };
  let end = (): void => {};
  const ended = new Promise<void>((done) => (end = done));
  // Probes answer from the mesh's state also where nobody awaits ready().
  ready().catch(() => {});
  const { workload } = settings;
  return {
    workload: { ...workload, spiffeId: formatIstioId({ trustDomain: rooms.trustDomain, ...workload }) },
    createServer(listener, options = {}) {
      if (closing !== undefined) throw new EnmeshError('ENMESH_MESH_CLOSED', 'createServer was called after mesh.close()');
      checkServerOptions(options);
      const server = createDoor(parts, listener as RequestListener, options);
      servers.add(server);
      // Policies that speak of a port nobody listens on are told as doubtful.
      server.on('listening', () => store.reportPort(options.workloadPort ?? (server.address() as AddressInfo).port));
      server.on('close', () => servers.delete(server));
      return options.probePort === undefined ? server : withProbe(server, options.probePort, readiness.isReady);
    },
    get fetch() {
      return clients().fetch;
    },
    get request() {
      return clients().request;
    },
    get dispatcher() {
      return clients().dispatcher;
    },
    get agent() {
      return clients().agent;
    },
    evaluate: (attributes) => evaluatePolicies(store.current().policies, attributes),
    context() {
      if (!parts.keepsContext())
        throw new TypeError('mesh.context() needs createMesh({requestContext: true}), or an outbound mode in a TokenPropagation');
      return currentContext();
    },
    runAs,
    metrics: rooms.metrics,
    adminPort: rooms.adminPort,
    async reload() {
      await rooms.reloadSettings();
      return store.reload();
    },
    ready: () => keepsAlive(ready(), ended),
    close({ deadlineMs = 10_000 } = {}) {
      readiness.end();
      end();
      return (closing ??= closeAll([...servers], stops, deadlineMs));
    },
  };
}

/** The timers of a mesh keep no process alive, but somebody who waits for it does: without them Node would end with 13 and no word. */
async function keepsAlive(work: Promise<void>, ended: Promise<void>): Promise<void> {
  const alive = setInterval(() => {}, 1 << 30);
  void ended.then(() => clearInterval(alive));
  try {
    await work;
  } finally {
    clearInterval(alive);
  }
}

/** Opens and closes the health listener with its server, on the same address. */
function withProbe(server: Server, port: number, isReady: () => boolean): MeshServer {
  const probe = createProbe(isReady);
  probe.on('error', (error) => server.emit('error', error));
  server.on('listening', () => {
    const address = server.address();
    probe.listen(port, typeof address === 'object' && address !== null ? address.address : undefined);
  });
  server.on('close', () => {
    probe.close();
    probe.closeAllConnections();
  });
  return Object.assign(server, { probe });
}

/** Servers first, then the clients: what handlers in flight call is still called. Both within one deadline. */
async function closeAll(servers: readonly Server[], stops: Stops, deadlineMs: number): Promise<void> {
  const until = performance.now() + deadlineMs;
  await Promise.all(servers.map((server) => drainServer(server, { deadlineMs })));
  await endAll(stops, Math.max(0, until - performance.now()));
}

/** Ends everything, the last opened first; one that fails does not keep the others open. */
async function endAll(stops: Stops, deadlineMs: number): Promise<void> {
  for (const stop of stops.splice(0).reverse()) {
    try {
      await stop(deadlineMs);
    } catch {
      // Closing goes on: what could not be ended is ended by the process.
    }
  }
}
