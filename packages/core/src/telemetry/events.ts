import { channel, type Channel } from 'node:diagnostics_channel';
import type { ErrorCode } from '../errors.js';

/**
 * The steps of one request, in order (docs/request.md). Each publishes one event on the diagnostics channel `enmesh:<step>`:
 * `accept` and `peer-identity` once per connection, the others once per request or call.
 */
export const steps = [
  'accept',
  'peer-identity',
  'normalize',
  'strip',
  'custom',
  'jwt',
  'authorize',
  'hand-over',
  'handler',
  'outbound',
  'connect',
] as const;

/** A name of {@link steps}. */
export type Step = (typeof steps)[number];

/** What a step says. Never a token, key, claim value or PEM. `subject` is the request or socket it is about, as an identity to compare, not to read. */
export interface StepEvent {
  readonly step: Step;
  readonly outcome: 'passed' | 'refused';
  readonly subject: object;
  /** Why, when refused. */
  readonly code?: ErrorCode;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A refusal of any step, told once to whoever listens on `enmesh:denied`; the default voice writes it to standard error. */
export interface DeniedEvent {
  readonly id: string;
  readonly step: Step;
  readonly code: ErrorCode;
  readonly status: number;
  readonly method?: string;
  readonly path?: string;
  /** `<namespace>/<name>` and the index of the rule that decided, where one did. */
  readonly policy?: string;
  readonly rule?: number;
  readonly peer?: string;
  readonly reason: string;
  readonly remedy: string;
  /**
   * Where no ALLOW rule matched: the rules that came closest, one sentence each, the closest first, at most 5. Found when first read, which costs
   * up to a few milliseconds with very many rules: to be read while the event is told, if at all; after that it is undefined unless it was read.
   */
  readonly near?: readonly string[] | undefined;
}

/** Something that happened to the mesh itself rather than to a request, on `enmesh:notice`. */
export interface NoticeEvent {
  readonly kind:
    | 'config-loaded'
    | 'config-rejected'
    | 'config-warning'
    | 'identity-chosen'
    | 'identity-waiting'
    | 'identity-doubtful'
    | 'identity-rotated'
    | 'identity-renewal-failed'
    | 'identity-expiring'
    | 'identity-lost'
    | 'bundle-refreshed'
    | 'bundle-failed'
    | 'bundle-restored'
    | 'key-set-refreshed'
    | 'key-set-failed'
    | 'key-set-expired'
    | 'key-set-restored'
    | 'key-set-snapshot-failed'
    | 'insecure-option'
    | 'runtime-unsupported'
    | 'undecided-request'
    | 'access-log-failed'
    | 'settings-changed'
    | 'settings-rejected'
    | 'call-without-context'
    | 'call-undeclared-port'
    | 'check-failed-open'
    | 'connections-ended'
    | 'stream-ended'
    | 'certificate-issued'
    | 'certificate-refused'
    | 'authority-changed';
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly code?: ErrorCode;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A diagnostics channel with a typed message. Test `hasSubscribers` before building a payload: an event nobody hears must cost nothing. */
export interface EventChannel<Payload> {
  readonly name: string | symbol;
  readonly hasSubscribers: boolean;
  /** Node's own channel, for code that asks on every request whether anyone listens. */
  readonly native: Channel;
  publish(payload: Payload): void;
  subscribe(listener: (payload: Payload) => void): () => void;
}

/** The channel `enmesh:<name>`. */
export function eventChannel<Payload>(name: string): EventChannel<Payload> {
  const inner: Channel = channel(`enmesh:${name}`);
  return {
    name: inner.name,
    native: inner,
    get hasSubscribers() {
      return inner.hasSubscribers;
    },
    publish: (payload) => inner.publish(payload),
    subscribe(listener) {
      const heard = (message: unknown): void => listener(message as Payload);
      inner.subscribe(heard);
      return () => void inner.unsubscribe(heard);
    },
  };
}

/** One channel per step of {@link steps}. */
export const stepEvents = Object.fromEntries(steps.map((step) => [step, eventChannel<StepEvent>(step)])) as Record<
  Step,
  EventChannel<StepEvent>
>;

/** Refusals, `enmesh:denied`. */
export const deniedEvents = eventChannel<DeniedEvent>('denied');

/** One attempt to get a new SVID that came to nothing, or an SVID that could not be used. Notices tell of such trouble when it begins, and then seldom. */
export interface RenewalFailure {
  readonly code: ErrorCode;
}

/** Each failed renewal, `enmesh:renewal-failure`. */
export const renewalFailures = eventChannel<RenewalFailure>('renewal-failure');

/** Life of the mesh, `enmesh:notice`. */
export const noticeEvents = eventChannel<NoticeEvent>('notice');
