import * as undici from 'undici';

/**
 * `fetch` whose calls go through the mesh's dispatcher, redirects included: each hop is resolved anew by the same rules.
 * Takes the platform's own Request, FormData and Headers as well as undici's. The dispatcher cannot be replaced by an option.
 */
export function createMeshFetch(dispatcher: undici.Dispatcher): typeof undici.fetch {
  return (input, init) => {
    try {
      const body = adoptBody(init?.body);
      const options = { ...init, ...(body !== undefined && { body }), dispatcher } as undici.RequestInit;
      return undici.fetch(adoptRequest(input), options);
    } catch (error) {
      return Promise.reject(error);
    }
  };
}

/** undici's `request`, about four times quicker than `fetch`, through the mesh's dispatcher. */
export function createMeshRequest(dispatcher: undici.Dispatcher): typeof undici.request {
  return ((url: string | URL, options?: object) => undici.request(url, { ...options, dispatcher })) as typeof undici.request;
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
