import type { GivenConnection, GivenRequest } from '@enmesh/core/inbound';
import { MisuseError } from '../output.js';
import { parseCurl } from './curl.js';

/** A request as flags tell it; everything may be absent. */
export interface RequestOptions {
  readonly url?: string;
  readonly curl?: string;
  readonly method?: string;
  readonly path?: string;
  readonly header?: readonly string[];
  readonly host?: string;
  readonly token?: string;
  /** SPIFFE ID of the caller; with it the connection is mutual TLS. */
  readonly as?: string;
  readonly sni?: string;
  readonly alpn?: readonly string[];
  /** The workload's own port; default 8080. */
  readonly port?: number;
  readonly sourceIp?: string;
  readonly destinationIp?: string;
}

/** A connection and the request on it. */
export interface Asked {
  readonly connection: GivenConnection;
  readonly request: GivenRequest;
}

/** What enmesh's own clients and Istio's sidecars offer. */
const meshAlpn = ['istio-http/1.1', 'istio', 'http/1.1'];

/** Makes the request that flags, a URL or a curl line tell; a flag wins over the curl line. Throws `MisuseError`. */
export function askedBy(options: RequestOptions): Asked {
  const curl = options.curl === undefined ? undefined : parseCurl(options.curl);
  const url = options.url ?? curl?.url;
  const place = url === undefined ? undefined : splitUrl(url);
  const headers = [...(curl?.headers ?? []), ...(options.header ?? [])].map(headerOf);
  const has = (name: string): boolean => headers.some(([other]) => other.toLowerCase() === name);
  if (options.token !== undefined) headers.push(['authorization', `Bearer ${options.token}`]);
  if (options.host !== undefined || !has('host')) headers.unshift(['host', options.host ?? place?.host ?? 'localhost']);
  const peer = options.as === undefined ? undefined : callerOf(options.as);
  const { sni, alpn = meshAlpn, port = 8080, sourceIp = '127.0.0.1', destinationIp = '127.0.0.1' } = options;
  const tls = peer === undefined ? { tls: false } : { tls: true, peer, alpn, ...(sni === undefined ? {} : { sni }) };
  return {
    connection: { ...tls, sourceIp, destinationIp, destinationPort: port },
    request: {
      ...(curl?.body === undefined ? {} : { body: curl.body }),
      method: options.method ?? curl?.method ?? 'GET',
      target: options.path ?? place?.target ?? '/',
      headers,
    },
  };
}

/**
 * The URI of a caller's certificate: as it is with `spiffe://`, else what policies call a principal. Empty is a client without a certificate.
 * Throws `MisuseError` for what is neither, such as the bare name of a service account.
 */
export function callerOf(given: string): string {
  if (given === '' || given.includes('://')) return given;
  if (/^[^/\s]+\/[^\s]*[^/\s]$/.test(given)) return `spiffe://${given}`;
  throw new MisuseError(`${JSON.stringify(given)} is no caller: write spiffe://cluster.local/ns/NAMESPACE/sa/ACCOUNT`);
}

/** Takes a URL apart without normalizing it: what is sent is what is judged. */
function splitUrl(url: string): { readonly host: string | undefined; readonly target: string } {
  if (url.startsWith('/')) return { host: undefined, target: url };
  const [, host, target = ''] = /^(?:https?:\/\/)?([^/?#\s]+)([^#\s]*)(?:#\S*)?$/i.exec(url) ?? [];
  if (host === undefined)
    throw new MisuseError(`${JSON.stringify(url)} is no URL such as http://product.shop/items, and no path`);
  return { host: host.slice(host.lastIndexOf('@') + 1), target: target.startsWith('/') ? target : `/${target}` };
}

function headerOf(line: string): [string, string] {
  const at = line.indexOf(':');
  if (at <= 0) throw new MisuseError(`${JSON.stringify(line)} is no header line such as 'x-team: orders'`);
  return [line.slice(0, at), line.slice(at + 1).trim()];
}
