import { isIPv4 } from 'node:net';
import type { CheckBody, ExtensionProvider } from '../../policy/provider.js';
import { childOf, placeAt, warnAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { flag, integer, invalidAt, listOf, mapOf, record, refined, text, type Shape } from '../shape.js';
import { duration, isDnsLabel, isHeaderName, isHostPattern, parseDuration } from './values.js';

/** Istio's default of 600 s would hold a request for ten minutes when its authorizer hangs. */
const defaultTimeoutMs = 5000;

/** Bodies are held in memory, one for each request that is being checked. */
const mostBodyBytes = 64 * 1024 * 1024;

/** What a gRPC server takes for one message unless told otherwise, less what the headers of a request may need. */
const grpcBodyBytes = 4 * 1024 * 1024 - 64 * 1024;

/** The kinds of provider that are not external authorizers. */
const otherKinds = [
  ...['zipkin', 'lightstep', 'datadog', 'stackdriver', 'opencensus', 'skywalking', 'opentelemetry', 'prometheus', 'sds'],
  ...['envoyFileAccessLog', 'envoyHttpAls', 'envoyTcpAls', 'envoyOtelAls'],
];

const providerName = refined(text({ min: 1 }), (value, place) => {
  if (!isDnsLabel(value)) invalidAt(place, `${quote(value)} is no name of a provider`, 'lower-case letters, digits and "-"');
});

const service = refined(text({ min: 1 }), (value, place) => {
  const parts = value.split('/');
  const host = parts.at(-1) ?? '';
  // An address too: an authorizer beside the service, on loopback, has no name.
  const isPlace = isHostPattern(host) || isIPv4(host);
  const isValid = parts.length <= 2 && (parts.length === 1 || isDnsLabel(parts[0] ?? '')) && isPlace;
  if (!isValid || host.startsWith('*'))
    invalidAt(place, `${quote(value)} is no service`, 'write a host, or <namespace>/<host>, without scheme and port');
});

const pathPrefix = refined(text(), (value, place) => {
  if (value !== '' && !value.startsWith('/')) invalidAt(place, 'must begin with a slash');
  else if (!/^[\x21-\x7e]*$/.test(value) || /[?#]/.test(value))
    invalidAt(place, 'must be a path: ASCII without spaces, "?" and "#"');
});

/** The statuses that Envoy knows, but for those that end no request. */
const statuses = new Set([
  ...[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308],
  ...[400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 426, 428],
  ...[429, 431, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511],
]);

const statusOnError = refined(text(), (value, place) => {
  if (value !== '' && !(/^[0-9]{3}$/.test(value) && statuses.has(Number(value))))
    invalidAt(place, `${quote(value)} is no status that a request can be answered with`, 'such as "403" or "503"');
});

/** A name, `prefix*` or `*suffix`; a lone `*` is refused, as by Istio. */
const headerPattern = refined(text({ min: 1 }), (value, place) => {
  const bare = value.replace(/^\*|\*$/, '');
  if (bare === '') invalidAt(place, 'a lone "*" is not allowed', 'name the headers');
  else if (bare.includes('*') || !isHeaderName(bare)) invalidAt(place, `${quote(value)} is no header name, prefix* or *suffix`);
});

const headerList = listOf(headerPattern);

const fixedHeaders = mapOf(
  refined(text(), (value, place) => {
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) invalidAt(place, 'a header value may hold no control characters');
  }),
  {},
  (name, place) => {
    if (!isHeaderName(name)) invalidAt(place, `${quote(name)} is no header name`);
  },
);

interface BodyFields {
  readonly maxRequestBytes: number;
  readonly allowPartialMessage?: boolean;
  readonly packAsBytes?: boolean;
}

const checkBody = record<BodyFields>(
  { maxRequestBytes: integer(1, mostBodyBytes), allowPartialMessage: flag, packAsBytes: flag },
  { required: ['maxRequestBytes'] },
);

interface CommonFields {
  readonly service: string;
  readonly port: number;
  readonly timeout?: string;
  readonly failOpen?: boolean;
  readonly statusOnError?: string;
  readonly includeRequestBodyInCheck?: BodyFields;
}

const commonFields = {
  service,
  port: integer(1, 65535),
  timeout: duration,
  failOpen: flag,
  statusOnError,
  includeRequestBodyInCheck: checkBody,
};

interface HttpFields extends CommonFields {
  readonly pathPrefix?: string;
  readonly includeHeadersInCheck?: readonly string[];
  readonly includeRequestHeadersInCheck?: readonly string[];
  readonly includeAdditionalHeadersInCheck?: Readonly<Record<string, string>>;
  readonly headersToUpstreamOnAllow?: readonly string[];
  readonly headersToDownstreamOnDeny?: readonly string[];
  readonly headersToDownstreamOnAllow?: readonly string[];
}

// Routes are not chosen again inside a process, so `clearRouteCache` has nothing to clear.
const needed = { required: ['service', 'port'], passedOver: ['clearRouteCache'] } as const;

const httpFields = record<HttpFields>(
  {
    ...commonFields,
    pathPrefix,
    includeHeadersInCheck: headerList,
    includeRequestHeadersInCheck: headerList,
    includeAdditionalHeadersInCheck: fixedHeaders,
    headersToUpstreamOnAllow: headerList,
    headersToDownstreamOnDeny: headerList,
    headersToDownstreamOnAllow: headerList,
  },
  needed,
);
const grpcFields = record<CommonFields>(commonFields, needed);

interface ProviderFields {
  readonly name: string;
  readonly envoyExtAuthzHttp?: HttpFields;
  readonly envoyExtAuthzGrpc?: CommonFields;
}

const providerFields = record<ProviderFields>(
  { name: providerName, envoyExtAuthzHttp: httpFields, envoyExtAuthzGrpc: grpcFields },
  { required: ['name'], passedOver: otherKinds },
);

/**
 * `extensionProviders[]` of MeshConfig: the external authorizers among them, defaults filled in (istio-semantics 3.13). Names are DNS labels and
 * distinct. Other kinds (tracing, access logs) are passed over with a warning each.
 */
export const extensionProviders: Shape<readonly ExtensionProvider[]> = (place) => {
  const fields = listOf(providerFields)(place);
  if (place.node.kind !== 'list' || fields === undefined) return undefined;
  const seen = new Set<string>();
  place.node.items.forEach((node, index) => checkKind({ ...place, node, path: `${place.path}[${index}]` }, seen));
  return fields.flatMap((one) => providerOf(one) ?? []);
};

function checkKind(place: Place, seen: Set<string>): void {
  const { node } = place;
  if (node.kind !== 'map') return;
  const name = childOf(place, 'name')?.node;
  if (name?.kind === 'scalar' && typeof name.value === 'string') {
    if (seen.has(name.value)) invalidAt(placeAt(place, 'name'), `there are two providers of the name ${quote(name.value)}`);
    seen.add(name.value);
  }
  const kinds = node.entries.filter(({ key }) => key.startsWith('envoyExtAuthz') || otherKinds.includes(key));
  if (kinds.length > 1) invalidAt(place, `a provider is of one kind, found ${kinds.map(({ key }) => key).join(' and ')}`);
  if (kinds.length === 0) invalidAt(place, 'names no kind of provider', 'such as envoyExtAuthzHttp or envoyExtAuthzGrpc');
  for (const { key } of kinds)
    if (otherKinds.includes(key))
      warnAt(placeAt(place, key), 'ENMESH_CONFIG_PASSED_OVER', `a provider of kind ${key} is not used by enmesh`);
  warnBigBody(placeAt(place, 'envoyExtAuthzGrpc', 'includeRequestBodyInCheck', 'maxRequestBytes'));
}

function warnBigBody(place: Place): void {
  const { node } = place;
  if (node.kind === 'scalar' && typeof node.value === 'number' && node.value > grpcBodyBytes && place.path.includes('Grpc'))
    warnAt(place, 'ENMESH_CONFIG_DOUBTFUL', 'a gRPC server refuses messages over 4 MiB unless it is told otherwise');
}

const lower = (names: readonly string[] | undefined): readonly string[] => (names ?? []).map((name) => name.toLowerCase());

function providerOf({ name, envoyExtAuthzHttp: http, envoyExtAuthzGrpc: grpc }: ProviderFields): ExtensionProvider | undefined {
  if (grpc !== undefined) return { kind: 'grpc', name, ...common(grpc) };
  if (http === undefined) return undefined;
  return {
    kind: 'http',
    name,
    ...common(http),
    pathPrefix: http.pathPrefix ?? '',
    includeRequestHeadersInCheck: lower(http.includeRequestHeadersInCheck ?? http.includeHeadersInCheck),
    includeAdditionalHeadersInCheck: Object.fromEntries(
      Object.entries(http.includeAdditionalHeadersInCheck ?? {}).map(([key, value]) => [key.toLowerCase(), value]),
    ),
    headersToUpstreamOnAllow: lower(http.headersToUpstreamOnAllow),
    headersToDownstreamOnDeny: lower(http.headersToDownstreamOnDeny),
    headersToDownstreamOnAllow: lower(http.headersToDownstreamOnAllow),
  };
}

function common(fields: CommonFields): Omit<ExtensionProvider & { kind: 'grpc' }, 'kind' | 'name'> {
  const status = fields.statusOnError ?? '';
  return {
    service: fields.service,
    port: fields.port,
    timeoutMs: fields.timeout === undefined ? defaultTimeoutMs : (parseDuration(fields.timeout) ?? defaultTimeoutMs),
    failOpen: fields.failOpen ?? false,
    statusOnError: status === '' ? 403 : Number(status),
    body: bodyOf(fields.includeRequestBodyInCheck),
  };
}

function bodyOf(fields: BodyFields | undefined): CheckBody | undefined {
  if (fields === undefined) return undefined;
  const { maxRequestBytes, allowPartialMessage = false, packAsBytes = false } = fields;
  return { maxRequestBytes, allowPartialMessage, packAsBytes };
}
