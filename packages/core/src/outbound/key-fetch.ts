import type { Dispatcher } from 'undici';
import { EnmeshError } from '../errors.js';
import { isForbiddenAddress } from '../jwt/addresses.js';
import { maxAgeOf } from '../jwt/cache-headers.js';
import { fetchText, maxFetchedBytes, type FetchedText, type FetchText } from '../jwt/fetch-text.js';
import { runAsMesh } from '../propagation/context.js';
import { resolveDestination, type Destination } from './destination.js';
import type { OutboundOptions } from './options.js';
import { isReachedByMutualTls } from './plan.js';

/** How key sets are fetched by a mesh: from its own services as a call would go, from anywhere else as any client. */
export interface KeyFetch {
  readonly fetchText: FetchText;
  /** Whether every endpoint of this host is reached by mutual TLS, so that `http://` is secure. */
  readonly isMeshHost: (host: string, port: number) => boolean;
}

/** Creates the fetching of key sets through a mesh's dispatcher. An `http://` URL of a declared service goes to that service's endpoints. */
export function createKeyFetch(options: Pick<OutboundOptions, 'snapshot'>, dispatcher: () => Dispatcher): KeyFetch {
  const destinationOf = (host: string, port: number): Destination => {
    const snapshot = options.snapshot();
    return resolveDestination(snapshot, { client: snapshot.workload, host, port });
  };
  return {
    isMeshHost: (host, port) => isReachedByMutualTls(options.snapshot(), host, port),
    fetchText(url, limits) {
      const { protocol, hostname, port } = new URL(url);
      if (protocol !== 'http:') return fetchText(url, limits);
      const { known, endpoints = [] } = destinationOf(hostname, port === '' ? 80 : Number(port));
      if (!known) return fetchText(url, limits);
      if (endpoints.some(({ address }) => isForbiddenAddress(address))) {
        return Promise.reject(
          new EnmeshError('ENMESH_JWT_FETCH_REFUSED', 'an endpoint of it is a link-local or metadata address'),
        );
      }
      // Set off by some user's request, and not in that user's name.
      return runAsMesh(() => fetchThrough(dispatcher(), url, limits));
    },
  };
}

/** One GET through the mesh, with the limits of every fetch of keys: time, size, no redirect, no compression. */
async function fetchThrough(
  dispatcher: Dispatcher,
  url: string,
  { timeoutMs, signal }: Parameters<FetchText>[1],
): Promise<FetchedText> {
  const { origin, pathname, search } = new URL(url);
  const { statusCode, headers, body } = await dispatcher.request({
    origin,
    path: pathname + search,
    method: 'GET',
    headers: { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity', 'user-agent': 'enmesh' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  });
  try {
    if (headers['content-encoding'] !== undefined) throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'its answer is compressed');
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxFetchedBytes) throw new EnmeshError('ENMESH_JWT_FETCH_FAILED', 'its answer is larger than 1 MiB');
      chunks.push(chunk);
    }
    return {
      status: statusCode,
      contentType: String(headers['content-type'] ?? ''),
      body: Buffer.concat(chunks).toString('utf8'),
      maxAgeMs: maxAgeOf(cachingHeaders(headers)),
    };
  } catch (error) {
    body.destroy();
    throw error;
  }
}

/** Of a header that stands several times, the first counts. */
function cachingHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): Parameters<typeof maxAgeOf>[0] {
  const names = ['cache-control', 'expires', 'date', 'age'] as const;
  return Object.fromEntries(names.map((name) => [name, [headers[name]].flat()[0]]));
}
