import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { MeshSnapshot } from '../config/snapshot.js';
import type { ErrorCode } from '../errors.js';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import { formatIstioId, istioParts, parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
import type { SvidSource } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import { createKeySets } from '../jwt/key-sets.js';
import { createJwtVerifier } from '../jwt/verify.js';
import type { Decision } from '../policy/evaluate.js';
import type { Explanation } from '../policy/explain.js';
import { bareRouter, type RouterSettings } from '../request/router.js';
import type { Step } from '../telemetry/events.js';
import { acceptSettings } from '../tls/accept-settings.js';
import { mayUseTls, objectToPeer, type Objection } from '../tls/admit.js';
import { selectAlpn } from '../tls/alpn.js';
import { recordConnection } from '../tls/peer.js';
import { DoorRequest } from './door-request.js';
import { explainRefusal } from './explain.js';
import { createInbound, type Entrance, type Verdict } from './inbound.js';
import type { InboundOptions } from './plan.js';
import { parseGivenRequest, readText, type GivenRequest, type ParsedRequest } from './wire.js';

export type { GivenRequest } from './wire.js';

/** A connection as the server sees it. Of TLS: the server name and ALPN list offered, and the one URI SAN of the client's verified certificate, if it sent one. */
export interface GivenConnection {
  readonly tls: boolean;
  readonly sni?: string;
  readonly alpn?: readonly string[];
  readonly peer?: string;
  readonly sourceIp: string;
  readonly destinationIp: string;
  readonly destinationPort: number;
}

/** What the application got: header lines by lower-case name, without those of one hop; x-forwarded-client-cert by itself. */
export interface UpstreamRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly forwardedClientCert?: string;
}

/** What becomes of a request. `closed` is a connection without an answer; `status`, `body` and `headers` are those of the door's own answer. */
export interface RequestVerdict {
  readonly outcome: 'allowed' | 'denied' | 'closed';
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  /** The rule that denied or that let the request pass: `namespace/name` and index. */
  readonly policy?: string;
  readonly rule?: number;
  readonly dryRun?: NonNullable<Decision['dryRun']>;
  readonly audit?: boolean;
  readonly upstream?: UpstreamRequest;
}

/** A verdict with what operators are told of it. */
export interface Evaluation {
  readonly verdict: RequestVerdict;
  /** Which step refused and why; absent when the request was allowed. */
  readonly refusal?: { readonly step: Step; readonly code: ErrorCode; readonly reason: string };
  readonly peer?: PeerIdentity;
  readonly user?: RequestIdentity;
  readonly decision?: Decision;
  /** Why the policies refused, with the rules that came closest; only of a refusal by policies, and only worked out when called. */
  readonly explain?: () => Explanation | undefined;
}

/** Decides given requests as the door of a workload would. A promise only where an external authorizer is asked. */
export interface Evaluator {
  evaluate(connection: GivenConnection, request: GivenRequest): Evaluation | Promise<Evaluation>;
}

/**
 * What {@link createEvaluator} decides by. `router` is a bare listener's by default; `clock` is in milliseconds; `authorizerOf` stands for the external
 * authorizers.
 */
export interface EvaluatorOptions {
  readonly snapshot: MeshSnapshot;
  readonly router?: RouterSettings;
  readonly permissiveAnyAlpn?: boolean;
  readonly maxHeaderCount?: number;
  readonly clock?: () => number;
  readonly authorizerOf?: InboundOptions['authorizerOf'];
}

/**
 * Creates the door of a snapshot's workload without a socket: mode, trust domain, normalization, strip, JWT, policies and hand-over are the
 * very code that serves, with `istioHeaders: true`. Nothing is fetched or asked: tokens of issuers whose keys are not inline (`jwks`) are
 * refused, and an external authorizer counts as unreachable unless `authorizerOf` is given.
 * Throws `ENMESH_IDENTITY_SPIFFE_ID_INVALID` when the workload's names make no identity.
 */
export function createEvaluator(o: EvaluatorOptions): Evaluator {
  const { snapshot, clock = Date.now } = o;
  const keySets = createKeySets({ insecureHttp: () => false, clock });
  const inbound = createInbound({
    snapshot: () => snapshot,
    svid: identityOnly(parseSpiffeId(formatIstioId({ trustDomain: snapshot.mesh.trustDomain, ...snapshot.workload }))),
    verifier: createJwtVerifier({ keySets }),
    clock,
    istioHeaders: true,
    maxHeaderCount: o.maxHeaderCount ?? 100,
    authorizerOf: o.authorizerOf,
  });
  const entrance: Entrance = { router: o.router ?? bareRouter, workloadPort: undefined, mayRewrite: true };
  return {
    evaluate(connection, given) {
      const accepted = acceptGiven(snapshot, connection, o.permissiveAnyAlpn ?? false);
      if ('step' in accepted) return { verdict: { outcome: 'closed' }, refusal: refusalOf(accepted) };
      const parsed = parseGivenRequest(given);
      if (typeof parsed === 'string') return malformed(parsed);
      const request = requestOf(parsed, accepted.socket);
      const judged: Verdict | Promise<Verdict> = inbound.judge(request, entrance);
      const { peer } = accepted;
      if (!(judged instanceof Promise)) return evaluationOf(judged, request, peer);
      // An authorizer may want the body.
      if (given.body !== undefined) request.push(given.body);
      request.push(null);
      return judged.then((verdict) => evaluationOf(verdict, request, peer));
    },
  };
}

/** The door reads of its own SVID only whose it is; there is no key here. */
function identityOnly(id: SpiffeId): SvidSource {
  return { current: () => ({ id }) as X509Svid, watch: () => () => {} };
}

interface Accepted {
  readonly socket: Socket;
  readonly peer: PeerIdentity | undefined;
}

/** What tls/server and tls/admit make of a connection, from its facts: the handshake's cryptography is taken as done. */
function acceptGiven(snapshot: MeshSnapshot, given: GivenConnection, permissiveAnyAlpn: boolean): Accepted | Objection {
  const mode = snapshot.tlsModes.modeFor(given.destinationPort);
  if (!given.tls) {
    if (mode !== 'STRICT') return { socket: socketOf(given, undefined, mode), peer: undefined };
    return { step: 'accept', code: 'ENMESH_TLS_PLAINTEXT_REFUSED', reason: 'the port is STRICT and the client spoke plaintext' };
  }
  if (mode === 'DISABLE')
    return {
      step: 'accept',
      code: 'ENMESH_TLS_HANDSHAKE_FAILED',
      reason: 'the mode of the port is DISABLE and the client spoke TLS',
    };
  const settings = acceptSettings({ mode, mesh: snapshot.mesh, permissiveAnyAlpn });
  const { alpn = [], peer: uri } = given;
  if (!mayUseTls(settings, alpn) || (alpn.length > 0 && selectAlpn(alpn) === undefined))
    return { step: 'accept', code: 'ENMESH_TLS_ALPN_REFUSED', reason: 'the client offers no ALPN name that this port takes' };
  if (uri === undefined)
    return { step: 'accept', code: 'ENMESH_TLS_CLIENT_UNVERIFIED', reason: 'the client sent no certificate' };
  const peer = peerOf(uri);
  if (peer === undefined)
    return {
      step: 'peer-identity',
      code: 'ENMESH_IDENTITY_SPIFFE_ID_INVALID',
      reason: 'the URI of the client certificate is no SPIFFE ID of a workload',
    };
  return objectToPeer(settings, peer) ?? { socket: socketOf(given, peer, mode), peer };
}

function peerOf(uri: string): PeerIdentity | undefined {
  try {
    const id = parseSpiffeId(uri);
    if (id.path === '') return undefined;
    const { namespace, serviceAccount } = istioParts(id) ?? {};
    const principal = uri.slice('spiffe://'.length);
    const certificate = { certificateSha256: '*', subject: '', dnsNames: [], notAfter: Infinity };
    return { spiffeId: id, uri, principal, trustDomain: id.trustDomain, namespace, serviceAccount, ...certificate };
  } catch {
    return undefined;
  }
}

/** Stands where a socket would: the door reads a connection's facts once and after that only asks whose they are. */
function socketOf(
  given: GivenConnection,
  peer: PeerIdentity | undefined,
  mode: ReturnType<MeshSnapshot['tlsModes']['modeFor']>,
): Socket {
  const {
    tls: encrypted,
    sni: servername = '',
    sourceIp: remoteAddress,
    destinationIp: localAddress,
    destinationPort: localPort,
  } = given;
  const socket = { encrypted, servername, remoteAddress, localAddress, localPort } as unknown as Socket;
  recordConnection(socket, { peer, mode });
  return socket;
}

function requestOf({ method, target, lines }: ParsedRequest, socket: Socket): IncomingMessage {
  const request = new DoorRequest(socket);
  request.method = method;
  request.url = target;
  request.httpVersion = '1.1';
  // What Node's parser does with the lines it read: `headers` comes from it.
  request.rawHeaders = lines;
  (request as IncomingMessage & { _addHeaderLines(lines: string[], count: number): void })._addHeaderLines(lines, lines.length);
  return request;
}

function refusalOf({ step, code, reason }: NonNullable<Evaluation['refusal']>): NonNullable<Evaluation['refusal']> {
  return { step, code, reason };
}

/** Node's parser answers before any door. */
function malformed(reason: string): Evaluation {
  const verdict: RequestVerdict = { outcome: 'denied', status: 400, body: '', headers: {} };
  return { verdict, refusal: { step: 'normalize', code: 'ENMESH_INBOUND_TARGET', reason } };
}

function evaluationOf(verdict: Verdict, request: IncomingMessage, peer: PeerIdentity | undefined): Evaluation {
  const { refusal, enmesh } = verdict;
  const decision = enmesh?.decision ?? refusal?.decision;
  const user = enmesh?.user ?? refusal?.judged?.attributes.user;
  const known = {
    ...(peer && { peer }),
    ...(user && { user }),
    ...(decision && { decision }),
  };
  if (refusal === undefined) {
    return { verdict: { outcome: 'allowed', status: 200, ...decidedBy(decision), upstream: upstreamOf(request) }, ...known };
  }
  const explain = refusal.judged && { explain: () => explainRefusal(refusal) };
  const told = { refusal: refusalOf(refusal), ...known, ...explain };
  if (refusal.reset) return { verdict: { outcome: 'closed' }, ...told };
  const headers: Record<string, readonly string[]> = { 'content-type': ['text/plain'] };
  if (refusal.challenge !== undefined) headers['www-authenticate'] = [refusal.challenge];
  // An answer to HEAD has no body.
  const body = request.method === 'HEAD' ? {} : { body: refusal.body };
  return { verdict: { outcome: 'denied', status: refusal.status, ...body, headers, ...decidedBy(decision) }, ...told };
}

function decidedBy(decision: Decision | undefined): Pick<RequestVerdict, 'policy' | 'rule' | 'dryRun' | 'audit'> {
  const { policy, rule, dryRun, audit } = decision ?? {};
  return {
    ...(policy !== undefined && { policy }),
    ...(rule !== undefined && { rule }),
    ...(dryRun !== undefined && { dryRun }),
    ...(audit !== undefined && { audit }),
  };
}

/** What a proxy writes for itself, and what belongs to one hop. */
const notHandedOver = /^(x-request-id|x-envoy-.*|x-forwarded-proto|x-forwarded-client-cert|connection|keep-alive)$/;

function upstreamOf({ url = '', rawHeaders }: IncomingMessage): UpstreamRequest {
  const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
  const certificates: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] as string).toLowerCase();
    const value = readText(rawHeaders[at + 1] as string);
    if (name === 'x-forwarded-client-cert') certificates.push(value);
    if (!notHandedOver.test(name)) (headers[name] ??= []).push(value);
  }
  return { path: url, headers, ...(certificates.length > 0 && { forwardedClientCert: certificates.join(',') }) };
}
