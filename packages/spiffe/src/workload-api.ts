import { status } from '@grpc/grpc-js';
import { EnmeshError, isEnmeshError, parseSpiffeId, parseTrustDomain, unrefTimer } from '@enmesh/core/issuance';
import type { SpiffeIdentitySettings, Stop, Timer, TrustBundleSet, X509Svid } from '@enmesh/core/issuance';
import { parseJwtBundle, readJwtSvid, type JwtBundle, type JwtBundleSet, type JwtSvid } from '@enmesh/core/jwt';
import { claimsOf } from './claims.js';
import { createWorkloadClient, reasonOf, type WorkloadClient } from './client.js';
import { findEndpoint, type WorkloadEndpoint } from './endpoint.js';
import type { JwtBundlesResponse, JwtSvidResponse, ValidateJwtSvidResponse, X509SvidResponse } from './messages.js';
import { watchStream } from './stream.js';
import { checkX509Message, readBundles, readSvid } from './x509-state.js';

/** Where the Workload API is; `hint` is of no use here. */
export interface WorkloadApiOptions extends Pick<SpiffeIdentitySettings, 'socket'> {
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly clock?: () => number;
  readonly timer?: Timer;
  /** For each call that is no stream; default 10 000 milliseconds. */
  readonly timeoutMs?: number;
}

/** A JWT-SVID of this workload. `token` is a secret: whoever has it is this workload to its audience until it ends. */
export interface FetchedJwtSvid extends JwtSvid {
  readonly token: string;
  /** Empty where the agent gives none. */
  readonly hint: string;
}

/** All X.509 identities of this workload at one moment, the default one first. */
export interface X509Context {
  readonly svids: readonly { readonly svid: X509Svid; readonly hint: string }[];
  readonly bundles: TrustBundleSet;
}

/** Who watches: `onChange` gets each full state; `onProblem` what kept one from coming, and that the agent took everything back (`isLost`). */
export interface Watch<State> {
  readonly onChange: (state: State) => void;
  readonly onProblem?: (error: EnmeshError, what: { readonly isLost: boolean }) => void;
}

/** The SPIFFE Workload API of this machine, for whoever needs more of it than an identity for the mesh. */
export interface WorkloadApi {
  /**
   * A JWT-SVID for these audiences, of `spiffeId` or of the default identity; fetch one just before it is used.
   * Rejects with `ENMESH_ISSUANCE_WORKLOAD_API`, or `ENMESH_JWT_SVID_INVALID` where the agent gave what is none.
   */
  fetchJwtSvid(options: { readonly audience: string | readonly string[]; readonly spiffeId?: string }): Promise<FetchedJwtSvid>;
  /** Has the agent verify a token of somebody else. Rejects with `ENMESH_ISSUANCE_WORKLOAD_API`, also for tokens that are not good. */
  validateJwtSvid(options: {
    readonly audience: string;
    readonly token: string;
  }): Promise<{ readonly spiffeId: string; readonly claims: Readonly<Record<string, unknown>> }>;
  /** Watches the X.509 identities of this workload. */
  watchX509(watch: Watch<X509Context>): Stop;
  /** Watches the JWT bundles, for `verifyJwtSvid`. A bundle that cannot be read is left out, so nobody of its trust domain is believed. */
  watchJwtBundles(watch: Watch<JwtBundleSet>): Stop;
  /** Ends every watch and call. */
  close(): void;
}

const maxJwtBundles = 256;

/**
 * Opens the Workload API at `socket`, else at `SPIFFE_ENDPOINT_SOCKET`; no connection is made before the first call. Throws `ENMESH_ISSUANCE_SOCKET_INVALID`.
 *
 * @example
 * const workloadApi = createWorkloadApi({ socket: 'unix:///run/spire/agent.sock' });
 * const { token } = await workloadApi.fetchJwtSvid({ audience: 'https://vault.example' });
 */
export function createWorkloadApi(options: WorkloadApiOptions = {}): WorkloadApi {
  const endpoint = findEndpoint(options);
  const { clock = Date.now, timer = unrefTimer, timeoutMs = 10_000 } = options;
  const client = createWorkloadClient(endpoint);
  const stops = new Set<Stop>();
  const watching: WatchContext = { endpoint, client, timer, stops };
  return {
    fetchJwtSvid: (request) => fetchJwtSvid(client, request, timeoutMs, clock),
    async validateJwtSvid({ audience, token }) {
      const response = await client.call<ValidateJwtSvidResponse>('ValidateJWTSVID', { audience, svid: token }, timeoutMs);
      return { spiffeId: parseSpiffeId(response.spiffe_id).uri, claims: claimsOf(response.claims) };
    },
    watchX509(watch) {
      let bundles: TrustBundleSet = new Map();
      const read = (response: X509SvidResponse): X509Context => {
        checkX509Message(response);
        const { problems, ...read } = readBundles(response, bundles);
        bundles = read.bundles;
        for (const problem of problems) watch.onProblem?.(problem, { isLost: false });
        return { bundles, svids: response.svids.map((svid) => ({ svid: readSvid(svid, bundles, clock()), hint: svid.hint })) };
      };
      return keep(watching, 'FetchX509SVID', read, watch);
    },
    watchJwtBundles: (watch) =>
      keep(watching, 'FetchJWTBundles', (response: JwtBundlesResponse) => readJwtBundles(response, watch.onProblem), watch),
    close() {
      for (const stop of [...stops]) stop();
      client.close();
    },
  };
}

interface WatchContext {
  readonly endpoint: WorkloadEndpoint;
  readonly client: WorkloadClient;
  readonly timer: Timer;
  readonly stops: Set<Stop>;
}

function keep<Message, State>(
  { endpoint, client, timer, stops }: WatchContext,
  method: 'FetchX509SVID' | 'FetchJWTBundles',
  read: (message: Message) => State,
  { onChange, onProblem }: Watch<State>,
): Stop {
  const told = { isHeld: false };
  const stream = watchStream<Message>({
    open: () => client.stream(method),
    onMessage: (message) =>
      guarded(() => {
        onChange(read(message));
        told.isHeld = true;
      }, onProblem),
    onEnd: (end) =>
      guarded(() => {
        const isLost = end.code === status.PERMISSION_DENIED && told.isHeld;
        if (isLost) told.isHeld = false;
        onProblem?.(new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', reasonOf(endpoint, method, end)), { isLost });
      }),
    timer,
  });
  const stop = (): void => {
    stops.delete(stop);
    stream.stop();
  };
  stops.add(stop);
  return stop;
}

/** A throw, a listener's too, must not reach the stream that calls. */
function guarded(run: () => void, onProblem?: Watch<unknown>['onProblem']): void {
  try {
    run();
  } catch (error) {
    const problem = isEnmeshError(error)
      ? error
      : new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_MESSAGE', 'A message of the Workload API was not taken', { cause: error });
    try {
      onProblem?.(problem, { isLost: false });
    } catch {
      // Whoever throws while being told of a problem cannot be told of that one.
    }
  }
}

/** One call of FetchJWTSVID, its answer judged. Rejects as {@link WorkloadApi.fetchJwtSvid} does. */
export async function fetchJwtSvid(
  client: WorkloadClient,
  request: { readonly audience: string | readonly string[]; readonly spiffeId?: string },
  timeoutMs: number,
  clock: () => number,
): Promise<FetchedJwtSvid> {
  const audience = typeof request.audience === 'string' ? [request.audience] : [...request.audience];
  if (audience.length === 0 || audience.includes('')) throw new TypeError('a JWT-SVID is for at least one audience');
  const spiffeId = request.spiffeId === undefined ? '' : parseSpiffeId(request.spiffeId).uri;
  const response = await client.call<JwtSvidResponse>('FetchJWTSVID', { audience, spiffe_id: spiffeId }, timeoutMs);
  const [first] = response.svids;
  if (first === undefined) throw misgiven('the agent gave no JWT-SVID');
  const svid = readJwtSvid(first.svid);
  const { uri } = svid.spiffeId;
  if (uri !== first.spiffe_id || (spiffeId !== '' && uri !== spiffeId)) throw misgiven('the JWT-SVID is of another identity');
  if (!audience.every((name) => svid.audiences.includes(name)))
    throw misgiven('the JWT-SVID lacks an audience that was asked for');
  if (clock() >= svid.expiresAt) throw misgiven('the JWT-SVID has already expired');
  return { ...svid, token: first.svid, hint: first.hint };
}

function readJwtBundles(response: JwtBundlesResponse, onProblem: Watch<JwtBundleSet>['onProblem']): JwtBundleSet {
  const entries = Object.entries(response.bundles);
  if (entries.length > maxJwtBundles) throw misgiven(`a message has JWT bundles of more than ${maxJwtBundles} trust domains`);
  const bundles = new Map<string, JwtBundle>();
  for (const [name, text] of entries) {
    guarded(() => {
      const trustDomain = parseTrustDomain(name);
      if (bundles.has(trustDomain)) throw misgiven(`there are two JWT bundles of ${trustDomain}`);
      bundles.set(trustDomain, parseJwtBundle(trustDomain, text));
    }, onProblem);
  }
  return bundles;
}

function misgiven(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_MESSAGE', `The Workload API is not understood: ${reason}`);
}
