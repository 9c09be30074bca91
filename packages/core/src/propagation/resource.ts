import type { Resource, WorkloadSelector } from '../identity/workload.js';

/**
 * What the next hop gets of the user. `NONE`: nothing, the call goes as the service alone. `HOP`: a token bound to this very connection, signed with
 * the SVID key. `EXCHANGE`: a token that an identity provider gives for the user's (RFC 8693). `FORWARD`: the user's own token.
 */
export type PropagationMode = 'NONE' | 'HOP' | 'EXCHANGE' | 'FORWARD';

/** What kind of token an exchange asks for (RFC 8693 section 3); `txn_token` is a transaction token. */
export type RequestedTokenType = 'access_token' | 'jwt' | 'txn_token';

/** How the workload proves itself at a token endpoint. Paths are absolute or relative to the working directory; files are read again when they change. */
export interface ClientAuthSpec {
  /**
   * `client_secret_basic` and `client_secret_post` need `clientSecretFile`, `private_key_jwt` needs `privateKeyFile` (PKCS#8 PEM), `tls_client_auth` shows
   * the SVID (RFC 8705), `jwt_svid` sends a JWT-SVID as client assertion.
   */
  readonly method: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'tls_client_auth' | 'jwt_svid';
  readonly clientId?: string;
  readonly clientSecretFile?: string;
  readonly privateKeyFile?: string;
  /** `kid` of the key in `privateKeyFile`. */
  readonly keyId?: string;
  /** Whom the assertion of private_key_jwt or jwt_svid is for; the token endpoint by default. */
  readonly audience?: string;
}

/** `spec.outbound[].exchange`: what to ask an identity provider for (RFC 8693 section 2.1). */
export interface ExchangeSpec {
  readonly tokenEndpoint: string;
  /** Allows a tokenEndpoint over plain http. */
  readonly insecureHttp?: boolean;
  /** PEM of the authorities that sign the certificate of an https tokenEndpoint, in place of the system's; read at each exchange. */
  readonly caFile?: string;
  /** A single text in YAML is a list of one here. */
  readonly audience?: readonly string[];
  readonly resource?: readonly string[];
  readonly scope?: readonly string[];
  /** Whether our own JWT-SVID goes along as `actor_token`; `none` by default. */
  readonly actorToken?: 'svid-jwt' | 'none';
  readonly requestedTokenType?: RequestedTokenType;
  readonly clientAuth: ClientAuthSpec;
  /** The header the token travels in, lower case: `authorization` (after `Bearer `) by default, `txn-token` for a transaction token. */
  readonly header?: string;
}

/** `spec.outbound[]`: what calls to these hosts carry of the user. An absent `mode` is NONE. */
export interface OutboundPropagation {
  /** Services by full name, or by short name of the policy's own namespace, or `*.domain`. */
  readonly hosts: readonly string[];
  readonly mode?: PropagationMode;
  /** With HOP: the top-level claims that travel besides issuer and subject. */
  readonly claims?: readonly string[];
  /** With EXCHANGE. */
  readonly exchange?: ExchangeSpec;
}

/** `spec.inbound[]`: who may speak for users of which issuers. */
export interface InboundPropagation {
  /** Exact principals as in AuthorizationPolicy: `cluster.local/ns/shop/sa/gateway`. */
  readonly principals: readonly string[];
  readonly issuers: readonly string[];
  /** How many services may have carried the user so far, the caller among them; 4 by default. */
  readonly maxActors?: number;
}

/** `spec` of TokenPropagation (enmesh.dev/v1). */
export interface TokenPropagationSpec {
  readonly selector?: WorkloadSelector;
  readonly outbound?: readonly OutboundPropagation[];
  readonly inbound?: readonly InboundPropagation[];
}

export type TokenPropagation = Resource<TokenPropagationSpec>;
