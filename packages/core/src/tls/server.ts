import { createServer, type Server, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TlsOptions, TLSSocket } from 'node:tls';
import { errorTable, isEnmeshError } from '../errors.js';
import type { MeshIdentity, Stop } from '../identity/source.js';
import { stepEvents } from '../telemetry/events.js';
import type { AcceptSettings } from './accept-settings.js';
import { admitHandshake, handshakeTimeout, mayUseTls, needsAlpnList, objectToFailedHandshake, type Objection } from './admit.js';
import { alpnAnswers, selectAlpn } from './alpn.js';
import { trackConnection } from './connections.js';
import { createContextKeeper } from './context-keeper.js';
import { createFirstLooks, isPlaintextToOpenssl, type FirstLooks } from './first-looks.js';
import { httpOptions } from './http-options.js';
import { recordConnection } from './peer.js';
import { keepPeer } from './peer-records.js';
import { createPendingConnections, isHandshaking, type PendingConnection, type PendingConnections } from './pending.js';
import { startOf, unread, type FirstBytesListener, type Start } from './permissive.js';
import { answerAndEnd, badRequest, http2GoAway, resetSocket, tellRefusal, type ConnectionRefusal } from './refusal.js';
import { codeOf, type IdentityEpoch } from './secure-context.js';
import { createStanding, type Era } from './standing.js';
import { createSweeper, type Sweeper } from './sweep.js';

export type { AcceptSettings } from './accept-settings.js';
export type { ConnectionRefusal } from './refusal.js';

/** How a server of the mesh is made. Times are milliseconds. */
export interface TlsServerOptions {
  readonly identity: MeshIdentity;
  /** What the port takes now; asked for each connection when TLS begins or its first byte comes. A throw refuses the connection. */
  readonly accept: () => AcceptSettings;
  /** The HTTP half of `https.ServerOptions`; anything of TLS in it is a `TypeError`. */
  readonly http?: ServerOptions;
  /** Until the first byte; 5000 by default. */
  readonly sniffTimeoutMs?: number;
  /** From accept to the end of the handshake, however slowly bytes drip; 10000 by default. */
  readonly handshakeTimeoutMs?: number;
  /** Told of each refused connection once. A throw in it is ignored. */
  readonly onRefused?: (refusal: ConnectionRefusal) => void;
  readonly clock?: () => number;
  /** Tells that `accept` may answer otherwise now: open connections that it would no longer take are then ended at once, not at the next sweep. */
  readonly watchAccept?: (onChange: () => void) => Stop;
  /** Looks at each open connection that is still acceptable, at every sweep. */
  readonly visit?: (socket: Duplex) => void;
  /** Between sweeps over open connections; 10000 by default. */
  readonly sweepMs?: number;
  /** How long a request in flight may take on a connection that is to end; 15000 by default. */
  readonly graceMs?: number;
}

type SocketListener = (socket: Socket) => void;

interface Reception {
  readonly server: Server;
  readonly options: TlsServerOptions;
  readonly pending: PendingConnections;
  readonly era: Era;
  readonly sweeper: Sweeper;
  readonly refreshContext: (settings: AcceptSettings) => IdentityEpoch;
  readonly looks: FirstLooks;
  /** Answers a client's ALPN list where the list itself is needed. */
  readonly answerAlpn: TlsOptions['ALPNCallback'];
  /** Node's own listeners: the one that begins TLS on a raw socket, and the one that attaches the HTTP parser. */
  readonly beginTls: readonly SocketListener[];
  readonly beginHttp: readonly SocketListener[];
}

/**
 * Creates an HTTP server that takes connections as PeerAuthentication says (istio-semantics 1.5): STRICT resets plaintext without a byte, PERMISSIVE
 * tells TLS from plaintext by the first byte, DISABLE gives every byte to the HTTP parser. Wherever TLS is ended a verified client
 * certificate of the mesh is required. It is one `https.Server` that listens itself, so its timeouts and `close` are Node's own.
 * A connection that could not be opened any more (mode, trust domain, bundles, an expired certificate) ends within 30 s of that.
 * Refusals are told with `ENMESH_TLS_`, `ENMESH_X509_` or `ENMESH_IDENTITY_` codes and answered only in the clear, where the
 * client speaks what no port takes.
 */
export function createTlsServer(options: TlsServerOptions): Server {
  const askAlpn = function (this: unknown, offer: { readonly protocols: string[] }): string | undefined {
    return answerAlpn(pending, this as TLSSocket, offer.protocols);
  };
  const server = createServer({
    ...httpOptions(options.http),
    // Explicit, because a flag can make the parser of a whole process lenient.
    insecureHTTPParser: false,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: handshakeMs(options),
    ALPNCallback: askAlpn,
  });
  const pending = createPendingConnections(server, {
    sniffMs: options.sniffTimeoutMs ?? 5_000,
    handshakeMs: handshakeMs(options),
    onDeadline: (connection) => refuse(reception, connection, isHandshaking(connection) ? handshakeTimeout : silence),
  });
  const { accept, identity, clock = Date.now } = options;
  const era: Era = { generation: 0, accept, identity, clock };
  const { watchAccept, visit, sweepMs: everyMs, graceMs } = options;
  const reception: Reception = {
    server,
    options,
    pending,
    era,
    sweeper: createSweeper({ server, era, watchAccept, visit, everyMs, graceMs }),
    refreshContext: createContextKeeper(server, era),
    looks: createFirstLooks(),
    answerAlpn: askAlpn,
    beginTls: takeListeners(server, 'connection'),
    beginHttp: takeListeners(server, 'secureConnection'),
  };
  // One listener for all sockets, and of 'data': no turn of the event loop lies between the first bytes and the handshake.
  const onFirstBytes: FirstBytesListener = function (chunk) {
    const connection = pending.of(this);
    if (connection === undefined) return;
    connection.held = connection.held === undefined ? chunk : Buffer.concat([connection.held, chunk]);
    guarded(reception, connection, () => receive(reception, connection, onFirstBytes));
  };
  server.on('connection', (socket: Socket) => {
    reception.sweeper.start();
    const connection = pending.add(socket);
    // A raw socket has no error listener yet, and an unheard error ends the process.
    socket.on('error', endOnError);
    if (reception.looks.isNextLookedAt()) socket.on('data', onFirstBytes);
    else guarded(reception, connection, () => beginUnseen(reception, connection, onFirstBytes));
  });
  server.on('secureConnection', (socket: TLSSocket) => completeTls(reception, socket));
  server.prependListener('tlsClientError', (error: Error, socket: TLSSocket) => {
    const connection = pending.under(socket);
    if (connection !== undefined) guarded(reception, connection, () => failHandshake(reception, connection, error, socket));
    socket.destroy();
  });
  return server;
}

/** Node's listener must not see a connection before the mode has been applied to it, so ours takes its place and calls it. */
function takeListeners(server: Server, event: 'connection' | 'secureConnection'): SocketListener[] {
  const listeners = server.listeners(event) as SocketListener[];
  server.removeAllListeners(event);
  return listeners;
}

function handshakeMs(options: TlsServerOptions): number {
  return options.handshakeTimeoutMs ?? 10_000;
}

const silence: Objection = { step: 'accept', code: 'ENMESH_TLS_ACCEPT_TIMEOUT', reason: 'the client sent nothing' };

function endOnError(this: Socket): void {
  this.destroy();
}

function answerAlpn(pending: PendingConnections, socket: TLSSocket, offered: readonly string[]): string | undefined {
  // A throw here would be an uncaught exception in Node before CVE-2026-21637 was fixed.
  try {
    const connection = pending.under(socket);
    if (connection?.settings === undefined) return undefined;
    connection.alpn = offered;
    const answer = mayUseTls(connection.settings, offered) ? selectAlpn(offered) : undefined;
    connection.isAlpnRefused = answer === undefined;
    return answer;
  } catch {
    return undefined;
  }
}

/** Begins TLS before a byte has come, as long as the port takes nothing else. */
function beginUnseen(reception: Reception, connection: PendingConnection, listener: FirstBytesListener): void {
  const settings = reception.options.accept();
  if (settings.mode !== 'STRICT') return void connection.socket.on('data', listener);
  connection.settings = settings;
  connection.generation = reception.era.generation;
  connection.isUnseen = true;
  startTls(reception, connection, settings);
}

/** Begins what a connection has begun with, unless that cannot be told yet. */
function receive(reception: Reception, connection: PendingConnection, listener: FirstBytesListener): void {
  const { socket, held = Buffer.alloc(0) } = connection;
  const { generation } = reception.era;
  const settings = reception.options.accept();
  const isStrict = settings.mode === 'STRICT';
  const start = startOf(held);
  // STRICT takes nothing that is not TLS, so it need not know what it is.
  if (start === undefined && !isStrict) return;
  connection.settings = settings;
  connection.generation = generation;
  connection.held = undefined;
  unread(socket, listener, held);
  if (start === 'tls' && settings.mode !== 'DISABLE') return startTls(reception, connection, settings);
  if (start === 'http' && !isStrict) return startPlain(reception, connection, settings);
  refuse(reception, connection, objectToStart(start, isStrict), isStrict ? 'reset' : answerTo(start));
}

function objectToStart(start: Start | undefined, isStrict: boolean): Objection {
  const step = 'accept';
  if (start === 'proxy-protocol')
    return { step, code: 'ENMESH_TLS_PROXY_PROTOCOL', reason: 'the client, or what stands before it, spoke the PROXY protocol' };
  if (start === 'http2') return { step, code: 'ENMESH_TLS_HTTP2_REFUSED', reason: 'the client began HTTP/2 in the clear' };
  if (isStrict)
    return { step, code: 'ENMESH_TLS_PLAINTEXT_REFUSED', reason: 'the port is STRICT and the client spoke plaintext' };
  return { step, code: 'ENMESH_TLS_HANDSHAKE_FAILED', reason: 'the mode of the port is DISABLE and the client spoke TLS' };
}

function answerTo(start: Start | undefined): string | Uint8Array {
  if (start === 'http2') return http2GoAway;
  return badRequest(start === 'proxy-protocol' ? errorTable.ENMESH_TLS_PROXY_PROTOCOL.public : '');
}

function startTls(reception: Reception, connection: PendingConnection, settings: AcceptSettings): void {
  reception.pending.beginHandshake(connection, reception.refreshContext(settings));
  const { server } = reception;
  useAlpnCallback(server, needsAlpnList(settings) ? reception.answerAlpn : undefined);
  for (const listener of reception.beginTls) listener.call(server, connection.socket);
}

/**
 * Has the server's callback asked for the ALPN answer in handshakes that begin from now on, or no callback and OpenSSL given the list of answers. Node reads
 * both anew for each connection; a Node that did not would ask the callback, which answers the same.
 */
function useAlpnCallback(server: Server, callback: TlsOptions['ALPNCallback']): void {
  const answering = server as Server & { ALPNProtocols?: Buffer | undefined; ALPNCallback?: TlsOptions['ALPNCallback'] };
  if (answering.ALPNCallback === callback) return;
  answering.ALPNCallback = callback;
  answering.ALPNProtocols = callback === undefined ? alpnAnswers : undefined;
}

function failHandshake(reception: Reception, connection: PendingConnection, error: Error, socket: TLSSocket): void {
  const code = codeOf(error);
  // One that leaves without a word, as health checks do, is nothing to tell of.
  if (connection.socket.bytesRead === 0 && code === 'ECONNRESET') return void reception.pending.settle(connection);
  if (connection.isUnseen && isPlaintextToOpenssl(code))
    return refuse(reception, connection, objectToStart(undefined, true), 'reset');
  refuse(reception, connection, objectToFailedHandshake(error, socket, connection.isAlpnRefused));
}

function startPlain(reception: Reception, connection: PendingConnection, settings: AcceptSettings): void {
  const { socket } = connection;
  reception.pending.settle(connection);
  socket.removeListener('error', endOnError);
  // As http.Server has it; https.Server makes its sockets otherwise.
  socket.allowHalfOpen = true;
  recordConnection(socket, {
    ...{ peer: undefined, mode: settings.mode },
    standing: createStanding(reception.era, connection.generation),
  });
  acceptPassed(socket, settings, false);
  beginHttp(reception, socket);
  socket.resume();
}

function completeTls(reception: Reception, socket: TLSSocket): void {
  const { pending } = reception;
  const connection = pending.under(socket);
  const { settings, epoch, alpn } = connection ?? {};
  // Settled already, so told already.
  if (connection === undefined || settings === undefined || epoch === undefined) return void socket.destroy();
  guarded(reception, connection, () => {
    const admission = admitHandshake(socket, { settings, epoch, alpn, now: reception.era.clock() });
    if (admission.objection !== undefined) {
      socket.destroy();
      return refuse(reception, connection, admission.objection);
    }
    pending.settle(connection);
    if (settings.mode === 'STRICT') reception.looks.noteTaken();
    const record = keepPeer(socket, admission.verified, epoch.bundles);
    const standing = createStanding(reception.era, connection.generation, socket, record);
    recordConnection(socket, { peer: record.peer, mode: settings.mode, standing, transport: connection.socket });
    acceptPassed(socket, settings, true);
    if (stepEvents['peer-identity'].hasSubscribers) {
      const details = { peer: record.peer.uri };
      stepEvents['peer-identity'].publish({ step: 'peer-identity', outcome: 'passed', subject: socket, details });
    }
    beginHttp(reception, socket);
  });
}

function acceptPassed(socket: Socket, settings: AcceptSettings, tls: boolean): void {
  if (!stepEvents.accept.hasSubscribers) return;
  stepEvents.accept.publish({ step: 'accept', outcome: 'passed', subject: socket, details: { mode: settings.mode, tls } });
}

function beginHttp(reception: Reception, socket: Socket): void {
  trackConnection(reception.server, socket);
  for (const listener of reception.beginHttp) listener.call(reception.server, socket);
}

/** Whatever throws on the way to accepting a connection closes it, and the process lives. */
function guarded(reception: Reception, connection: PendingConnection, act: () => void): void {
  try {
    act();
  } catch (error) {
    const objection: Objection = isEnmeshError(error)
      ? { step: 'accept', code: error.code, reason: error.message }
      : { step: 'accept', code: 'ENMESH_TLS_ACCEPT_FAULT', reason: `accepting the connection failed: ${codeOf(error)}` };
    refuse(reception, connection, objection);
    connection.socket.destroy();
  }
}

/** Refuses a connection, once: with a reset, an answer in the clear, or an end without a byte. */
function refuse(
  reception: Reception,
  connection: PendingConnection,
  objection: Objection,
  ending?: 'reset' | string | Uint8Array,
): void {
  if (!reception.pending.settle(connection)) return;
  reception.looks.noteRefused();
  const { socket, remoteAddress } = connection;
  if (ending === undefined) socket.destroy();
  else if (ending === 'reset') resetSocket(socket);
  else answerAndEnd(socket, ending);
  tellRefusal(socket, { ...objection, remoteAddress }, reception.options.onRefused);
}
