/** How much of a request's body is sent with a check: `includeRequestBodyInCheck` of a provider. */
export interface CheckBody {
  /** In bytes, at least 1. A longer body is refused with 413, or sent cut off where `allowPartialMessage` says so. */
  readonly maxRequestBytes: number;
  readonly allowPartialMessage: boolean;
  /** gRPC only: as `raw_body` instead of UTF-8 text. */
  readonly packAsBytes: boolean;
}

interface ProviderBase {
  readonly name: string;
  /** `[<namespace>/]<host>` as written: a service of the mesh or any other host. */
  readonly service: string;
  readonly port: number;
  /** How long one check may take, in milliseconds. Istio's default of 600 s is 5 s here (docs/deviations.md). */
  readonly timeoutMs: number;
  /** Whether a check that fails (dead, late or faulty authorizer) lets the request pass. Default false. */
  readonly failOpen: boolean;
  /** The status of a request whose check failed, unless `failOpen`. Default 403. */
  readonly statusOnError: number;
  readonly body: CheckBody | undefined;
}

/**
 * `envoyExtAuthzHttp` of MeshConfig's `extensionProviders[]`, defaults filled in. Header lists hold names in lower case, `prefix*` or `*suffix`.
 */
export interface HttpProvider extends ProviderBase {
  readonly kind: 'http';
  /** Put before the path of the request; empty, or begins with `/`. */
  readonly pathPrefix: string;
  readonly includeRequestHeadersInCheck: readonly string[];
  /** Fixed headers of every check, by lower-case name; they replace those of the request. */
  readonly includeAdditionalHeadersInCheck: Readonly<Record<string, string>>;
  readonly headersToUpstreamOnAllow: readonly string[];
  /** Empty: all of them. */
  readonly headersToDownstreamOnDeny: readonly string[];
  readonly headersToDownstreamOnAllow: readonly string[];
}

/** `envoyExtAuthzGrpc` of MeshConfig's `extensionProviders[]`, defaults filled in. */
export interface GrpcProvider extends ProviderBase {
  readonly kind: 'grpc';
}

/** An external authorizer that action CUSTOM can name (istio-semantics 3.13). Plain data. */
export type ExtensionProvider = HttpProvider | GrpcProvider;
