import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { EnmeshError } from '../errors.js';
import { guardedLookup, isForbiddenAddress } from './addresses.js';
import { maxAgeOf } from './cache-headers.js';

/** Largest answer that is read, in octets. */
export const maxFetchedBytes = 1024 * 1024;

/** What a fetch of text came to. `contentType` is empty when absent; `maxAgeMs` is how long it counts by its own headers (`maxAgeOf`), where they say. */
export interface FetchedText {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
  readonly maxAgeMs?: number | undefined;
}

/** Fetches a small text over http or https. The time limit covers everything. `ca` is PEM: the authorities of an https server, in place of the system's. Rejects rather than answer with part of a body. */
export type FetchText = (
  url: string,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly ca?: string },
) => Promise<FetchedText>;

const maxRedirects = 3;

/**
 * GETs a text for the key sets: on a connection of its own, at most 1 MiB, redirects followed only within the origin and at most thrice,
 * never to a link-local or metadata address, no decompression. Rejects with `ENMESH_JWT_FETCH_FAILED` or `ENMESH_JWT_FETCH_REFUSED`.
 */
export const fetchText: FetchText = async (url, { timeoutMs, signal, ca }) => {
  const timeout = AbortSignal.timeout(timeoutMs);
  const deadline = AbortSignal.any([signal, timeout]);
  let target = new URL(url);
  try {
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const answer = await get(target, deadline, ca);
      if ('body' in answer) return answer;
      const next = new URL(answer.location, target);
      if (next.origin !== target.origin) throw refused(`it redirects to another origin`);
      target = next;
    }
  } catch (error) {
    throw timeout.aborted ? failed(`no answer within ${timeoutMs} ms`, error) : error;
  }
  throw failed(`more than ${maxRedirects} redirects`);
};

const failed = (message: string, cause?: unknown): EnmeshError => new EnmeshError('ENMESH_JWT_FETCH_FAILED', message, { cause });
const refused = (message: string): EnmeshError => new EnmeshError('ENMESH_JWT_FETCH_REFUSED', message);

function get(url: URL, signal: AbortSignal, ca: string | undefined): Promise<FetchedText | { readonly location: string }> {
  // Node resolves no literal address, so the guard at connect time would not see it.
  if (isForbiddenAddress(url.hostname)) return Promise.reject(refused('it is a link-local or metadata address'));
  const headers = { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity', 'user-agent': 'enmesh' };
  const options: RequestOptions = { method: 'GET', agent: false, headers, lookup: guardedLookup, signal };
  return new Promise((resolve, reject) => {
    const onResponse = (response: IncomingMessage): void => {
      readAnswer(response).then(resolve, reject);
    };
    // Explicit, because the environment can turn the verification of certificates off for a whole process.
    const secure = { ...options, rejectUnauthorized: true, minVersion: 'TLSv1.2' as const, ...(ca !== undefined && { ca }) };
    const request = url.protocol === 'https:' ? httpsRequest(url, secure, onResponse) : httpRequest(url, options, onResponse);
    request.on('error', reject);
    request.end();
  });
}

async function readAnswer(response: IncomingMessage): Promise<FetchedText | { readonly location: string }> {
  const { statusCode: status = 0, headers } = response;
  try {
    if (status >= 300 && status < 400 && headers.location !== undefined) return { location: headers.location };
    const { 'content-type': contentType = '', 'content-encoding': encoding = 'identity' } = headers;
    if (encoding !== 'identity') throw failed('its answer is compressed');
    if (status < 200 || status >= 300) return { status, contentType, body: '' };
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxFetchedBytes) throw failed('its answer is larger than 1 MiB');
      chunks.push(chunk);
    }
    return { status, contentType, body: Buffer.concat(chunks).toString('utf8'), maxAgeMs: maxAgeOf(headers) };
  } finally {
    response.destroy();
  }
}
