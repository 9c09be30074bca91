import { status } from '@grpc/grpc-js';
import {
  createHeldIdentity,
  createSeldom,
  EnmeshError,
  isEnmeshError,
  istioParts,
  noticeEvents,
  parseTrustDomain,
  tellRenewalFailed,
  unrefTimer,
  type HeldIdentity,
  type IdentityRequest,
  type NoticeEvent,
  type PlatformIdentity,
  type SpiffeIdentitySettings,
  type Timer,
  type TrustBundleSet,
  type X509Svid,
} from '@enmesh/core/issuance';
import { createWorkloadClient, reasonOf, type WorkloadClient } from './client.js';
import { findEndpoint, type WorkloadEndpoint } from './endpoint.js';
import type { X509SvidMessage, X509SvidResponse } from './messages.js';
import { watchStream, type MessageStream, type StreamEnd, type WatchedStream } from './stream.js';
import { fetchJwtSvid } from './workload-api.js';
import { checkX509Message, readBundles, readSvid } from './x509-state.js';

/** Whose identity, where its Workload API is, and a timer for tests. */
export type SpiffeIdentityOptions = SpiffeIdentitySettings & IdentityRequest & { readonly timer?: Timer };

/** How long silence and denials are as usual. */
const silence = 10_000;
const longestSilence = 60_000;

/** An agent on this machine answers at once, or not at all: whoever waits for more than a token should not take it for silence elsewhere. */
const jwtSvidTimeout = 3_000;

/**
 * Gives a workload the X.509-SVID that a SPIFFE Workload API has for it (SPIRE's agent and others), with the bundles of its own and of federated
 * trust domains. Every message is the full state: what is no longer in it is no longer held, and an agent that takes the identity back
 * (PERMISSION_DENIED) ends its use at once. A message that cannot be good is put aside, and the last good identity kept while it lives.
 * The SVID's trust domain must be the mesh's or an alias of it. Resolves before the first message: `ready()` waits for it. The open stream keeps the
 * process alive until `close()`.
 * Publishes the notices `identity-rotated`, `identity-waiting`, `identity-renewal-failed`, `identity-expiring`, `identity-lost`, `identity-doubtful`.
 * Throws `ENMESH_ISSUANCE_SOCKET_INVALID`.
 *
 * @example
 * const identity = await createSpiffeIdentity({ socket: 'unix:///run/spire/agent.sock', workload, trustDomain: 'example.org' });
 * await identity.ready();
 */
export async function createSpiffeIdentity(options: SpiffeIdentityOptions): Promise<PlatformIdentity> {
  const endpoint = findEndpoint(options);
  const trustDomains = [options.trustDomain, ...(options.trustDomainAliases ?? [])].map(parseTrustDomain);
  return new SpiffeIdentity(endpoint, trustDomains, options);
}

class SpiffeIdentity implements PlatformIdentity {
  readonly description: string;
  readonly #endpoint: WorkloadEndpoint;
  readonly #trustDomains: readonly string[];
  readonly #options: SpiffeIdentityOptions;
  readonly #clock: () => number;
  readonly #timer: Timer;
  readonly #held: HeldIdentity;
  readonly #client: WorkloadClient;
  readonly #stream: WatchedStream;
  readonly #refusals: ((error: Error) => void)[] = [];
  #refusal: EnmeshError | undefined;
  #latest: { readonly message: X509SvidMessage; readonly svid: X509Svid } | undefined;
  #bundles: TrustBundleSet = new Map();
  readonly #seldom = createSeldom({ firstMs: 300_000 });
  #waitingSince: number | undefined;
  #doubts = '';
  #reopenAt = Infinity;
  #silences = 0;
  #isClosed = false;
  #stopSilence: () => void = () => {};
  #stopTick: () => void = () => {};

  constructor(endpoint: WorkloadEndpoint, trustDomains: readonly string[], options: SpiffeIdentityOptions) {
    this.description = `the SPIFFE Workload API at ${endpoint.uri}`;
    this.#endpoint = endpoint;
    this.#trustDomains = trustDomains;
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#timer = options.timer ?? unrefTimer;
    this.#held = createHeldIdentity({ clock: this.#clock });
    this.#client = createWorkloadClient(endpoint);
    this.#stream = watchStream<X509SvidResponse>({
      open: () => this.#open(),
      onMessage: (message) => this.#take(message),
      onEnd: (end) => this.#ended(end),
      timer: this.#timer,
    });
  }

  get svid(): PlatformIdentity['svid'] {
    return this.#held.svid;
  }

  get bundles(): PlatformIdentity['bundles'] {
    return this.#held.bundles;
  }

  ready(): Promise<void> {
    if (this.#refusal !== undefined && !this.#held.isHeld) return Promise.reject(this.#refusal);
    return Promise.race([this.#held.ready(), new Promise<never>((_, reject) => void this.#refusals.push(reject))]);
  }

  async fetchJwtSvid(audience: string): Promise<string> {
    const spiffeId = this.#held.svid.current().id.uri;
    const { token } = await fetchJwtSvid(this.#client, { audience, spiffeId }, jwtSvidTimeout, this.#clock);
    return token;
  }

  close(): void {
    this.#isClosed = true;
    this.#stopSilence();
    this.#stopTick();
    this.#stream.stop();
    this.#client.close();
    this.#latest = undefined;
    this.#held.close();
  }

  #open(): MessageStream<X509SvidResponse> {
    this.#stopSilence();
    const patience = Math.min(longestSilence, silence * 2 ** this.#silences);
    if (!this.#held.isHeld) this.#stopSilence = this.#timer(() => this.#endSilence(), patience);
    return this.#client.stream('FetchX509SVID');
  }

  #take(response: X509SvidResponse): void {
    this.#stopSilence();
    this.#silences = 0;
    try {
      checkX509Message(response);
      const message = this.#choose(response.svids);
      if (message === undefined) return this.#lose(`no SVID has the hint ${JSON.stringify(this.#options.hint)} any more`);
      const { bundles, problems } = readBundles(response, this.#bundles);
      const svid = this.#svidOf(message, bundles);
      this.#bundles = bundles;
      this.#latest = { message, svid };
      this.#seldom.forget();
      this.#waitingSince = undefined;
      this.#tellDoubts(svid, problems);
      this.#held.accept(svid, bundles);
      this.#planRenewal(svid);
    } catch (error) {
      this.#putAside(error);
    }
  }

  #choose(svids: readonly X509SvidMessage[]): X509SvidMessage | undefined {
    const { hint } = this.#options;
    // Of two with the same hint the first counts, as without any hint.
    return hint === undefined || hint === '' ? svids[0] : svids.find((svid) => svid.hint === hint);
  }

  #svidOf(message: X509SvidMessage, bundles: TrustBundleSet): X509Svid {
    const latest = this.#latest;
    // Each renewal of another identity of this process sends this one again.
    if (latest !== undefined && isSameSvid(latest.message, message) && bundles === this.#bundles) return latest.svid;
    const svid = readSvid(message, bundles, this.#clock());
    const { trustDomain } = svid.id;
    if (!this.#trustDomains.includes(trustDomain)) {
      const text = `The Workload API issues for trust domain ${trustDomain}, and the mesh is ${this.#trustDomains.join(', ')}`;
      throw new EnmeshError('ENMESH_ISSUANCE_TRUST_DOMAIN', text);
    }
    return latest !== undefined && isSameSvid(latest.message, message) ? latest.svid : svid;
  }

  #putAside(error: unknown): void {
    const known = isEnmeshError(error) ? error : undefined;
    const rest = this.#held.isHeld ? 'the last good identity is kept while it lives' : 'there is no identity yet';
    const message = `${known?.message ?? 'A message of the Workload API could not be read'}; ${rest}`;
    this.#tell({ kind: 'identity-renewal-failed', level: 'warn', code: known?.code ?? 'ENMESH_ISSUANCE_FAILED', message });
  }

  #ended(end: StreamEnd): void {
    if (this.#isClosed) return;
    this.#stopSilence();
    const reason = reasonOf(this.#endpoint, 'FetchX509SVID', end);
    if (end.retryInMs === undefined) this.#refuse(reason);
    if (end.code === status.PERMISSION_DENIED && this.#held.isHeld) return this.#lose('the agent took it back');
    const again = end.retryInMs === undefined ? '' : '; trying again';
    const isHeld = this.#held.isHeld;
    const now = this.#clock();
    this.#waitingSince ??= now;
    // An agent that has just started, or that does not know a new entry yet, denies for some seconds.
    const isUsual = end.code === status.OK || (end.code === status.PERMISSION_DENIED && now - this.#waitingSince < silence);
    this.#tell({
      kind: isHeld ? 'identity-renewal-failed' : 'identity-waiting',
      level: isUsual ? 'info' : 'warn',
      code: 'ENMESH_ISSUANCE_WORKLOAD_API',
      message: reason + again,
    });
  }

  #refuse(reason: string): void {
    this.#refusal = new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', reason);
    for (const reject of this.#refusals.splice(0)) reject(this.#refusal);
  }

  #lose(why: string): void {
    const uri = this.#latest?.svid.id.uri;
    this.#latest = undefined;
    this.#bundles = new Map();
    this.#reopenAt = Infinity;
    this.#stopTick();
    const text = `The Workload API at ${this.#endpoint.uri} gives this process no identity${uri === undefined ? '' : ` (it was ${uri})`}: ${why}`;
    this.#held.drop(text);
    const message = `${text}; handshakes are refused both ways until there is one`;
    this.#tell({ kind: 'identity-lost', level: 'error', code: 'ENMESH_ISSUANCE_WORKLOAD_API', message });
  }

  /** An agent that came back may have forgotten this stream: another one is opened, less and less often. */
  #endSilence(): void {
    this.#silences = Math.min(this.#silences + 1, 16);
    const message =
      `The Workload API at ${this.#endpoint.uri} (${this.#endpoint.from}) has said nothing for ${silence / 1000} s: ` +
      'see that this is the socket of an agent and not of its admin API, and look at the log of the agent';
    this.#tell({ kind: 'identity-waiting', level: 'warn', code: 'ENMESH_ISSUANCE_WORKLOAD_API', message });
    this.#stream.reopen();
  }

  #tellDoubts(svid: X509Svid, problems: readonly EnmeshError[]): void {
    const { namespace, serviceAccount } = this.#options.workload;
    const parts = istioParts(svid.id);
    const isOther = parts !== undefined && (parts.namespace !== namespace || parts.serviceAccount !== serviceAccount);
    const other = `The SVID is of ${svid.id.uri}, and the workload is configured as ns/${namespace}/sa/${serviceAccount}: peers see the SVID's`;
    const texts = [...(isOther ? [other] : []), ...problems.map(({ message }) => message)];
    const doubts = texts.join('\n');
    if (doubts === this.#doubts) return;
    this.#doubts = doubts;
    for (const message of texts.slice(0, 10)) publish({ kind: 'identity-doubtful', level: 'warn', message });
  }

  /** The same sentence once, and again every five minutes while it stays true. */
  #tell(event: NoticeEvent): void {
    const isDue = this.#seldom.isDue(`${event.level}: ${event.message}`, this.#clock());
    if (event.kind === 'identity-renewal-failed') tellRenewalFailed(event, isDue);
    else if (isDue) publish(event);
  }

  #planRenewal(svid: X509Svid): void {
    // From now on: agents date their SVIDs back a little.
    const life = svid.notAfter - this.#clock();
    this.#reopenAt = svid.notAfter - life / 4;
    const pause = Math.min(30_000, Math.max(250, life / 40));
    const tick = (): void => {
      this.#stopTick = this.#timer(tick, pause);
      const now = this.#clock();
      this.#held.watchExpiry(now);
      if (now < this.#reopenAt) return;
      // Agents renew at half life: one that has not may have forgotten this stream.
      this.#reopenAt = now + Math.max(life / 10, 1000);
      this.#stream.reopen();
    };
    this.#stopTick();
    this.#stopTick = this.#timer(tick, pause);
  }
}

function isSameSvid(a: X509SvidMessage, b: X509SvidMessage): boolean {
  return a.spiffe_id === b.spiffe_id && a.x509_svid.equals(b.x509_svid) && a.x509_svid_key.equals(b.x509_svid_key);
}

function publish(event: NoticeEvent): void {
  if (noticeEvents.hasSubscribers) noticeEvents.publish(event);
}
