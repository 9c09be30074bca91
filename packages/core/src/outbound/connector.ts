import { connect as connectTcp, type Socket } from 'node:net';
import { EnmeshError, isEnmeshError, type ErrorCode } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { connectMesh, connectTls, type TlsConnectOptions, type VerifiedServer } from '../tls/client.js';
import { fileReason, readSmallFile } from '../x509/small-file.js';
import { createOutliers, type Outliers } from './outliers.js';
import type { ServicePlan, Target } from './plan.js';
import { reportConnection, reportRefusedConnection } from './report.js';

/** Told once: an error, or a socket on which nothing has been written yet, with its server where that is one of the mesh. */
export type SocketCallback = (error: Error | null, socket: Socket | null, server?: VerifiedServer) => void;

/** What a {@link Connector} is made of. `identity` is the one all its connections show. */
export interface ConnectorOptions {
  readonly plan: ServicePlan;
  readonly identity: MeshIdentity;
  readonly timeoutMs: number;
  /** Which endpoints are tried last; a memory of its own where none is given. */
  readonly outliers?: Outliers | undefined;
  /** Milliseconds since the epoch; the system's by default. */
  readonly clock?: (() => number) | undefined;
}

/** Opens the connections of one service. */
export interface Connector {
  /**
   * Connects to the target with this index, or to the next ones when it does not answer; nothing has been sent by then. A target that answers with the
   * wrong identity ends the attempt: `ENMESH_TLS_SECURE_NAMING` and its like are never passed over. When nobody answers: `ENMESH_OUTBOUND_CONNECT`.
   */
  connect(first: number, callback: SocketCallback): void;
  /** The index to begin the next connection with: targets take turns. */
  next(): number;
}

/** So many targets are tried for one connection, that a caller need not wait for all of a long list. */
const mostAttempts = 5;

const passedOver: ReadonlySet<ErrorCode> = new Set(['ENMESH_TLS_CONNECT_FAILED', 'ENMESH_TLS_CONNECT_TIMEOUT']);

/** Creates the connector of a plan. It holds no connection itself. */
export function createConnector(options: ConnectorOptions): Connector {
  const { targets } = options.plan;
  const outliers = options.outliers ?? createOutliers();
  let turn = 0;
  const order = (first: number): Target[] => {
    const all = targets.map((_, i) => targets[(first + i) % targets.length] as Target);
    const avoided = new Set(all.filter((target) => outliers.isAvoided(endpointOf(target))));
    return [...all.filter((target) => !avoided.has(target)), ...avoided];
  };
  return {
    next: () => turn++ % targets.length,
    connect(first, callback) {
      tryNext({ options, outliers, rest: order(first).slice(0, mostAttempts), failures: [] }, callback);
    },
  };
}

interface Attempt {
  readonly options: ConnectorOptions;
  readonly outliers: Outliers;
  readonly rest: Target[];
  readonly failures: string[];
}

const endpointOf = ({ address, port }: Target): string => `${address}:${port}`;

function tryNext(attempt: Attempt, callback: SocketCallback): void {
  const { plan } = attempt.options;
  const target = attempt.rest.shift();
  if (target === undefined) return callback(exhausted(attempt), null);
  openSafely(attempt.options, target, (error, socket, server) => {
    if (socket !== null) {
      attempt.outliers.answered(endpointOf(target));
      socket.setNoDelay(true);
      socket.setKeepAlive(true, 60_000);
      reportConnection(plan, target, socket);
      return callback(null, socket, server);
    }
    const failure = error ?? new EnmeshError('ENMESH_OUTBOUND_CONNECT', `${plan.service} gave no connection`);
    if (!isEnmeshError(failure) || passedOver.has(failure.code)) {
      attempt.outliers.failed(endpointOf(target));
      attempt.failures.push(`${endpointOf(target)} (${reasonOf(failure)})`);
      return tryNext(attempt, callback);
    }
    reportRefusedConnection(plan, target, failure);
    callback(failure, null);
  });
}

function exhausted({ options: { plan }, failures }: Attempt): EnmeshError {
  const shown = failures.slice(0, 3).join(', ') + (failures.length > 3 ? ` and ${failures.length - 3} more` : '');
  return new EnmeshError('ENMESH_OUTBOUND_CONNECT', `${plan.service} could not be connected to: ${shown}`, {
    details: { service: plan.service, endpoints: failures.length },
  });
}

function reasonOf(error: Error): string {
  if (isEnmeshError(error)) return String(error.details['reason'] ?? error.code);
  return String((error as { code?: unknown }).code ?? error.name);
}

/** Node throws for some addresses at once; to the caller that is a connection that failed. */
function openSafely(options: ConnectorOptions, target: Target, callback: SocketCallback): void {
  try {
    openTarget(options, target, callback);
  } catch (error) {
    process.nextTick(callback, error, null);
  }
}

/** A connection that somebody else has dialled, and the ALPN names of what shall be spoken on it. */
export interface Dialled {
  readonly socket: Socket;
  readonly alpn: readonly string[];
}

/** Opens a connection to a target by the plan: TCP, TLS, or mutual TLS with secure naming; over a dialled connection where one is given. */
export function openTarget(options: ConnectorOptions, target: Target, callback: SocketCallback, over?: Dialled): void {
  const { plan, timeoutMs } = options;
  const host = target.address.startsWith('[') ? target.address.slice(1, -1) : target.address;
  switch (target.tls) {
    case 'ISTIO_MUTUAL':
      return connectMesh(
        {
          host,
          port: target.port,
          serverName: plan.destination.sni ?? '',
          service: plan.service,
          expected: plan.destination.subjectAltNames ?? [],
          identity: options.identity,
          timeoutMs,
          ...(options.clock !== undefined && { clock: options.clock }),
          ...over,
        },
        callback,
      );
    case 'DISABLE':
      return over === undefined ? openTcp(host, target.port, timeoutMs, callback) : callback(null, over.socket);
    default:
      void openTls(plan, { host, port: target.port, timeoutMs }).then(
        (tls) => connectTls({ ...tls, ...(over && { ...over, alpn: withoutIstio(over.alpn) }) }, callback),
        (error: unknown) => callback(error as Error, null),
      );
  }
}

/** Istio's own protocol names are for the mesh: a server outside of it is offered what it may know (istio-semantics 5.4). */
function withoutIstio(alpn: readonly string[]): readonly string[] {
  return alpn.filter((name) => !name.startsWith('istio'));
}

function openTcp(host: string, port: number, timeoutMs: number, callback: SocketCallback): void {
  const socket = connectTcp({ host, port });
  const settle = (error: Error | null): void => {
    clearTimeout(timer);
    socket.removeListener('connect', onConnect);
    if (error === null) {
      socket.removeListener('error', settle);
      return callback(null, socket);
    }
    socket.removeListener('error', settle);
    // A destroyed socket may still speak; unheard, that would end the process.
    socket.on('error', () => {});
    socket.destroy();
    callback(error, null);
  };
  const onConnect = (): void => settle(null);
  const timer = setTimeout(() => settle(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })), timeoutMs);
  socket.once('connect', onConnect);
  socket.once('error', settle);
}

type Place = Pick<TlsConnectOptions, 'host' | 'port'> & { readonly timeoutMs: number };

/** Files are read for each connection, so that renewed ones count at once. */
async function openTls({ destination, askedHost, service, tlsDefaults }: ServicePlan, place: Place): Promise<TlsConnectOptions> {
  const { ca, certificate, sni, autoSni, autoSan, subjectAltNames } = destination;
  const isAddress = /^(?:\[|\d+\.\d+\.\d+\.\d+$)/.test(askedHost);
  const serverName = autoSni === true ? (isAddress ? '' : askedHost) : (sni ?? '');
  const [certFile, keyFile] = certificate?.startsWith('file:') === true ? certificate.slice('file:'.length).split('~') : [];
  return {
    ...place,
    defaults: tlsDefaults,
    serverName,
    subjectAltNames: subjectAltNames ?? [],
    ...(autoSan === true && { verifyHost: isAddress ? askedHost.replace(/^\[|\]$/g, '') : askedHost }),
    ...(ca === 'none' && { insecureSkipVerify: true }),
    ...(ca?.startsWith('file:') === true && { ca: await readPem(ca.slice('file:'.length), service) }),
    ...(certFile !== undefined &&
      keyFile !== undefined && { cert: await readPem(certFile, service), key: await readPem(keyFile, service) }),
  };
}

const maxPemBytes = 4 << 20;

/** A DestinationRule may name anything: a pipe or a device must not hold up the call, or fill the memory. */
async function readPem(path: string, service: string): Promise<string> {
  try {
    return (await readSmallFile(path, maxPemBytes)).text;
  } catch (error) {
    throw new EnmeshError(
      'ENMESH_OUTBOUND_TLS_SETTINGS',
      `call to ${service} refused: cannot read ${path} (${fileReason(error)})`,
    );
  }
}
