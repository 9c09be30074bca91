import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { isForbiddenAddress } from '../jwt/addresses.js';
import { createAuthoritiesFile } from '../x509/authorities-file.js';
import { runAsMesh } from './context.js';
import type { ExchangedToken } from './exchange-answer.js';
import { createExchangeCache, type ExchangeOutcome } from './exchange-cache.js';
import { sendTokenPost, type SendTokenPost } from './exchange-post.js';
import { requestExchange } from './exchange-request.js';
import type { ExchangeSpec } from './resource.js';
import { createSourceMemory, type FailureSays } from './source-memory.js';
import type { TokenNote } from './token-note.js';

/** What {@link createTokenExchange} is made of. */
export interface TokenExchangeOptions {
  readonly spec: ExchangeSpec;
  /** For `tls_client_auth`, for the JWT-SVIDs of `jwt_svid` and `actorToken`, and for the client_id where none is given. */
  readonly identity?: MeshIdentity;
  /** How token requests are sent; by default on connections of their own. */
  readonly fetchToken?: SendTokenPost;
  /** Whether `fetchToken` reaches this host by mutual TLS, so that `http://` is secure. Ignored without one. */
  readonly isMeshHost?: (host: string, port: number) => boolean;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** For one exchange, in milliseconds; 5000 by default. */
  readonly timeoutMs?: number;
}

/** A user's token as it came in; `expiresAt` in milliseconds since the epoch, Infinity when it has no end. */
export interface SubjectToken {
  readonly text: string;
  readonly expiresAt: number;
}

/** Exchanges users' tokens at one endpoint for one audience. */
export interface TokenExchange {
  /**
   * The token to send in place of the user's. Rejects with an `ENMESH_PROPAGATION_EXCHANGE_` code (or `ENMESH_IDENTITY_NONE`) when there is none to be had:
   * the call is then not made, never with the user's own token. `note` gets whether the provider was asked.
   */
  tokenFor(raw: SubjectToken, note?: TokenNote): Promise<string>;
  /** Ends what is in flight; later calls are refused. */
  close(): void;
}

/** So many different users wait for the endpoint at once; one more is refused at once. */
export const maxExchangesInFlight = 256;

/** A refusal counts for so long, that one user's calls do not become as many token requests. */
const refusalMs = 1_000;

/** A token is used for so long at most, whatever it and the user's say of their ends. */
const longestUseMs = 3_600_000;

const failed = (reason: string): EnmeshError => new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_FAILED', reason);
const settings = (reason: string): EnmeshError => new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_SETTINGS', reason);

/**
 * Creates the exchange of one `exchange:` entry (RFC 8693). A token is asked for once per user's token, however many calls wait for it, and used until the least of
 * `expires_in`, its own `exp` and the user's `exp`, less a tenth of that time and at most 30 s; without one of the first two only by those who waited. An endpoint that gives
 * no answer is asked by one call at a time, with pauses of up to a second; the others are refused at once. Throws `ENMESH_PROPAGATION_EXCHANGE_SETTINGS` for an endpoint that is never asked.
 */
export function createTokenExchange(options: TokenExchangeOptions): TokenExchange {
  checkEndpoint(options);
  const { clock = Date.now } = options;
  const cache = createExchangeCache({});
  const inFlight = new Map<string, Promise<ExchangedToken>>();
  const closing = new AbortController();
  setMaxListeners(maxExchangesInFlight, closing.signal);
  const ask = createAsking(options, closing.signal);
  const begin = async (key: string, raw: SubjectToken): Promise<ExchangedToken> => {
    try {
      const token = await ask(raw.text);
      const fresh = { token, freshUntil: freshUntil(token, raw, clock()) };
      if (!closing.signal.aborted && fresh.freshUntil > clock()) cache.keep(key, fresh);
      return token;
    } catch (error) {
      const known = isEnmeshError(error) ? error : failed('the exchange threw');
      if (isAboutTheUser(known)) cache.keep(key, { error: known, freshUntil: clock() + refusalMs });
      throw known;
    } finally {
      inFlight.delete(key);
    }
  };
  return {
    async tokenFor(raw, note) {
      if (closing.signal.aborted) throw failed('the mesh is closed');
      const now = clock();
      checkEnd(raw, now);
      const key = keyOf(raw, options);
      const known = cache.find(key, now);
      if (note !== undefined) note.token = known === undefined ? 'fetched' : 'cached';
      if (known !== undefined) return textOf(known);
      let running = inFlight.get(key);
      if (running === undefined) {
        if (inFlight.size >= maxExchangesInFlight) throw failed(`${maxExchangesInFlight} exchanges are in flight`);
        inFlight.set(key, (running = begin(key, raw)));
      }
      const { text } = await running;
      // The user's may have ended while the provider was asked.
      checkEnd(raw, clock());
      return text;
    },
    close() {
      closing.abort();
      cache.clear();
    },
  };
}

function checkEnd({ expiresAt }: SubjectToken, now: number): void {
  // Written so that a clock that is no number refuses.
  if (!(now < expiresAt)) throw new EnmeshError('ENMESH_PROPAGATION_USER_EXPIRED', 'the token of the user has expired');
}

/** One attempt within its time limit, unless the endpoint is being left in peace. */
function createAsking(options: TokenExchangeOptions, closing: AbortSignal): (subject: string) => Promise<ExchangedToken> {
  const { spec, identity, fetchToken: post = sendTokenPost, clock: now = Date.now, timeoutMs = 5_000 } = options;
  const { caFile } = spec;
  const authorities =
    caFile === undefined ? undefined : createAuthoritiesFile(caFile, (reason) => settings(`exchange.caFile ${reason}`));
  const memory = createSourceMemory({
    ...{ limitMs: timeoutMs, now },
    judge: whatFailureSays,
    refuse: (last, since) =>
      failed(
        `${isEnmeshError(last) ? last.message : 'the exchange threw'}. So it is since ${since}; it is asked again within a second or two`,
      ),
  });
  return (subject) =>
    memory.ask(async (limitMs) => {
      // Again, because what is reached by mutual TLS can change with the configuration.
      checkEndpoint(options);
      const attempt = createDeadline(limitMs, closing);
      try {
        const request = { spec, subject, identity, post, authorities, signal: attempt.signal, now };
        // Whoever's request this began in, it is the mesh that asks.
        return await Promise.race([runAsMesh(() => requestExchange(request)), attempt.passed]);
      } finally {
        attempt.end();
      }
    });
}

/** A file that cannot be used or a missing JWT-SVID says nothing of the endpoint: it was not asked. */
function whatFailureSays(error: unknown): FailureSays {
  if (!isEnmeshError(error) || error.code === 'ENMESH_PROPAGATION_EXCHANGE_FAILED') return 'silent';
  return isAboutTheUser(error) ? 'answered' : 'nothing';
}

interface Deadline {
  readonly signal: AbortSignal;
  /** Rejects when the time is over, also when what was begun does not heed the signal. */
  readonly passed: Promise<never>;
  end(): void;
}

function createDeadline(timeoutMs: number, closing: AbortSignal): Deadline {
  const controller = new AbortController();
  let refuse: (error: Error) => void = () => {};
  const passed = new Promise<never>((_, reject) => (refuse = reject));
  passed.catch(() => {});
  const stop = (reason: string) => (): void => {
    refuse(failed(reason));
    controller.abort();
  };
  const onClose = stop('the mesh is closed');
  const timer = setTimeout(stop(`the token endpoint gives no answer within ${timeoutMs} ms`), timeoutMs);
  closing.addEventListener('abort', onClose);
  return {
    signal: controller.signal,
    passed,
    end() {
      clearTimeout(timer);
      closing.removeEventListener('abort', onClose);
    },
  };
}

/** Throws for what is never asked: plain http that nothing allows, link-local and metadata addresses. */
function checkEndpoint({ spec, isMeshHost, fetchToken }: TokenExchangeOptions): void {
  const refuse = (why: string): never => {
    throw settings(`the tokenEndpoint cannot be used: ${why}`);
  };
  if (!URL.canParse(spec.tokenEndpoint)) return refuse('it is no URL');
  const { protocol, hostname, port, username, password } = new URL(spec.tokenEndpoint);
  if (isForbiddenAddress(hostname)) return refuse('it is at a link-local or metadata address');
  if (username !== '' || password !== '') return refuse('it holds a user or password; clientAuth is the place for these');
  if (protocol === 'https:') return;
  if (protocol !== 'http:') return refuse('it is neither https nor http');
  const isSecure = fetchToken !== undefined && isMeshHost?.(hostname, port === '' ? 80 : Number(port)) === true;
  if (!isSecure && spec.insecureHttp !== true) return refuse('plain http is not used for tokens without insecureHttp: true');
}

/** Whether an error would come again for the same user, so that it may be remembered; the others pass when their cause is gone. */
function isAboutTheUser({ code }: EnmeshError): boolean {
  return code === 'ENMESH_PROPAGATION_EXCHANGE_REFUSED' || code === 'ENMESH_PROPAGATION_EXCHANGE_ANSWER';
}

/** Audience and scope are those of this exchange; with an SVID shown the answer may be bound to it (RFC 8705 section 3). */
function keyOf({ text }: SubjectToken, { spec, identity }: TokenExchangeOptions): string {
  const hash = createHash('sha256').update(text).digest('base64url');
  return spec.clientAuth.method === 'tls_client_auth' ? `${hash} ${identity?.svid.current().serial ?? ''}` : hash;
}

function textOf(outcome: ExchangeOutcome): string {
  if ('error' in outcome) throw outcome.error;
  return outcome.token.text;
}

function freshUntil({ expiresAt }: ExchangedToken, raw: SubjectToken, now: number): number {
  const life = Math.min(expiresAt, raw.expiresAt, now + longestUseMs) - now;
  return now + life - Math.min(30_000, life / 10);
}
