import * as undici from 'undici';
import { createRetry, type RetryOption } from './retry.js';

/** undici's `fetch` with the option `retry`. */
export type MeshFetch = (
  input: Parameters<typeof undici.fetch>[0],
  init?: Parameters<typeof undici.fetch>[1] & RetryOption,
) => ReturnType<typeof undici.fetch>;

/** undici's `request` with the option `retry`. */
export type MeshRequest = <TOpaque = null>(
  url: Parameters<typeof undici.request>[0],
  options?: Parameters<typeof undici.request<TOpaque>>[1] & RetryOption,
) => Promise<undici.Dispatcher.ResponseData<TOpaque>>;

/**
 * `fetch` whose calls go through the mesh's dispatcher, redirects included: each hop is resolved anew by the same rules.
 * Takes the platform's own Request, FormData and Headers as well as undici's. The dispatcher cannot be replaced by an option.
 */
export function createMeshFetch(dispatcher: undici.Dispatcher): MeshFetch {
  const through = retrying(dispatcher);
  return (input, { retry, ...init } = {}) => {
    try {
      const body = adoptBody(init.body);
      const options = { ...init, ...(body !== undefined && { body }), dispatcher: through(retry) } as undici.RequestInit;
      return undici.fetch(adoptRequest(input), options);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}

/** undici's `request`, about four times quicker than `fetch`, through the mesh's dispatcher. */
export function createMeshRequest(dispatcher: undici.Dispatcher): MeshRequest {
  const through = retrying(dispatcher);
  return ((url: string | URL, options?: RetryOption) => {
    if (options?.retry === undefined) return undici.request(url, { ...options, dispatcher });
    const { retry, ...rest } = options;
    try {
      return undici.request(url, { ...rest, dispatcher: through(retry) });
    } catch (error) {
      return Promise.reject(error);
    }
  }) as MeshRequest;
}

/** The dispatcher itself, or one that tries again; one for each number of attempts that was ever asked for. */
function retrying(dispatcher: undici.Dispatcher): (retry: RetryOption['retry']) => undici.Dispatcher {
  const made = new Map<number, undici.Dispatcher>();
  return (retry) => {
    if (retry === undefined) return dispatcher;
    let through = made.get(retry.attempts);
    if (through === undefined) made.set(retry.attempts, (through = dispatcher.compose(createRetry(retry.attempts))));
    return through;
  };
}

/** undici knows only its own classes, while code written for the platform's fetch has the platform's. */
function adoptRequest(input: undici.RequestInfo): undici.RequestInfo {
  const isForeign = input instanceof globalThis.Request && !(input instanceof undici.Request);
  if (!isForeign) return input;
  const { url, method, headers, body, redirect, signal, referrer, referrerPolicy, integrity, keepalive } =
    input as globalThis.Request;
  const init = { method, headers: [...headers], redirect, signal, referrer, referrerPolicy, integrity, keepalive };
  return new undici.Request(url, { ...init, ...(body !== null && { body, duplex: 'half' }) } as unknown as undici.RequestInit);
}

function adoptBody(body: undici.RequestInit['body']): undici.RequestInit['body'] | undefined {
  const isForeign = body instanceof globalThis.FormData && !(body instanceof undici.FormData);
  if (!isForeign) return body;
  const form = new undici.FormData();
  for (const [name, value] of body as globalThis.FormData) {
    if (typeof value === 'string') form.append(name, value);
    else form.append(name, value, value.name);
  }
  return form;
}
