import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { noChanges, type CheckOutcome, type RequestChanges } from '../custom/contract.js';
import { performCheck, type CheckFailure } from '../custom/perform.js';
import { EnmeshError, type ErrorCode } from '../errors.js';
import { matchCustom, type CustomMatch } from '../policy/custom.js';
import type { Decision } from '../policy/decision.js';
import type { ExtensionProvider } from '../policy/provider.js';
import { noticeEvents, stepEvents } from '../telemetry/events.js';
import { bufferBody, hasBody, type BufferedBody } from './check-body.js';
import { checkRequestOf } from './check-request.js';
import type { DoorAttributes } from './door-attributes.js';
import { createOverlay } from './header-overlay.js';
import type { InboundOptions, Plan } from './plan.js';
import type { Refusal } from './refusal.js';
import { addResponseHeaders } from './response-headers.js';
import { passed, refuse } from './steps.js';

/** How the client of a request is reached while an authorizer decides about it. */
export interface Asking {
  /** Absent for an upgrade, whose answer is written by the application itself. */
  readonly response?: ServerResponse | undefined;
  /** The bare socket of an upgrade: its request is not told when the client goes away. */
  readonly socket?: Duplex | undefined;
  /** Whether the client waits for `100 Continue` before it sends the body. */
  readonly awaitsContinue?: boolean;
}

const heard = stepEvents.custom.native;
const continued = new WeakSet<object>();

/** Whether the client was told to send its body, so that it need not be told again. */
export function wasContinued(response: object): boolean {
  return continued.has(response);
}

/**
 * The external authorizer of the first CUSTOM rule that matches; undefined, with nothing awaited, when none does. What it allows goes on to the
 * other policies with its changes; CUSTOM never turns a denial of theirs into an allowance.
 */
export function custom(
  request: IncomingMessage,
  attributes: DoorAttributes,
  plan: Plan,
  options: InboundOptions,
  asking: Asking,
): Promise<void> | undefined {
  const match = matchCustom(plan.snapshot.policies, attributes);
  if (match === undefined) {
    if (heard.hasSubscribers) passed('custom', request);
    return undefined;
  }
  if (match.settings === undefined) return refuseMatch(request, match, 'ENMESH_CUSTOM_PROVIDER', faultOf(match));
  return ask(request, attributes, { match, provider: match.settings, plan, options, asking });
}

interface Check {
  readonly match: CustomMatch;
  readonly provider: ExtensionProvider;
  readonly plan: Plan;
  readonly options: InboundOptions;
  readonly asking: Asking;
}

async function ask(request: IncomingMessage, attributes: DoorAttributes, check: Check): Promise<void> {
  const { match, provider, options } = check;
  const client = watchClient(request, check.asking.socket);
  try {
    const body = await bodyOf(request, check);
    if (client.signal.aborted || body === 'gone') return refuseGone(request, match, client.signal.aborted);
    if (body === 'too-slow') {
      const reason = `the body that ${match.provider} wants did not come in time`;
      return refuseMatch(request, match, 'ENMESH_CUSTOM_CHECK_FAILED', reason, { status: 408, body: '' });
    }
    if (body === 'too-large') {
      const reason = `the body is longer than the maxRequestBytes of ${match.provider}`;
      return refuseMatch(request, match, 'ENMESH_CUSTOM_BODY_TOO_LARGE', reason);
    }
    const told = checkRequestOf(request, attributes, body, options.clock());
    const outcome = await performCheck(provider, () => authorizerOf(provider, options), told, client.signal);
    if (client.signal.aborted) return refuseGone(request, match, true);
    const changes = 'failed' in outcome ? resolveFailure(request, check, outcome) : changesOf(request, match, outcome);
    attributes.overlay = createOverlay(changes, attributes, check.plan.strip);
    if (check.asking.response !== undefined) addResponseHeaders(check.asking.response, changes.responseHeaders);
  } finally {
    client.stop();
  }
  if (heard.hasSubscribers) passed('custom', request);
}

function authorizerOf(provider: ExtensionProvider, { authorizerOf: find }: InboundOptions): ReturnType<NonNullable<typeof find>> {
  if (find === undefined) throw new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', 'no external authorizer can be asked here');
  return find(provider);
}

async function bodyOf(request: IncomingMessage, { provider, asking }: Check): Promise<BufferedBody | undefined> {
  if (provider.body === undefined || asking.socket !== undefined || !hasBody(request)) return undefined;
  const { response } = asking;
  if (asking.awaitsContinue === true && response !== undefined) {
    continued.add(response);
    response.writeContinue();
  }
  return bufferBody(request, provider.body);
}

function changesOf(request: IncomingMessage, match: CustomMatch, outcome: CheckOutcome): RequestChanges {
  if (outcome.allowed) return outcome.changes;
  const { status, headers, body } = outcome;
  const answer = { status, headers, payload: body, body: body.toString('utf8') };
  return refuseMatch(request, match, 'ENMESH_CUSTOM_DENIED', `${match.provider} denied with ${status}`, answer);
}

function resolveFailure(request: IncomingMessage, { match, provider }: Check, { reason }: CheckFailure): RequestChanges {
  if (!provider.failOpen) {
    const answer = { status: provider.statusOnError, body: '' };
    return refuseMatch(request, match, 'ENMESH_CUSTOM_CHECK_FAILED', reason, answer);
  }
  noticeEvents.publish({
    kind: 'check-failed-open',
    level: 'warn',
    code: 'ENMESH_CUSTOM_CHECK_FAILED',
    message: `${reason}; the request passes, because the provider says failOpen`,
  });
  return noChanges;
}

function faultOf({ fault, provider, id }: CustomMatch): string {
  const why =
    fault === 'several-providers'
      ? 'CUSTOM policies of several providers select this workload'
      : `extensionProviders has no external authorizer ${provider}`;
  return `${why}, so what ${id} matches is denied`;
}

function refuseMatch(
  request: IncomingMessage,
  { policy, rule }: CustomMatch,
  code: ErrorCode,
  reason: string,
  answer: Partial<Pick<Refusal, 'status' | 'headers' | 'payload' | 'body'>> = {},
): never {
  const decision: Decision = { allowed: false, reason: 'custom-denied', policy, rule };
  return refuse(request, { step: 'custom', code, reason: `CUSTOM rule ${rule} of ${policy}: ${reason}`, decision, ...answer });
}

function refuseGone(request: IncomingMessage, match: CustomMatch, isGone: boolean): never {
  if (isGone || request.destroyed)
    refuse(request, { step: 'custom', code: 'ENMESH_CUSTOM_CLIENT_GONE', reason: 'the client went away', reset: true });
  const reason = 'its body was read before it could be checked';
  return refuseMatch(request, match, 'ENMESH_CUSTOM_CHECK_FAILED', reason, { body: '' });
}

/** A signal that the client went away, and the end of the watch. */
function watchClient(request: IncomingMessage, socket: Duplex | undefined): { signal: AbortSignal; stop(): void } {
  const controller = new AbortController();
  const subject = socket ?? request;
  const onClose = (): void => controller.abort();
  // Node takes its own listener off the socket of an upgrade: unheard, an error would end the process.
  const onError = (): void => controller.abort();
  subject.on('close', onClose).on('error', onError);
  if (subject.destroyed) controller.abort();
  return {
    signal: controller.signal,
    stop: () => void subject.off('close', onClose).off('error', onError),
  };
}
