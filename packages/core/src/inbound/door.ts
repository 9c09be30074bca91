import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Server, ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { MeshSnapshot } from '../config/snapshot.js';
import type { MeshIdentity, Stop } from '../identity/source.js';
import { runInContext } from '../propagation/context.js';
import { bareRouter, expressRouter, type RouterSettings } from '../request/router.js';
import type { AuditScope } from '../telemetry/audit.js';
import { acceptSettings, type AcceptSettings } from '../tls/accept-settings.js';
import { createTlsServer } from '../tls/server.js';
import { noteArrival } from './audit.js';
import { wasContinued, type Asking } from './custom-step.js';
import { decisionOf } from './decided.js';
import { createPrototypeFollower, DoorRequest, installDoorAccessors, pinDoorAccessors } from './door-request.js';
import type { Entrance, Inbound, Verdict } from './inbound.js';
import { requireListener } from './listen.js';
import { createOpenExchanges, type OpenExchanges } from './open-exchanges.js';
import { answerOnSocket, answerRefusal, type AnswerOptions, type Refusal } from './refusal.js';
import { reportConnectionRefusal } from './report.js';
import { recordVerdict } from './verdict.js';

/** What a door needs of its mesh. */
export interface DoorParts {
  readonly inbound: Inbound;
  readonly identity: MeshIdentity;
  readonly snapshot: () => MeshSnapshot;
  /** Tells of each new snapshot, once it is in force. */
  readonly watchSnapshot: (onChange: () => void) => Stop;
  readonly clock: () => number;
  readonly permissiveAnyAlpn: boolean;
  readonly maxHeaderCount: number;
  /** Whether handlers run in the request's context (AsyncLocalStorage): asked for, or needed by a TokenPropagation. */
  readonly keepsContext: () => boolean;
  readonly answer: AnswerOptions;
  readonly audit: AuditScope;
}

/** How one server differs from another of the same mesh. */
export interface DoorOptions {
  /** The port that policies and `portLevelMtls` speak of, when the listening port is another. */
  readonly workloadPort?: number;
  /** How the application's router reads paths; a bare listener's is exact, an Express application is known. The adapters fill it in. */
  readonly router?: RouterSettings;
  /** Further options of node:https, such as `keepAliveTimeout`. What would weaken the door (certificates, parser leniency) is refused. */
  readonly http?: ServerOptions;
  /** How long a connection may stay silent before its first byte, in milliseconds; 5000 by default. */
  readonly sniffTimeoutMs?: number;
  /** How long a TLS handshake may take from accept to its end, in milliseconds; 10000 by default. */
  readonly handshakeTimeoutMs?: number;
  /**
   * Whether exchanges that stay open (WebSockets, server-sent events, responses of more than 5 s) are judged again when policies or bundles change and
   * every 10 s, and ended once their request would be refused: a token that expired, a policy that no longer allows it. True by default.
   */
  readonly rejudgeOpen?: boolean;
}

/**
 * Creates a server at whose door every request is decided before any framework code runs, whatever listeners are added or replaced later:
 * the decision is made in the server's own `emit`. An upgrade is judged as its GET; CONNECT is refused.
 */
export function createDoor(parts: DoorParts, listener: RequestListener, options: DoorOptions = {}): Server {
  requireListener(listener);
  const { http = {} } = options;
  if (http.IncomingMessage !== undefined)
    throw new TypeError('createServer: `http.IncomingMessage` belongs to the mesh; take it out');
  let listeningPort = 0;
  const exchanges = options.rejudgeOpen === false ? undefined : createOpenExchanges(parts);
  const server = createTlsServer({
    identity: parts.identity,
    accept: acceptOf(parts, () => options.workloadPort ?? listeningPort),
    clock: parts.clock,
    watchAccept: parts.watchSnapshot,
    ...(exchanges === undefined ? {} : { visit: (socket) => exchanges.visit(socket) }),
    http: { ...http, IncomingMessage: DoorRequest as typeof IncomingMessage },
    ...(options.sniffTimeoutMs === undefined ? {} : { sniffTimeoutMs: options.sniffTimeoutMs }),
    ...(options.handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs: options.handshakeTimeoutMs }),
    onRefused: (refusal) => reportConnectionRefusal(refusal, parts.audit),
  });
  server.maxHeadersCount = parts.maxHeaderCount;
  server.on('listening', () => (listeningPort = (server.address() as AddressInfo).port));
  // Express puts `app.request` in the place of every request's prototype.
  const replacement: unknown = (listener as { request?: unknown }).request;
  const isExpress = typeof replacement === 'object' && replacement !== null;
  if (isExpress) installDoorAccessors(replacement);
  const router = options.router ?? (isExpress ? expressRouter : bareRouter);
  guard(server, { parts, exchanges }, { router, workloadPort: options.workloadPort, mayRewrite: true });
  server.on('request', listener);
  return server;
}

/** What a port takes now; one object for as long as the snapshot and the port are the same, for it is asked for each connection. */
function acceptOf({ snapshot, permissiveAnyAlpn }: DoorParts, portNow: () => number): () => AcceptSettings {
  let last: { readonly from: MeshSnapshot; readonly port: number; readonly settings: AcceptSettings } | undefined;
  return () => {
    const from = snapshot();
    const port = portNow();
    if (last?.from !== from || last.port !== port) {
      const { mesh, tlsModes } = from;
      last = { from, port, settings: acceptSettings({ mode: tlsModes.modeFor(port), mesh, permissiveAnyAlpn }) };
    }
    return last.settings;
  };
}

interface Guarded {
  readonly parts: DoorParts;
  readonly exchanges: OpenExchanges | undefined;
}

type Emit = (event: string | symbol, ...args: unknown[]) => boolean;

/** Replaces the server's `emit`: the five events that carry a request go through the inbound story first. */
function guard(server: Server, { parts, exchanges }: Guarded, entrance: Entrance): void {
  const emit = server.emit.bind(server) as Emit;
  // Without a listener Node answers CONNECT by hanging up, and asks for the body of `Expect: 100-continue` before anyone has decided.
  server.on('connect', () => {});
  server.on('checkContinue', () => {});
  // What Node does by itself where the application has no listener of its own for `Expect: 100-continue`.
  const hand: Emit = (event, request, response, head) => {
    if (event !== 'checkContinue' || server.listenerCount(event) > 1) return emit(event, request, response, head);
    if (!wasContinued(response as ServerResponse)) (response as ServerResponse).writeContinue();
    return emit('request', request, response);
  };
  const follow = createPrototypeFollower();
  let isFirst = true;
  const proceed: Emit = (event, request, response, head) => {
    const received = request as IncomingMessage;
    if (isFirst) {
      isFirst = false;
      pinDoorAccessors(received);
      received.once('close', () => follow(received));
    }
    if (event === 'upgrade') exchanges?.addUpgrade(response as Duplex, received);
    const heard = hand(event, request, response, head);
    follow(received);
    return heard;
  };
  server.emit = (event: string | symbol, a?: unknown, b?: unknown, c?: unknown): boolean => {
    switch (event) {
      case 'request':
      case 'checkContinue':
      case 'checkExpectation':
      case 'upgrade':
      case 'connect':
        return enter(parts, entrance, proceed, event, a as IncomingMessage, b as ServerResponse | Duplex, c);
      default:
        return emit(event, a, b, c);
    }
  };
}

/** Decides the request of an event, once, and goes on to the application or answers. */
function enter(
  parts: DoorParts,
  entrance: Entrance,
  proceed: Emit,
  event: string,
  request: IncomingMessage,
  response: ServerResponse | Duplex,
  head: unknown,
): boolean {
  const decided = decisionOf(request);
  if (decided === null) return true;
  if (decided !== undefined) return proceed(event, request, response, head);
  noteArrival(parts.audit, request, response, entrance.workloadPort);
  // An ordinary request is decided at once, and pays for no promise and nothing that only an external authorizer needs.
  const asking = parts.snapshot().policies.custom === undefined ? undefined : askingOf(event, response);
  const verdict = parts.inbound.judge(request, entrance, undefined, asking);
  if (!(verdict instanceof Promise)) return goOn(parts, proceed, event, request, response, head, verdict);
  // Out of the promise, so that what the application throws is an uncaught exception as it is anywhere else.
  void verdict.then((later) => process.nextTick(goOn, parts, proceed, event, request, response, head, later));
  return true;
}

/** Hands a decided request to the application, or answers it. */
function goOn(
  parts: DoorParts,
  proceed: Emit,
  event: string,
  request: IncomingMessage,
  response: ServerResponse | Duplex,
  head: unknown,
  verdict: Verdict,
): boolean {
  const enmesh = recordVerdict(request, verdict);
  if (enmesh === undefined) {
    const refusal = verdict.refusal as Refusal;
    if (event === 'upgrade' || event === 'connect') answerOnSocket(response as Duplex, refusal, parts.answer);
    else answerRefusal(response as ServerResponse, refusal, parts.answer);
    return true;
  }
  if (!parts.keepsContext()) return proceed(event, request, response, head);
  return runInContext(enmesh, () => proceed(event, request, response, head));
}

function askingOf(event: string, response: ServerResponse | Duplex): Asking {
  if (event === 'upgrade' || event === 'connect') return { socket: response as Duplex };
  return { response: response as ServerResponse, awaitsContinue: event === 'checkContinue' };
}
