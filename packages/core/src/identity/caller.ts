import type { SpiffeId } from './spiffe-id.js';

/**
 * Who is at the other end of a connection, read once from the verified certificate of a live mutual TLS connection.
 * Never made from a header.
 */
export interface PeerIdentity {
  readonly spiffeId: SpiffeId;
  /** `spiffe://...`, as in the certificate's one URI SAN. */
  readonly uri: string;
  /** What AuthorizationPolicy calls `source.principal`: the SPIFFE ID without its scheme. */
  readonly principal: string;
  readonly trustDomain: string;
  /** Istio's namespace and service account, where the path has the form `/ns/<namespace>/sa/<serviceAccount>`. */
  readonly namespace: string | undefined;
  readonly serviceAccount: string | undefined;
  /** SHA-256 of the DER leaf in lower-case hexadecimal (x-forwarded-client-cert's `Hash`). */
  readonly certificateSha256: string;
  /** The subject's distinguished name as Envoy writes it in x-forwarded-client-cert; empty for SVIDs without one. */
  readonly subject: string;
  readonly dnsNames: readonly string[];
  /** End of the certificate's validity in milliseconds since the epoch. */
  readonly notAfter: number;
}

/**
 * The end user of a request, from a verified JWT (istio-semantics: `request.auth.*`).
 * `claims` is the verified payload; the members of `scope`, `permission` and `spaceDelimitedClaims` that are strings are lists here.
 */
export interface RequestIdentity {
  /** `<iss>/<sub>`, what AuthorizationPolicy calls a request principal; undefined when either claim is absent. */
  readonly principal: string | undefined;
  readonly issuer: string | undefined;
  readonly subject: string | undefined;
  readonly audiences: readonly string[];
  /** Claim `azp`. */
  readonly presenter: string | undefined;
  readonly claims: Readonly<Record<string, unknown>>;
  /** The payload segment exactly as it stood in the token (base64url without padding). */
  readonly payload: string;
  /** Claim `exp` in milliseconds since the epoch; Infinity when the token has none. */
  readonly expiresAt: number;
}
