import { EnmeshError } from '../errors.js';
import { isForbiddenAddress } from './addresses.js';
import { maxFetchedBytes, type FetchedText, type FetchText } from './fetch-text.js';
import type { KeySource } from './rules.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

/** Runs something once after `ms` milliseconds unless the returned function is called before. */
export type Timer = (run: () => void, ms: number) => () => void;

/** A key set that is fetched. */
export type RemoteKeySource = Extract<KeySource, { kind: 'remote' }>;

/** What a fetch of a key set works with; see `createKeySets`. */
export interface KeySetFetchOptions {
  readonly source: RemoteKeySource;
  readonly insecureHttp: (issuer: string) => boolean;
  readonly isMeshHost: (host: string, port: number) => boolean;
  readonly fetchText: FetchText;
  /** PEM of the authorities that https servers are verified by; undefined for the system's. */
  readonly authorities: (() => Promise<string>) | undefined;
  readonly clock: () => number;
  readonly timer: Timer;
}

/** Fetches the key set of one source, by discovery where it has no URI. Rejects with `ENMESH_JWT_FETCH_FAILED` or `ENMESH_JWT_FETCH_REFUSED`. */
export type KeySetFetch = (closing: AbortSignal) => Promise<FetchedText>;

const rediscoverAfter = 20 * 60_000;

/** Makes the fetch of one source. Where discovery led to is remembered for 20 minutes or until a fetch fails, so that most refreshes are one request. */
export function createKeySetFetch(options: KeySetFetchOptions): KeySetFetch {
  const { source, clock } = options;
  let found: { readonly uri: string; readonly at: number } | undefined;
  return async (closing) => {
    if (source.uri !== undefined) return fetchBody(options, source.uri, closing);
    const age = found === undefined ? Infinity : clock() - found.at;
    if (found === undefined || !(age >= 0 && age < rediscoverAfter))
      found = { uri: await discover(options, closing), at: clock() };
    try {
      return await fetchBody(options, found.uri, closing);
    } catch (error) {
      found = undefined;
      throw error;
    }
  };
}

async function discover(options: KeySetFetchOptions, closing: AbortSignal): Promise<string> {
  const address = `${options.source.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const { body } = await fetchBody(options, address, closing);
  let document: unknown;
  try {
    document = parseStrictJson(body);
  } catch {
    throw failed('the discovery document is not JSON');
  }
  const uri = isJsonObject(document) ? document['jwks_uri'] : undefined;
  if (typeof uri !== 'string') throw failed('the discovery document has no jwks_uri');
  return uri;
}

async function fetchBody(options: KeySetFetchOptions, uri: string, closing: AbortSignal): Promise<FetchedText> {
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
        reject(failed(`no answer within ${timeoutMs} ms`));
        stop();
      }, timeoutMs);
    });
    const ca = options.authorities === undefined ? undefined : await options.authorities();
    const limits = { timeoutMs, signal: attempt.signal, ...(ca !== undefined && { ca }) };
    const answer = await Promise.race([options.fetchText(uri, limits), deadline]);
    const { status, body } = answer;
    if (status < 200 || status >= 300) throw failed(`it answers with status ${status}`);
    if (body.length > maxFetchedBytes) throw failed('its answer is larger than 1 MiB');
    if (/^\s*</.test(body)) throw failed('it answers with HTML');
    return answer;
  } finally {
    cancel();
    closing.removeEventListener('abort', stop);
  }
}

const failed = (message: string): EnmeshError => new EnmeshError('ENMESH_JWT_FETCH_FAILED', message);

/** Throws `ENMESH_JWT_FETCH_REFUSED` for a URI that is never fetched. */
function checkAddress({ source, insecureHttp, isMeshHost }: KeySetFetchOptions, uri: string): void {
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
