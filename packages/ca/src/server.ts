import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall, type ServiceError } from '@grpc/grpc-js';
import { EnmeshError, isEnmeshError, noticeEvents, type ErrorCode } from '@enmesh/core/issuance';
import { openAuthority, type Authority } from './authority.js';
import { createAuthenticator, type Proof } from './callers.js';
import { createConnectionLimit, createConnections, type Connections } from './connections.js';
import { openDenyList } from './deny-list.js';
import { openIssuanceLog } from './issuance-log.js';
import { createIssuer, type Issue } from './issue.js';
import { sweepJoinTokens } from './join-tokens.js';
import { createLateRenewals } from './late-renewals.js';
import { openTokenCallers } from './jwt-callers.js';
import { certificateService, type CertificateRequestMessage, type CertificateResponseMessage } from './messages.js';
import { createServingContext } from './serving-certificate.js';
import type { CaSettings } from './settings.js';
import { openTokenReviewer } from './token-review.js';

/** A certificate authority that answers. */
export interface CaServer {
  /** `host:port` as it listens. */
  readonly address: string;
  readonly port: number;
  /** The roots that are given out, in PEM. */
  roots(): string;
  /** Takes no more calls, lets those under way finish for `graceMs` (default 10 s), then cuts. Never rejects; calling it again waits too. */
  close(graceMs?: number): Promise<void>;
}

const maxMessageBytes = 65_536;
const lookMs = 1000;
const sweepMs = 3_600_000;

const grpcOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': 4 << 20,
  'grpc.max_concurrent_streams': 32,
  'grpc-node.max_session_memory': 1,
  // Whoever says nothing, or says it slowly, is gone after this; a client of a certificate authority has little to say.
  'grpc.max_connection_idle_ms': 30_000,
  'grpc.max_connection_age_ms': 60_000,
  'grpc.max_connection_age_grace_ms': 15_000,
  'grpc.enable_channelz': 0,
};

/**
 * Starts a certificate authority: Istio's CreateCertificate over gRPC, TLS 1.2 or better with a certificate of its own making.
 * Rejects with `ENMESH_CA_FILES`, `ENMESH_CA_EXPIRED`, `ENMESH_CA_LOG` or `ENMESH_CA_SETTINGS` when it could not work.
 */
export async function createCaServer(settings: CaSettings, o: { readonly clock?: () => number } = {}): Promise<CaServer> {
  const clock = o.clock ?? Date.now;
  const { directory, trustDomain } = settings;
  const authority = await openAuthority({ directory, trustDomain, clock });
  const denyList = await openDenyList(directory);
  const reviewer = settings.tokenReview === undefined ? undefined : await openTokenReviewer(settings.tokenReview);
  const tokens = await openTokenCallers(settings.jwt, clock);
  const log = await openIssuanceLog(directory);
  const lateRenewals = createLateRenewals({ directory, clock });
  const authenticate = createAuthenticator({ settings, authority, tokens, reviewer, lateRenewals });
  const issue = createIssuer({ settings, authority, authenticate, denyList, log, clock });
  const connections = createConnections();
  const grpc = new Server(grpcOptions);
  grpc.addService(certificateService, { CreateCertificate: handlerOf(issue, connections) });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  let stopRenewing = (): void => {};
  let server: TlsServer | undefined;
  const end = async (graceMs: number): Promise<void> => {
    stopRenewing();
    const closed = server?.listening === true ? new Promise((resolve) => server?.close(resolve)) : undefined;
    const cut = setTimeout(() => {
      grpc.forceShutdown();
      connections.destroy();
    }, graceMs);
    await new Promise<void>((resolve) => grpc.tryShutdown(() => resolve()));
    connections.destroy();
    await closed;
    clearTimeout(cut);
    tokens.close();
    await log.close().catch(() => {});
  };
  try {
    const context = await createServingContext(authority.current(), settings.names, clock());
    server = createTlsServer({
      ...context.options,
      // Who has no certificate yet, or none that is good any more, must be able to come and get one: the token decides then.
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      handshakeTimeout: 10_000,
    });
    server.maxConnections = settings.limits.connections;
    const isWithinLimit = createConnectionLimit(settings.limits.connectionsPerAddress);
    server.on('connection', (socket: Socket) => void (isWithinLimit(socket) || socket.destroy()));
    server.on('secureConnection', (socket) => accept(socket, connections, (taken) => injector.injectConnection(taken)));
    server.on('tlsClientError', (_error, socket) => void socket.destroy());
    stopRenewing = keepFresh({ server, authority, settings, clock, renewAt: context.renewAt });
    const address = await listen(server, settings.listen);
    let closing: Promise<void> | undefined;
    return {
      address: `${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
      port: address.port,
      roots: () => authority.current().roots.join(''),
      close: (graceMs = 10_000) => (closing ??= end(graceMs)),
    };
  } catch (error) {
    await end(0);
    throw error;
  }
}

function accept(socket: TLSSocket, connections: Connections, take: (socket: TLSSocket) => void): void {
  try {
    socket.on('error', () => {});
    if (socket.alpnProtocol !== 'h2') return void socket.destroy();
    connections.add(socket);
    take(socket);
  } catch {
    socket.destroy();
  }
}

async function listen(server: TlsServer, { host, port }: CaSettings['listen']): Promise<AddressInfo> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new EnmeshError('ENMESH_CA_SETTINGS', `listen: ${host}:${port} cannot be listened on (${code})`);
  }
  // An error of the listening socket later on, such as too many open files, must not end the process.
  server.on('error', (error) => tell(`The port: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`));
  return server.address() as AddressInfo;
}

/** Looks at the files every second, and makes a new serving certificate when they have changed or half of its life is over. */
function keepFresh(o: {
  readonly server: TlsServer;
  readonly authority: Authority;
  readonly settings: CaSettings;
  readonly clock: () => number;
  readonly renewAt: number;
}): () => void {
  const { server, authority, settings, clock } = o;
  let { renewAt } = o;
  let isBusy = false;
  let swept = -Infinity;
  const stopWatching = authority.watch(() => (renewAt = -Infinity));
  const look = async (): Promise<void> => {
    await authority.refresh();
    const now = clock();
    if (now - swept > sweepMs) await sweepJoinTokens(settings.directory, (swept = now));
    if (now < renewAt) return;
    renewAt = now + 60_000;
    const context = await createServingContext(authority.current(), settings.names, now);
    server.setSecureContext(context.options);
    renewAt = context.renewAt;
  };
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    look()
      .catch((error: unknown) =>
        tell(`No new serving certificate: ${isEnmeshError(error) ? error.message : 'OpenSSL refuses it'}`),
      )
      .finally(() => (isBusy = false));
  }, lookMs);
  return () => {
    stopWatching();
    clearInterval(timer);
  };
}

type Call = ServerUnaryCall<CertificateRequestMessage, CertificateResponseMessage>;

function handlerOf(issue: Issue, connections: Connections) {
  return (call: Call, done: sendUnaryData<CertificateResponseMessage>): void => {
    answer(call, issue, connections).then(
      (chain) => done(null, { cert_chain: chain }),
      (error: unknown) => done(failureOf(error)),
    );
  };
}

async function answer(call: Call, issue: Issue, connections: Connections): Promise<readonly string[]> {
  const { csr, validity_duration: validitySeconds, metadata } = call.request;
  const peer = call.getPeer();
  const impersonated = metadata?.fields['ImpersonatedIdentity']?.string_value;
  return issue({
    csr,
    validitySeconds,
    impersonated: impersonated === '' ? undefined : impersonated,
    proof: proofOf(call, peer, connections),
    address: peer.replace(/:\d+$/, ''),
  });
}

function proofOf(call: Call, peer: string, connections: Connections): Proof {
  const lines = call.metadata.get('authorization');
  const [, token] = /^bearer (\S+)$/i.exec(String(lines[0] ?? '')) ?? [];
  const leaf = call.getAuthContext().sslPeerCertificate?.raw;
  return { token: lines.length === 1 ? token : undefined, certificate: connections.certificateOf(peer, leaf) };
}

const statusOf: Partial<Record<ErrorCode, status>> = {
  ENMESH_CA_UNPROVED: status.UNAUTHENTICATED,
  ENMESH_CA_DENIED: status.UNAUTHENTICATED,
  ENMESH_CA_REQUEST: status.INVALID_ARGUMENT,
  ENMESH_X509_CSR_INVALID: status.INVALID_ARGUMENT,
  ENMESH_CA_LIMIT: status.RESOURCE_EXHAUSTED,
  ENMESH_CA_EXPIRED: status.UNAVAILABLE,
  ENMESH_CA_LOG: status.UNAVAILABLE,
};

/** A caller that is not proved hears one sentence, whatever the cause; a proved one hears what was wrong with its request. */
function failureOf(error: unknown): Partial<ServiceError> {
  const code = isEnmeshError(error) ? (statusOf[error.code] ?? status.INTERNAL) : status.INTERNAL;
  if (!isEnmeshError(error)) return { code, details: 'the request failed' };
  return { code, details: code === status.INVALID_ARGUMENT ? error.message : error.publicMessage };
}

function tell(message: string): void {
  if (noticeEvents.hasSubscribers) noticeEvents.publish({ kind: 'authority-changed', level: 'error', message });
}
