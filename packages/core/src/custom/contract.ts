/** A header line to be written: name in lower case, and value. */
export type HeaderLine = readonly [name: string, value: string];

/** One end of the connection a checked request came by. */
export interface CheckPeer {
  readonly address: string;
  readonly port: number;
  /** SPIFFE ID; undefined on plaintext. */
  readonly principal: string | undefined;
}

/** A request as an external authorizer is told of it: normalized, without forged headers, before any token was looked at. */
export interface CheckRequest {
  /** x-request-id. */
  readonly id: string;
  readonly method: string;
  /** Normalized path with query. */
  readonly path: string;
  readonly host: string;
  readonly scheme: 'http' | 'https';
  /** `HTTP/1.1`. */
  readonly protocol: string;
  /** When the request came, in milliseconds. */
  readonly time: number;
  /** By lower-case name, repeated lines joined with `,`; without those of one hop. */
  readonly headers: ReadonlyMap<string, string>;
  /** The declared length of the body in bytes; -1 when it is chunked. */
  readonly size: number;
  /** Its first bytes, where the provider asks for them. */
  readonly body: Buffer | undefined;
  /** Whether `body` is cut off. */
  readonly isPartial: boolean;
  readonly source: CheckPeer;
  readonly destination: CheckPeer;
  /** TLS server name; empty when there is none. */
  readonly sni: string;
}

/**
 * How a header of an allowed request is written: in the place of what the client sent, or behind it, where the client sent one. Envoy knows no other way
 * for requests.
 */
export type HeaderAction = 'overwrite' | 'append';

/** A header that an authorizer gives to the request. */
export interface HeaderChange {
  /** Lower case. */
  readonly name: string;
  readonly value: string;
  readonly action: HeaderAction;
  /** Whether the configuration names this very header, which alone lets it be one that carries an identity. */
  readonly isListed: boolean;
}

/** What an authorizer changes of a request that it allows. */
export interface RequestChanges {
  readonly setHeaders: readonly HeaderChange[];
  /** Lower case. `host`, framing and pseudo-headers stay whatever this says. */
  readonly removeHeaders: readonly string[];
  /** Added to the final answer. */
  readonly responseHeaders: readonly HeaderLine[];
  readonly setQuery: readonly (readonly [name: string, value: string])[];
  readonly removeQuery: readonly string[];
}

/** What an authorizer says of a request. A denial is answered with its status, headers and body. */
export type CheckOutcome =
  | { readonly allowed: true; readonly changes: RequestChanges }
  | { readonly allowed: false; readonly status: number; readonly headers: readonly HeaderLine[]; readonly body: Buffer };

/**
 * Asks one external authorizer. What rejects, a throw included, is a check that failed: the provider's `failOpen` and `statusOnError` decide.
 * `signal` ends with the deadline and when the client goes away.
 */
export interface CustomAuthorizer {
  check(request: CheckRequest, signal: AbortSignal): Promise<CheckOutcome>;
  /** Ends its connections; checks in flight may fail. */
  close(): void;
}

/** An allowed request to which nothing is done. */
export const noChanges: RequestChanges = Object.freeze({
  setHeaders: [],
  removeHeaders: [],
  responseHeaders: [],
  setQuery: [],
  removeQuery: [],
});

/** Headers of one hop, of framing and of routing: no authorizer is sent them as the request's, and none may set or remove them. */
const notForAuthorizers: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'proxy-connection',
  'expect',
  'te',
  'trailer',
  'upgrade',
  'http2-settings',
]);

/** Whether a header (lower case) belongs to the hop or the message itself rather than to what is said in it. Pseudo-headers do. */
export function isOfTheHop(name: string): boolean {
  return notForAuthorizers.has(name) || name.startsWith(':');
}

/** Whether a line can stand in a message as it is: a name of RFC 9110, and a value without control characters. */
export function isHeaderLine(name: string, value: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
}
