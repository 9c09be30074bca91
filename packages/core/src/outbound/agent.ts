import { Agent, type AgentOptions, type ClientRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { EnmeshError } from '../errors.js';
import type { X509Svid } from '../identity/svid.js';
import type { VerifiedServer } from '../tls/client.js';
import { noteCall } from './audit.js';
import { holdWrites, objectToWritten, refuseRequest, stripIdentity } from './agent-request.js';
import { openOutside } from './call-context.js';
import type { HeaderLine } from './call-headers.js';
import { isHeard, linesFor } from './carry.js';
import { createConnector, type Connector, type SocketCallback } from './connector.js';
import { bundlesOf, pinIdentity, usesIdentity, watchEpochs, type IdentityEpochs } from './epoch.js';
import { checked } from './guard-call.js';
import { checkRequest, guardsItself } from './guard-request.js';
import { defaultConnectTimeoutMs, type OutboundOptions } from './options.js';
import { tellOutcome, tellUndeclaredPort } from './passthrough.js';
import { objectToRequestLine, planCall, refusedBy, type CallPlan, type PlanSources } from './plan.js';
import { reportCall } from './report.js';
import { distrusted } from './retired-pools.js';
import { expirySweepMs, graceMs } from './servers.js';
import { endDistrusted } from './upgraded.js';

/** How the agent reaches one host and port under one configuration and identity. */
interface Lane {
  readonly key: string;
  /** What sockets are kept under: never shared between plans or identity epochs. Empty for a lane of one call only. */
  readonly name: string;
  readonly plan: CallPlan;
  readonly snapshot: PlanSources;
  readonly epoch: number;
  readonly connector: Connector | undefined;
  /** The SVID that its connections show; undefined where none is shown. */
  readonly svid: X509Svid | undefined;
}

/** What node:http calls on an agent but does not put in its types. */
interface UntypedAgent {
  addRequest(request: ClientRequest, options: object): void;
  keepSocketAlive(socket: Socket): boolean;
}
const base = Agent.prototype as unknown as UntypedAgent;

const laneOf = Symbol('enmesh lane');

/** Node's options of one call, with the lane it was given when it began: a reload in between must not rename its socket. */
interface CallOptions {
  host?: string | null | undefined;
  port?: number | string | null | undefined;
  headers?: unknown;
  [laneOf]?: Lane;
}

/** More hosts than a service calls; beyond it the oldest is forgotten. */
const mostLanes = 512;

/** An agent that can end in peace. */
export interface ClosableAgent extends Agent {
  /** Takes no more calls, ends idle sockets and resolves when the last busy one is gone. */
  close(): Promise<void>;
}

/**
 * Creates the node:http Agent of the mesh, for `http://` URLs: `http.get(url, {agent})`, axios' `httpAgent`, got's `agent.http`. Resolves, connects and
 * refuses exactly as the dispatcher does. After a rotation or a reload that changes a destination, idle sockets end and busy ones are not kept.
 */
export function createMeshAgent(options: OutboundOptions): ClosableAgent {
  return new MeshAgent(options);
}

class MeshAgent extends Agent implements ClosableAgent {
  /** The guard of the whole process leaves its calls alone: they have been looked at, and some may carry the token. */
  readonly [guardsItself] = true;
  readonly #options: OutboundOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #epochs: IdentityEpochs;
  readonly #laneOfSocket = new WeakMap<Socket, Lane>();
  readonly #sockets = new Map<Socket, VerifiedServer | undefined>();
  /** Busy ones whose server is not believed any more, which have the grace to finish. */
  readonly #ending = new Map<Socket, NodeJS.Timeout>();
  /** When the first certificate of a server ends that a socket leads to. */
  #until = Infinity;
  readonly #clock: () => number;
  readonly #sweeper: NodeJS.Timeout;
  readonly #waiting: (() => void)[] = [];
  #connecting = 0;
  #isClosed = false;

  constructor(options: OutboundOptions, http: AgentOptions = { keepAlive: true }) {
    super(http);
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.#epochs = watchEpochs(options.identity, () => {
      this.#retireStale();
      this.#endDistrusted();
    });
    this.#sweeper = setInterval(() => {
      this.#endExpired();
      // One that was being connected when the bundles changed was not among those judged then.
      this.#endDistrusted((socket) => !this.#isFresh(socket));
    }, expirySweepMs).unref();
  }

  /** Called by node:http for every request. */
  addRequest(request: ClientRequest, given: CallOptions): void {
    try {
      if (this.#isClosed) throw new EnmeshError('ENMESH_OUTBOUND_CLOSED', 'the mesh agent is closed');
      if (this.#until <= this.#clock()) this.#endExpired();
      const lane = this.#laneOf(given);
      const objection = objectToRequestLine(lane.plan, request.method, request.path, request.hasHeader('upgrade'));
      const plan = objection ?? lane.plan;
      const origin = `http://${String(given.host)}:${String(given.port)}`;
      const { method, path } = request;
      noteCall(this.#options, request, { method, path, headers: () => ({ ...request.getHeaders() }) });
      const call = { options: this.#options, plan, origin, subject: request };
      checked(call, (checks) => checkRequest(checks, request, given.headers), undefined);
      if (plan.kind === 'refused' || plan.carries === undefined) {
        if (isHeard()) reportCall(plan, origin, request);
        if (plan.kind === 'refused') throw plan.error;
        return this.#send(request, given, lane, plan.strips, []);
      }
      const lines = linesFor({ tokens: this.#options.tokens, plan, svid: lane.svid, origin, subject: request });
      if (!(lines instanceof Promise)) return this.#send(request, given, lane, plan.strips, lines);
      // The headers must stay open until the token is there, whatever the application writes meanwhile.
      objectToWritten(request);
      const release = holdWrites(request);
      void lines
        .then((later) => this.#send(request, given, lane, plan.strips, later))
        .catch((error: unknown) => refuseRequest(request, error as Error))
        .finally(release);
    } catch (error) {
      refuseRequest(request, error as Error);
    }
  }

  #send(request: ClientRequest, given: CallOptions, lane: Lane, strips: boolean, lines: readonly HeaderLine[]): void {
    if (lines.length > 0) objectToWritten(request);
    if (strips) stripIdentity(request, given.headers, lines);
    base.addRequest.call(this, request, { ...given, [laneOf]: lane });
  }

  override getName(options?: CallOptions): string {
    return `${options?.[laneOf]?.name ?? ''}|${super.getName(options as Parameters<Agent['getName']>[0])}`;
  }

  override createConnection(
    given: CallOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    const lane = given[laneOf];
    const tell = callback as (error: Error | null, stream?: Duplex) => void;
    const { tokens } = this.#options;
    if (lane?.plan.kind === 'pass') {
      const { plan } = lane;
      const open = (): Socket => this.#hold(connect(given as Parameters<typeof connect>[0]));
      if (plan.undeclaredPort === undefined) return tokens === undefined ? open() : tokens.outsideOfRequests(open);
      return void openOutside(tokens, tell, (told) => tellOutcome(open(), plan, told));
    }
    if (lane?.connector === undefined) {
      process.nextTick(tell, new EnmeshError('ENMESH_OUTBOUND_UNREACHABLE', 'the mesh agent has no way to this host'));
      return undefined;
    }
    this.#connecting++;
    const { connector } = lane;
    const onOpen: SocketCallback = (error, socket, server) => {
      this.#connecting--;
      if (socket !== null) this.#laneOfSocket.set(this.#hold(socket, server), lane);
      if (socket === null) tell(error);
      else tell(null, socket);
      this.#settle();
    };
    openOutside(tokens, onOpen, (callback) => connector.connect(connector.next(), callback));
    return undefined;
  }

  /** Keeps a socket only while its lane is the current one. */
  override keepSocketAlive(socket: Socket): boolean {
    if (this.#isClosed || !this.#isFresh(socket) || this.#ending.has(socket)) return false;
    if ((this.#sockets.get(socket)?.until ?? Infinity) <= this.#clock()) return false;
    return base.keepSocketAlive.call(this, socket);
  }

  close(): Promise<void> {
    this.#end();
    for (const sockets of Object.values(this.freeSockets)) for (const socket of [...(sockets ?? [])]) socket.destroy();
    return new Promise((done) => {
      this.#waiting.push(done);
      this.#settle();
    });
  }

  override destroy(): void {
    this.#end();
    super.destroy();
    // Node forgets a socket that a call has upgraded.
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #end(): void {
    this.#isClosed = true;
    clearInterval(this.#sweeper);
    this.#epochs.stop();
    this.#lanes.clear();
  }

  #hold(socket: Socket, server?: VerifiedServer): Socket {
    this.#sockets.set(socket, server);
    this.#until = Math.min(this.#until, server?.until ?? Infinity);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      clearTimeout(this.#ending.get(socket));
      this.#ending.delete(socket);
      this.#settle();
    });
    return socket;
  }

  #settle(): void {
    if (this.#isClosed && this.#connecting === 0 && this.#sockets.size === 0) for (const done of this.#waiting.splice(0)) done();
  }

  #laneOf(given: CallOptions): Lane {
    const named = given.host ?? 'localhost';
    // node:http has taken the brackets of an IPv6 literal off.
    const host = named.includes(':') ? `[${named}]` : named;
    const port = Number(given.port ?? 80);
    const key = `${host}:${port}`;
    const known = this.#lanes.get(key);
    const snapshot = this.#options.snapshot();
    if (known !== undefined && known.snapshot === snapshot && known.epoch === this.#epochs.current) return known;
    const lane = this.#createLane(key, { host, port }, snapshot, known);
    if (lane.name !== '') this.#lanes.set(key, lane);
    if (known !== undefined && known.name !== lane.name) this.#retireStale();
    if (this.#lanes.size > mostLanes) for (const oldest of [...this.#lanes.keys()].slice(0, 1)) this.#lanes.delete(oldest);
    return lane;
  }

  #createLane(key: string, place: { host: string; port: number }, snapshot: PlanSources, known: Lane | undefined): Lane {
    const { identity, outliers, clock, connectTimeoutMs: timeoutMs = defaultConnectTimeoutMs } = this.#options;
    const target = { protocol: 'http:', ...place } as const;
    const plan = planCall(snapshot, target);
    tellUndeclaredPort(plan, target, snapshot);
    const epoch = this.#epochs.current;
    if (plan.kind !== 'service')
      return { key, name: `${plan.kind}|${key}`, plan, snapshot, epoch, connector: undefined, svid: undefined };
    const name = `${plan.key}|${usesIdentity(plan) ? epoch : ''}`;
    try {
      if (known?.name === name) return { ...known, plan, snapshot, epoch };
      const pinned = pinIdentity(identity, plan);
      const connector = createConnector({ plan, identity: pinned, timeoutMs, outliers, clock });
      return { key, name, plan, snapshot, epoch, connector, svid: usesIdentity(plan) ? pinned.svid.current() : undefined };
    } catch (error) {
      return { key, name: '', plan: refusedBy(error), snapshot, epoch, connector: undefined, svid: undefined };
    }
  }

  #isFresh(socket: Socket): boolean {
    const lane = this.#laneOfSocket.get(socket);
    if (lane === undefined) return true;
    const isOld = lane.plan.kind === 'service' && usesIdentity(lane.plan) && lane.epoch !== this.#epochs.current;
    return !isOld && this.#lanes.get(lane.key)?.name === lane.name;
  }

  #idle(): Socket[] {
    return Object.values(this.freeSockets).flatMap((sockets) => [...(sockets ?? [])]);
  }

  #endExpired(): void {
    const now = this.#clock();
    if (now < this.#until) return;
    const ends = [...this.#sockets].map(([socket, server]) => ({ socket, until: server?.until ?? Infinity }));
    this.#until = Math.min(...ends.map(({ until }) => (until <= now ? Infinity : until)));
    this.#endSoon(ends.filter(({ until }) => until <= now).map(({ socket }) => socket));
  }

  /** Sockets whose server the bundles of now would not accept, which most rotations leave none of. */
  #endDistrusted(isAsked: (socket: Socket) => boolean = () => true): void {
    const bundles = bundlesOf(this.#options.identity);
    const now = this.#clock();
    const isDistrusted = (server: VerifiedServer | undefined): boolean =>
      server !== undefined && (bundles === undefined || !server.isTrusted(bundles, now));
    const asked = [...this.#sockets].filter(([socket]) => isAsked(socket) && !this.#ending.has(socket));
    this.#endSoon(asked.filter(([, server]) => isDistrusted(server)).map(([socket]) => socket));
  }

  #endSoon(sockets: readonly Socket[]): void {
    const idle = new Set(this.#idle());
    for (const socket of sockets) {
      if (idle.has(socket)) socket.destroy();
      else if (!this.#ending.has(socket)) this.#ending.set(socket, setTimeout(() => this.#endNow(socket), graceMs).unref());
    }
  }

  #endNow(socket: Socket): void {
    const isCall = Object.values(this.sockets).some((sockets) => sockets?.includes(socket));
    if (isCall) socket.destroy(distrusted());
    else endDistrusted(socket);
  }

  #retireStale(): void {
    for (const socket of this.#idle()) if (!this.#isFresh(socket)) socket.destroy();
  }
}
