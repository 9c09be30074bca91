// The public names of @enmesh/core as a service uses them. Nothing here runs: `npm run types` compiles it, and a line that no longer compiles is a
// broken contract. `@ts-expect-error` marks what must not compile.
import { request as undiciRequest, fetch as undiciFetch, type Dispatcher } from 'undici';
import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import {
  createMesh,
  deniedEvents,
  EnmeshError,
  errorTable,
  fixedSvidSource,
  fixedTrustBundleSource,
  isEnmeshError,
  noticeEvents,
  parseSpiffeId,
  stepEvents,
  steps,
  type ConfigFile,
  type ConfigSource,
  type Decision,
  type ErrorCode,
  type Mesh,
  type MeshIdentity,
  type MeshOptions,
  type PeerIdentity,
  type RequestAttributes,
  type RequestEnmesh,
  type RequestIdentity,
  type Step,
  type Stop,
  type SvidSource,
  type TrustBundleSet,
  type TrustBundleSource,
  type Workload,
  type X509Svid,
} from '@enmesh/core';
import { createFilesIdentity } from '@enmesh/core/issuance';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_holds: Same<A, B>): void => {};

export async function service(svid: X509Svid, bundles: TrustBundleSet): Promise<void> {
  await createMesh();
  const identity: MeshIdentity = { svid: fixedSvidSource(svid), bundles: fixedTrustBundleSource(bundles) };
  const options: MeshOptions = {
    namespace: 'shop',
    serviceAccount: 'product',
    labels: { app: 'product' },
    config: './mesh',
    identity,
    jwks: { 'https://idp.example': { insecureHttp: true } },
  };
  const mesh: Mesh = await createMesh(options);
  await createMesh({ config: directory, identity: 'dev', log: false });
  await createMesh({ identity: { files: { directory: './certs', federated: { 'partner.example': './partner.pem' } } } });
  await createMesh({ identity: { istio: { address: 'ca.example.com:15012', keyType: 'ecdsa-p256' } } });
  await createMesh({ identity: { spiffe: { socket: 'unix:///run/spire/agent.sock' } } });
  await createMesh({
    identity: await createFilesIdentity({ directory: '/certs', workload: mesh.workload, trustDomain: 'cluster.local' }),
  });
  // @ts-expect-error a source that does not exist
  await createMesh({ identity: 'spire' });
  same<ReturnType<Mesh['metrics']>, string>(true);
  // @ts-expect-error an option that does not exist
  await createMesh({ nameSpace: 'shop' });
  // @ts-expect-error a label is a string
  await createMesh({ labels: { app: 1 } });

  const workload: Workload & { readonly spiffeId: string } = mesh.workload;
  const server: HttpsServer = mesh.createServer(
    (request: IncomingMessage, response: ServerResponse) => void response.end(request.url),
    { workloadPort: 8080, probePort: 9090 },
  );
  server.listen(0);
  mesh.createServer((request, response) => {
    same<typeof request.enmesh, RequestEnmesh>(true);
    response.end(request.enmesh.peer?.principal);
  });
  // @ts-expect-error a server of its own is no listener
  mesh.createServer(server);
  await use(mesh);
  await mesh.ready();
  await mesh.close();
  // @ts-expect-error the workload is not to be changed
  mesh.workload.namespace = workload.namespace;
}

/** The drop-in clients are what they stand in for. */
async function use(mesh: Mesh): Promise<void> {
  const dispatcher: Dispatcher = mesh.dispatcher;
  const agent: Agent = mesh.agent;
  get('http://stock.shop.svc.cluster.local/stocks', { agent });
  await undiciFetch('http://stock.shop.svc.cluster.local/', { dispatcher });
  await undiciRequest('http://stock.shop.svc.cluster.local/', { dispatcher });
  const fetched = await mesh.fetch('http://stock.shop.svc.cluster.local/', { method: 'POST', body: '{}' });
  const status: number = fetched.status;
  const requested = await mesh.request('http://stock.shop.svc.cluster.local/', { method: 'GET' });
  const code: number = requested.statusCode + status;
  void code;
}

export function decide(mesh: Mesh, attributes: RequestAttributes): boolean {
  const decision: Decision = mesh.evaluate(attributes);
  type Reason = 'no-policy' | 'allow-matched' | 'deny-matched' | 'no-allow-matched' | 'evaluation-failed' | 'custom-denied';
  same<Decision['reason'], Reason>(true);
  return decision.allowed;
}

export function handle(enmesh: RequestEnmesh): string {
  same<RequestEnmesh['peer'], PeerIdentity | undefined>(true);
  same<RequestEnmesh['user'], RequestIdentity | undefined>(true);
  same<RequestEnmesh['decision'], Decision>(true);
  // @ts-expect-error there may be no peer
  const unchecked: string = enmesh.peer.uri;
  return enmesh.user?.principal ?? enmesh.peer?.principal ?? unchecked;
}

/** The source contracts, implemented by a service of its own. */
export const directory: ConfigSource = {
  read: async (): Promise<readonly ConfigFile[]> => [{ name: 'strict.yaml', text: '' }],
  watch: (onChange: () => void): Stop => {
    const timer = setInterval(onChange, 1000);
    return () => clearInterval(timer);
  },
};
export const svids = (svid: X509Svid): SvidSource => ({ current: () => svid, watch: () => () => {} });
export const bundles = (set: TrustBundleSet): TrustBundleSource => ({ current: () => set, watch: () => () => {} });

export function listen(): void {
  const stop: () => void = deniedEvents.subscribe(({ id, step, code, status, reason, remedy, policy }) => {
    const known: ErrorCode = code;
    const line: string = [id, step, known, status, reason, remedy, policy ?? ''].join(' ');
    process.stderr.write(line);
  });
  noticeEvents.subscribe(({ level, kind, message }) => void `${level}${kind}${message}`);
  for (const step of steps) stepEvents[step].subscribe(({ outcome }) => same<typeof outcome, 'passed' | 'refused'>(true));
  same<Step, (typeof steps)[number]>(true);
  stop();
}

export function explain(error: unknown): string {
  if (isEnmeshError(error, 'ENMESH_IDENTITY_NONE')) return error.publicMessage;
  if (error instanceof EnmeshError) return `${error.status} ${errorTable[error.code].remedy}`;
  // @ts-expect-error a code that is not in the table
  isEnmeshError(error, 'ENMESH_NO_SUCH_CODE');
  return parseSpiffeId('spiffe://cluster.local/ns/shop/sa/product').trustDomain;
}
