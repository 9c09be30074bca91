import { EnmeshError } from '../errors.js';
import type { HttpProvider } from '../policy/provider.js';
import {
  isOfTheHop,
  noChanges,
  type CheckOutcome,
  type CheckRequest,
  type CustomAuthorizer,
  type HeaderLine,
} from './contract.js';
import { compileHeaderList, type HeaderMatcher } from './header-pattern.js';

/** One HTTP request to an authorizer and its answer. Never follows a redirect; rejects when the body is longer than `maxBytes`. */
export type CheckExchange = (request: {
  /** `http://<host>:<port>`, resolved as a call of this workload. */
  readonly origin: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  readonly signal: AbortSignal;
  readonly maxBytes: number;
}) => Promise<{ readonly status: number; readonly headers: readonly HeaderLine[]; readonly body: Buffer }>;

/** What an authorizer may answer with, as Envoy's buffer limit. */
const maxAnswerBytes = 1024 * 1024;

/** Where a provider is: `[<namespace>/]<host>`; a namespace completes a name without dots. */
export function originOf({ service, port }: { readonly service: string; readonly port: number }): string {
  const [host = '', namespace] = service.split('/').reverse();
  const name = namespace === undefined || host.includes('.') ? host : `${host}.${namespace}.svc.cluster.local`;
  return `http://${name}:${port}`;
}

/**
 * The check of `envoyExtAuthzHttp` (istio-semantics 3.13): the request's method, host and path with the provider's prefix; 200 allows,
 * 5xx is a failure, anything else denies with that answer. Rejects with `ENMESH_CUSTOM_CHECK_FAILED` or what the exchange rejects with.
 */
export function createHttpAuthorizer(provider: HttpProvider, exchange: CheckExchange): CustomAuthorizer {
  const origin = originOf(provider);
  const isSent = compileHeaderList(['authorization', ...provider.includeRequestHeadersInCheck]);
  const lists: AnswerLists = {
    upstream: compileHeaderList(provider.headersToUpstreamOnAllow),
    listed: new Set(provider.headersToUpstreamOnAllow),
    onAllow: compileHeaderList(provider.headersToDownstreamOnAllow),
    onDeny:
      provider.headersToDownstreamOnDeny.length === 0
        ? () => true
        : compileHeaderList(['www-authenticate', 'location', ...provider.headersToDownstreamOnDeny]),
  };
  return {
    async check(request, signal) {
      const answer = await exchange({
        origin,
        method: request.method,
        path: provider.pathPrefix + request.path,
        headers: headersOf(request, provider, isSent),
        body: request.body,
        signal,
        maxBytes: maxAnswerBytes,
      });
      if (answer.status >= 500)
        throw new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', `the authorizer ${provider.name} answered ${answer.status}`);
      const headers = answer.headers.filter(([name]) => !isOfTheHop(name));
      return answer.status === 200 ? allow(headers, lists) : deny(answer, headers, lists);
    },
    close() {},
  };
}

interface AnswerLists {
  readonly upstream: HeaderMatcher;
  readonly listed: ReadonlySet<string>;
  readonly onAllow: HeaderMatcher;
  readonly onDeny: HeaderMatcher;
}

function headersOf(request: CheckRequest, provider: HttpProvider, isSent: HeaderMatcher): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) if (isSent(name)) headers[name] = value;
  if (request.body !== undefined) headers['x-envoy-auth-partial-body'] = String(request.isPartial);
  for (const [name, value] of Object.entries(provider.includeAdditionalHeadersInCheck))
    if (!isOfTheHop(name)) headers[name] = value;
  headers['host'] = request.host;
  return headers;
}

/** The response header by which an authorizer takes headers off the request, as in Envoy. */
const removal = 'x-envoy-auth-headers-to-remove';

function allow(headers: readonly HeaderLine[], lists: AnswerLists): CheckOutcome {
  const removeHeaders = headers
    .filter(([name]) => name === removal)
    .flatMap(([, value]) => value.split(',').map((item) => item.trim().toLowerCase()))
    .filter((name) => name !== '' && !isOfTheHop(name));
  const joined = new Map<string, string>();
  for (const [name, value] of headers) {
    if (!lists.upstream(name) || name === removal) continue;
    const before = joined.get(name);
    joined.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const setHeaders = [...joined].map(([name, value]) => ({
    name,
    value,
    action: 'overwrite' as const,
    isListed: lists.listed.has(name),
  }));
  return {
    allowed: true,
    changes: { ...noChanges, setHeaders, removeHeaders, responseHeaders: headers.filter(([name]) => lists.onAllow(name)) },
  };
}

function deny(
  answer: { readonly status: number; readonly body: Buffer },
  headers: readonly HeaderLine[],
  lists: AnswerLists,
): CheckOutcome {
  return {
    allowed: false,
    status: answer.status,
    // The date is that of our own answer.
    headers: headers.filter(([name]) => lists.onDeny(name) && name !== 'date' && name !== removal),
    body: answer.body,
  };
}
