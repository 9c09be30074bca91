import type { IncomingMessage } from 'node:http';
import type { PeerIdentity } from '../identity/caller.js';
import { isCorsPreflight } from '../jwt/preflight.js';
import { createTokenMemo, type JwtOutcome, type TokenMemo } from '../jwt/verify.js';
import type { PolicySet } from '../policy/compile.js';
import { evaluatePolicies, type Decision } from '../policy/evaluate.js';
import type { AddedHeader } from '../propagation/payload-header.js';
import { isHost, parseTarget, type RequestTarget } from '../request/normalize.js';
import { isAmbiguousForRouter } from '../request/router.js';
import { tellActors } from '../telemetry/audit-text.js';
import { stepEvents, type Step, type StepEvent } from '../telemetry/events.js';
import type { Objection } from '../tls/admit.js';
import { connectionOf, type ConnectionFacts } from '../tls/peer.js';
import { DoorAttributes } from './door-attributes.js';
import { applyEdits, sentHeaders, type HeaderEdits } from './door-request.js';
import type { Entrance } from './inbound.js';
import { hop, hopEffects } from './hop-step.js';
import type { InboundOptions, Plan } from './plan.js';
import { createRefusal, Refused } from './refusal.js';

// Looked up once: each is asked on every request whether anyone listens.
const heard = {
  normalize: stepEvents.normalize.native,
  strip: stepEvents.strip.native,
  jwt: stepEvents.jwt.native,
  authorize: stepEvents.authorize.native,
  handOver: stepEvents['hand-over'].native,
};

/** Says that a step let the request pass. */
export function passed(step: Step, subject: object, decision?: Decision, actors?: readonly string[]): void {
  stepEvents[step].publish({ step, outcome: 'passed', subject, ...detailsOf(decision, actors) });
}

/** What policies decided, with audit and dry-run results, of allowed and denied requests alike; and who carried the user here. */
function detailsOf(decision: Decision | undefined, actors?: readonly string[]): Pick<StepEvent, 'details'> {
  return decision === undefined ? {} : { details: { decision, ...(actors && { actors }) } };
}

/** Ends the story at this step. */
export function refuse(subject: object, given: Parameters<typeof createRefusal>[0], actors?: readonly string[]): never {
  const channel = stepEvents[given.step];
  if (channel.hasSubscribers) {
    const { step, code } = given;
    channel.publish({ step, outcome: 'refused', subject, code, ...detailsOf(given.decision, actors) });
  }
  throw new Refused(createRefusal(given));
}

/** Whether this connection may still be used: modes and bundles can have changed since it was accepted. */
export function accept(request: IncomingMessage, plan: Plan, entrance: Entrance): ConnectionFacts {
  const connection = connectionOf(request.socket);
  if (connection.tls && connection.peer !== undefined) {
    const objection = connection.standing?.objection();
    return objection === undefined ? connection : refuse(request, { ...reasonFor(objection), reset: true });
  }
  const port = entrance.workloadPort ?? connection.destinationPort;
  const { tlsModes } = plan.snapshot;
  if (tlsModes.modeFor(port) !== 'STRICT') return connection;
  const source = tlsModes.sourceFor(port);
  return refuse(request, {
    step: 'accept',
    code: 'ENMESH_INBOUND_PLAINTEXT',
    reason: `port ${port} is STRICT${source === undefined ? '' : ` by PeerAuthentication ${source}`} and the connection is not mutual TLS of the mesh`,
    reset: true,
  });
}

const reasonFor = ({ step, code, reason }: Objection): Pick<Objection, 'step' | 'code' | 'reason'> => ({ step, code, reason });

/** The verified peer of this connection, as long as its certificate and those that sign it live. */
export function peerIdentity(request: IncomingMessage, connection: ConnectionFacts, now: number): PeerIdentity | undefined {
  const ended = connection.standing?.objectionAt(now);
  if (ended !== undefined) {
    const { reason } = ended;
    refuse(request, { step: 'peer-identity', code: 'ENMESH_INBOUND_PEER_EXPIRED', reason, reset: true });
  }
  return connection.peer;
}

/** The path that policies judge and the router routes. */
export function normalize(
  request: IncomingMessage,
  sent: string,
  plan: Plan,
  entrance: Entrance,
  options: InboundOptions,
): RequestTarget {
  const step = 'normalize';
  if (sentHeaders(request).length >= options.maxHeaderCount * 2) {
    refuse(request, {
      step,
      code: 'ENMESH_INBOUND_TOO_MANY_HEADERS',
      reason: `the request has ${options.maxHeaderCount} header lines or more`,
    });
  }
  if (request.method === 'CONNECT') refuse(request, { step, code: 'ENMESH_INBOUND_CONNECT', reason: 'CONNECT is not served' });
  const target = parseTarget(sent, plan.snapshot.mesh.pathNormalization);
  if (!target.ok) return refuse(request, { step, code: 'ENMESH_INBOUND_TARGET', reason: target.reason });
  // Express runs middleware for it that a policy on `/*` does not stop.
  if (target.path === '*' && request.method !== 'OPTIONS') {
    refuse(request, { step, code: 'ENMESH_INBOUND_TARGET', reason: 'the target * belongs to OPTIONS alone' });
  }
  if (!target.plain && isAmbiguousForRouter(target.path, entrance.router)) {
    refuse(request, {
      step,
      code: 'ENMESH_INBOUND_TARGET',
      reason: 'decoding would turn the path into another route',
    });
  }
  if (!entrance.mayRewrite && target.changed) {
    const reason = 'normalization changes the target, and the router has already seen it as it was sent (middleware form)';
    refuse(request, { step, code: 'ENMESH_INBOUND_TARGET_CHANGED', reason });
  }
  if (heard.normalize.hasSubscribers) passed(step, request);
  return target;
}

/** Forged and ambiguous headers, found before anything reads one. */
export function strip(
  request: IncomingMessage,
  target: RequestTarget,
  plan: Plan,
  entrance: Entrance,
  connection: ConnectionFacts,
  options: InboundOptions,
): DoorAttributes {
  const raw = sentHeaders(request);
  const scan = plan.scan(raw, request.headers.connection);
  const host = target.authority ?? request.headers.host ?? '';
  const problem = scan.problem ?? (isHost(host) ? undefined : 'Host holds characters that do not belong into a host');
  if (problem !== undefined) refuse(request, { step: 'strip', code: 'ENMESH_INBOUND_HEADERS', reason: problem });
  const attributes = new DoorAttributes({
    method: request.method ?? '',
    path: target.path,
    query: target.query,
    host,
    raw,
    scan,
    connection,
    router: entrance.router,
    workloadPort: entrance.workloadPort ?? connection.destinationPort,
    svid: options.svid,
  });
  if (heard.strip.hasSubscribers) passed('strip', request);
  return attributes;
}

const memos = new WeakMap<object, TokenMemo>();

function memoOf(socket: object): TokenMemo {
  let memo = memos.get(socket);
  if (memo === undefined) memos.set(socket, (memo = createTokenMemo()));
  return memo;
}

/** The end user, by Istio's acceptance algorithm. A CORS preflight is not asked for a token (istio-semantics 2.9). */
export function jwt(
  request: IncomingMessage,
  attributes: DoorAttributes,
  plan: Plan,
  now: number,
  options: InboundOptions,
): JwtOutcome & { ok: true } {
  const { rules } = plan.snapshot.jwt;
  const spokenFor =
    attributes.scan.removed === undefined || isPreflight(request, attributes)
      ? undefined
      : hopUser(request, attributes, plan, now, options);
  if (spokenFor !== undefined) return spokenFor;
  if (rules.length === 0 || isPreflight(request, attributes)) {
    if (heard.jwt.hasSubscribers) passed('jwt', request);
    return withoutToken;
  }
  const outcome = options.verifier.verify(plan.snapshot.jwt, attributes, now, memoOf(request.socket));
  if (!outcome.ok) {
    const { code, status, body, reason } = outcome;
    return refuse(request, { step: 'jwt', code, status, body, reason, challenge: challengeOf(attributes, outcome.invalidToken) });
  }
  attributes.accept(outcome);
  if (heard.jwt.hasSubscribers) passed('jwt', request);
  return outcome;
}

/** The user by a hop token, where the request brings one that is read here. */
function hopUser(
  request: IncomingMessage,
  attributes: DoorAttributes,
  plan: Plan,
  now: number,
  options: InboundOptions,
): (JwtOutcome & { ok: true }) | undefined {
  const spokenFor = hop(request, attributes, plan, now, options);
  if (spokenFor === undefined) return undefined;
  if (!spokenFor.ok) {
    const { code, reason } = spokenFor;
    return refuse(request, { step: 'jwt', code, reason, challenge: challengeOf(attributes, true) });
  }
  const accepted = { ok: true, user: spokenFor.user, effects: hopEffects(spokenFor, plan.snapshot.jwt) } as const;
  attributes.accept(accepted);
  attributes.hop = spokenFor;
  if (heard.jwt.hasSubscribers) {
    const { user, actors } = spokenFor;
    stepEvents.jwt.publish({ step: 'jwt', outcome: 'passed', subject: request, details: { user: user.principal, actors } });
  }
  return accepted;
}

/** A CORS preflight is not asked for a token (istio-semantics 2.9). */
export const isPreflight = (request: IncomingMessage, attributes: DoorAttributes): boolean =>
  request.method === 'OPTIONS' && isCorsPreflight('OPTIONS', (name) => attributes.header(name));

const withoutToken = { ok: true, user: undefined, effects: undefined } as const;

/** Envoy's challenge (istio-semantics 2.6), without the query: a token may stand there. */
function challengeOf(attributes: DoorAttributes, invalidToken: boolean): string {
  const host = /^[\w.:[\]-]*$/.test(attributes.host) ? attributes.host : '';
  const realm = `${attributes.forwardedProto === 'https' ? 'https' : 'http'}://${host}${attributes.path}`
    .slice(0, 256)
    .replace(/["\\]/g, '');
  return `Bearer realm="${realm}"${invalidToken ? ', error="invalid_token"' : ''}`;
}

/** DENY, then ALLOW, with AUDIT beside. */
export function authorize(request: IncomingMessage, attributes: DoorAttributes, plan: Plan): Decision {
  const decision = evaluatePolicies(plan.snapshot.policies, attributes);
  if (!decision.allowed) {
    const judged = { attributes, snapshot: plan.snapshot };
    refuse(
      request,
      { step: 'authorize', code: 'ENMESH_POLICY_DENIED', reason: reasonOf(decision, plan), decision, judged },
      actorsOf(attributes),
    );
  }
  if (heard.authorize.hasSubscribers) passed('authorize', request, decision, actorsOf(attributes));
  return decision;
}

const actorsOf = ({ user, hop: spokenFor }: DoorAttributes): readonly string[] => tellActors(user, spokenFor?.actors);

/** Why policies denied, in the words of refusals. */
export function reasonOf(decision: Decision, plan: Plan): string {
  if (decision.reason === 'deny-matched') return `rule ${decision.rule} of DENY policy ${decision.policy} matched`;
  if (decision.reason === 'evaluation-failed') return 'evaluating the policies failed, so nothing was allowed';
  return notAllowedBy(plan.snapshot.policies);
}

const notAllowed = new WeakMap<PolicySet, string>();
const maxNamed = 5;

/** Which ALLOW policies had no rule that matched: the ones to look at. Made once per snapshot, because anyone can be refused at any rate. */
function notAllowedBy(policies: PolicySet): string {
  let text = notAllowed.get(policies);
  if (text === undefined) {
    const names = [...new Set(policies.allow?.map(({ policy }) => policy))];
    const more = names.length > maxNamed ? ` and ${names.length - maxNamed} more` : '';
    const listed = `${names.slice(0, maxNamed).join(', ')}${more}`;
    text = names.length === 0 ? 'an ALLOW policy without rules allows nothing' : `no rule matched of ALLOW policy ${listed}`;
    notAllowed.set(policies, text);
  }
  return text;
}

/** What the handler gets: the token gone, the verified payload and the normalized target in its place. */
export function handOver(
  request: IncomingMessage,
  target: RequestTarget,
  attributes: DoorAttributes,
  token: JwtOutcome & { ok: true },
  plan: Plan,
  options: InboundOptions,
): void {
  const { effects } = token;
  const { scan } = attributes;
  const simple =
    scan.removed === undefined &&
    scan.joined === undefined &&
    target.authority === undefined &&
    attributes.overlay === undefined &&
    !options.istioHeaders;
  const edits = plan.editsOf(effects);
  applyEdits(request, simple ? edits : combine(edits, attributes, target, options));
  const query = attributes.judgedQuery;
  // In the middleware form nothing but the query may change here: the path was refused if normalization changes it.
  if (target.changed || query !== target.query) request.url = target.path + query;
  if (heard.handOver.hasSubscribers) passed('hand-over', request);
}

/** The edits of a request that has more to it than its token. */
function combine(token: HeaderEdits, attributes: DoorAttributes, target: RequestTarget, options: InboundOptions): HeaderEdits {
  const { scan } = attributes;
  const removed = [...token.removed, ...(scan.removed ?? [])];
  const joined = new Map(scan.joined);
  const added: AddedHeader[] = [...overlayOf(attributes, token, removed, options), ...token.added];
  if (target.authority !== undefined) joined.set('host', target.authority);
  if (options.istioHeaders) {
    for (const [name, value] of istioHeadersOf(attributes)) {
      removed.push(name);
      added.push([name, value]);
    }
  }
  return { removed, joined, added, strip: token.strip };
}

/** Headers that `istioHeaders` writes whatever others say of them. */
const writtenByUs = ['x-forwarded-proto', 'x-request-id', 'x-forwarded-client-cert'];

/** What an external authorizer set; what the token step takes away or writes itself comes after it, as Istio's filters stand. */
function overlayOf(
  { overlay }: DoorAttributes,
  token: HeaderEdits,
  removed: string[],
  { istioHeaders }: InboundOptions,
): readonly AddedHeader[] {
  if (overlay === undefined) return [];
  const taken = new Set([...token.removed, ...token.added.map(([name]) => name), ...(istioHeaders ? writtenByUs : [])]);
  removed.push(...overlay.removed, ...overlay.set.keys());
  return [...overlay.set].filter(([name]) => !taken.has(name));
}

function istioHeadersOf(attributes: DoorAttributes): AddedHeader[] {
  const headers: AddedHeader[] = [
    ['x-forwarded-proto', attributes.forwardedProto],
    ['x-request-id', attributes.requestId],
  ];
  const certificate = attributes.forwardedClientCert;
  if (certificate !== undefined) headers.push(['x-forwarded-client-cert', certificate]);
  return headers;
}
