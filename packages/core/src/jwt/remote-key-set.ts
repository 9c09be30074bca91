import { EnmeshError, isEnmeshError } from '../errors.js';
import { noticeEvents } from '../telemetry/events.js';
import { isForbiddenAddress } from './addresses.js';
import { maxFetchedBytes, type FetchText } from './fetch-text.js';
import { parseKeySet, type JwtKey } from './jwk.js';
import type { KeySource } from './rules.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** The keys of an issuer as verification sees them. `generation` changes whenever `keys` does; after `freshUntil` (ms) they no longer count. */
export interface KeySet {
  readonly generation: number;
  readonly keys: readonly JwtKey[];
  /** -Infinity while nothing was ever fetched. */
  readonly freshUntil: number;
  /** Tells the set that a token came which it has no key for; a fetched set is then fetched again, at most every 30 seconds. */
  missed(): void;
}

/** A key set that is fetched and renewed in the background until it is closed. */
export interface RemoteKeySet extends KeySet {
  /** Settles when the first attempt has, whatever came of it. */
  readonly tried: Promise<void>;
  close(): void;
}

/** What a remote key set works with; see `createKeySets`. */
export interface RemoteKeySetOptions {
  readonly source: Extract<KeySource, { kind: 'remote' }>;
  readonly insecureHttp: (issuer: string) => boolean;
  readonly isMeshHost: (host: string, port: number) => boolean;
  readonly fetchText: FetchText;
  readonly clock: () => number;
  readonly random: () => number;
  readonly timer: Timer;
}

/** Runs something once after `ms` milliseconds unless the returned function is called before. */
export type Timer = (run: () => void, ms: number) => () => void;

const minute = 60_000;
const refreshEvery = 20 * minute;
const firstRetry = minute;
const lastRetry = 60 * minute;
const missCooldown = 30_000;
const staleAfter = 24 * 60 * minute;

/**
 * Starts fetching a key set: at once, then every 20 minutes; after a failure in 1 minute, doubling up to 60 (istio-semantics 2.8), all with
 * 10 % of jitter. Keys that the issuer removed are dropped; while it cannot be reached, the last ones count for 24 hours.
 */
export function createRemoteKeySet(options: RemoteKeySetOptions): RemoteKeySet {
  const { source, clock, random, timer } = options;
  let state = { generation: 0, keys: [] as readonly JwtKey[], freshUntil: -Infinity, body: '' };
  let failures = 0;
  let attemptedAt = -Infinity;
  let running = false;
  let cancel = (): void => {};
  const closing = new AbortController();

  const schedule = (delay: number): void => {
    cancel();
    if (!closing.signal.aborted) cancel = timer(() => void attempt(), delay * (0.9 + 0.2 * random()));
  };
  const succeed = (body: string): void => {
    const parsed = body === state.body ? undefined : parseKeySet(body);
    const { generation, keys } = parsed === undefined ? state : { generation: state.generation + 1, keys: parsed.keys };
    state = { generation, keys, freshUntil: clock() + staleAfter, body };
    if (parsed !== undefined || failures > 0) tellRefreshed(source, keys.length, parsed?.skipped ?? 0);
    failures = 0;
    schedule(refreshEvery);
  };
  const fail = (error: unknown): void => {
    failures++;
    tellFailed(source, error, state.freshUntil > clock());
    schedule(Math.min(firstRetry * 2 ** (failures - 1), lastRetry));
  };
  const attempt = async (): Promise<void> => {
    if (running || closing.signal.aborted) return;
    running = true;
    attemptedAt = clock();
    try {
      const body = await fetchKeySet(options, closing.signal);
      if (!closing.signal.aborted) succeed(body);
    } catch (error) {
      if (!closing.signal.aborted) fail(error);
    } finally {
      running = false;
    }
  };
  const tried = attempt();
  return {
    tried,
    get generation() {
      return state.generation;
    },
    get keys() {
      return state.keys;
    },
    get freshUntil() {
      return state.freshUntil;
    },
    missed() {
      if (!running && clock() - attemptedAt >= missCooldown) void attempt();
    },
    close() {
      closing.abort();
      cancel();
      // Whoever still holds a verdict made with these keys has to ask again.
      state = { generation: state.generation + 1, keys: [], freshUntil: -Infinity, body: '' };
    },
  };
}

async function fetchKeySet(options: RemoteKeySetOptions, closing: AbortSignal): Promise<string> {
  const { source } = options;
  if (source.uri !== undefined) return fetchBody(options, source.uri, closing);
  const document = await fetchBody(options, `${source.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, closing);
  let found: unknown;
  try {
    found = parseStrictJson(document);
  } catch {
    throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'the discovery document is not JSON');
  }
  const uri = isJsonObject(found) ? found['jwks_uri'] : undefined;
  if (typeof uri !== 'string') throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'the discovery document has no jwks_uri');
  return fetchBody(options, uri, closing);
}

async function fetchBody(options: RemoteKeySetOptions, uri: string, closing: AbortSignal): Promise<string> {
  const { timeoutMs } = options.source;
  checkAddress(options, uri);
  const attempt = new AbortController();
  const stop = (): void => attempt.abort();
  closing.addEventListener('abort', stop);
  let cancel = (): void => {};
  try {
    // The fetcher may be another's, so the deadline is kept here as well.
    const deadline = new Promise<never>((_, reject) => {
      cancel = options.timer(() => {
        reject(new EnmeshError('ENMESH_JWT_FETCH_FAILED', `no answer within ${timeoutMs} ms`));
        stop();
      }, timeoutMs);
    });
    const { status, body } = await Promise.race([options.fetchText(uri, { timeoutMs, signal: attempt.signal }), deadline]);
    if (status < 200 || status >= 300) throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', `it answers with status ${status}`);
    if (body.length > maxFetchedBytes) throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'its answer is larger than 1 MiB');
    if (/^\s*</.test(body)) throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'it answers with HTML');
    return body;
  } finally {
    cancel();
    closing.removeEventListener('abort', stop);
  }
}

/** Throws `ENMESH_JWT_FETCH_REFUSED` for a URI that is never fetched. */
function checkAddress({ source, insecureHttp, isMeshHost }: RemoteKeySetOptions, uri: string): void {
  const refuse = (why: string): never => {
    throw new EnmeshError('ENMESH_JWT_FETCH_REFUSED', why);
  };
  if (!URL.canParse(uri))
    return refuse(source.uri === undefined ? 'the issuer has no key set at a URL; give jwks or jwksUri' : 'it is no URL');
  const { protocol, hostname, port } = new URL(uri);
  if (isForbiddenAddress(hostname)) return refuse('it is a link-local or metadata address');
  if (protocol === 'https:') return;
  if (protocol !== 'http:') return refuse('it is neither https nor http');
  if (isMeshHost(hostname, port === '' ? 80 : Number(port))) return;
  const line = `jwks: {${JSON.stringify(source.issuer)}: {insecureHttp: true}}`;
  if (!insecureHttp(source.issuer))
    return refuse(`plain http is not used for keys; to allow it for this issuer, write in enmesh.yaml: ${line}`);
}

// Without user, password and query, which may be secret.
function placeOf({ uri }: RemoteKeySetOptions['source']): string {
  if (uri === undefined) return 'by discovery';
  if (!URL.canParse(uri)) return `at ${JSON.stringify(uri.slice(0, 200))}`;
  const { protocol, host, pathname } = new URL(uri);
  return `at ${protocol}//${host}${pathname}`;
}

const subjectOf = (source: RemoteKeySetOptions['source']): string =>
  `RequestAuthentication ${source.policy}: key set of issuer ${JSON.stringify(source.issuer)} ${placeOf(source)}`;

function tellRefreshed(source: RemoteKeySetOptions['source'], keys: number, skipped: number): void {
  if (!noticeEvents.hasSubscribers) return;
  const level = keys === 0 ? 'warn' : 'info';
  const message = `${subjectOf(source)}: ${keys} usable keys, ${skipped} others`;
  noticeEvents.publish({ kind: 'key-set-refreshed', level, message, details: { issuer: source.issuer, keys, skipped } });
}

function tellFailed(source: RemoteKeySetOptions['source'], error: unknown, keysHeld: boolean): void {
  if (!noticeEvents.hasSubscribers) return;
  const own = isEnmeshError(error);
  const reason = own ? error.message : `it cannot be fetched (${errorName(error)})`;
  const code = own ? error.code : 'ENMESH_JWT_FETCH_FAILED';
  const state = keysHeld ? 'the last keys stay in use' : 'tokens of this issuer are refused';
  const message = `${subjectOf(source)}: ${reason}; ${state}`;
  noticeEvents.publish({
    kind: 'key-set-failed',
    level: keysHeld ? 'warn' : 'error',
    code,
    message,
    details: { issuer: source.issuer },
  });
}

function errorName(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : error instanceof Error ? error.name : 'unknown error';
}
