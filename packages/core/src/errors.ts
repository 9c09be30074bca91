/**
 * What an error code means to each of its readers.
 * `status` is the HTTP status where a request is refused with it, `public` the only sentence a client may see,
 * `meaning` and `remedy` what an operator reads in docs/errors.md (generated from this table).
 */
export interface ErrorEntry {
  readonly status: number;
  readonly public: string;
  readonly meaning: string;
  readonly remedy: string;
}

const table = <const T extends Record<`ENMESH_${string}`, ErrorEntry>>(entries: T): T => entries;

/** Every code that enmesh throws or reports; `docs/errors.md` is generated from it and a test holds both equal to the throw sites. */
export const errorTable = table({
  ENMESH_IDENTITY_NONE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'No X.509-SVID is held yet, so handshakes are refused both ways.',
    remedy: 'Wait for mesh.ready(), or look at the identity source named in the message.',
  },
  ENMESH_INBOUND_PLAINTEXT: {
    status: 403,
    public: 'Mutual TLS is required',
    meaning: 'A plaintext request reached a port whose mode is STRICT; the connection was reset.',
    remedy: 'Call through the mesh, or give this port PERMISSIVE or DISABLE in a PeerAuthentication where TLS ends upstream.',
  },
  ENMESH_INBOUND_PEER_EXPIRED: {
    status: 403,
    public: 'The certificate of this connection has expired',
    meaning: 'The client certificate of an open connection passed its end; the connection was reset.',
    remedy: 'The client renews its SVID and connects again; look at its identity source if it does not.',
  },
  ENMESH_INBOUND_TARGET: {
    status: 400,
    public: 'Bad request target',
    meaning: 'The request target is ambiguous or malformed, so policy and router could understand it differently.',
    remedy: 'Send a plain path without control characters, raw non-ASCII bytes or encoded dot segments.',
  },
  ENMESH_INBOUND_TARGET_CHANGED: {
    status: 400,
    public: 'Bad request target',
    meaning: 'Normalization would change the target, but in the middleware form the router has already seen it as it was sent.',
    remedy:
      'Enforce at the door (listen, serverFactory or mesh.createServer), which rewrites the target before the router sees it.',
  },
  ENMESH_INBOUND_HEADERS: {
    status: 400,
    public: 'Bad request headers',
    meaning:
      'A header stands in the request in a way that different readers understand differently (two Host or Authorization lines, a protected name in Connection).',
    remedy: 'Send Host and Authorization once, and do not name identity headers in Connection.',
  },
  ENMESH_INBOUND_TOO_MANY_HEADERS: {
    status: 431,
    public: 'Too many request headers',
    meaning: 'The request has as many header lines as the server accepts or more; Node would cut the rest silently.',
    remedy: 'Send fewer headers, or raise maxHeaderCount of createServer.',
  },
  ENMESH_INBOUND_CONNECT: {
    status: 405,
    public: 'CONNECT is not served',
    meaning: 'A CONNECT request reached a service; it is never a proxy.',
    remedy: 'None: a service does not tunnel.',
  },
  ENMESH_INBOUND_FAULT: {
    status: 500,
    public: 'The request could not be decided',
    meaning: 'Deciding the request threw, so it was refused.',
    remedy: 'The message in the log names the fault; report it with the configuration that caused it.',
  },
  ENMESH_POLICY_DENIED: {
    status: 403,
    public: 'RBAC: access denied',
    meaning: 'A DENY rule matched, or ALLOW policies select this workload and none of their rules matched.',
    remedy: 'Compare the request with the policy named in the log line; add or widen an ALLOW rule if the call is legitimate.',
  },
  ENMESH_TLS_PLAINTEXT_REFUSED: {
    status: 403,
    public: 'This port takes mutual TLS only',
    meaning:
      'A client spoke plaintext to a port whose PeerAuthentication mode is STRICT; the connection was reset without a byte.',
    remedy:
      'Call through the mesh (mesh.fetch, mesh.agent or a sidecar), or set PERMISSIVE or DISABLE for this port with portLevelMtls.',
  },
  ENMESH_TLS_ALPN_REFUSED: {
    status: 403,
    public: 'This client is not of the mesh',
    meaning: "A TLS client offered HTTP/2 only, or, on a PERMISSIVE port, none of Istio's ALPN names.",
    remedy: "Let the client offer http/1.1 (STRICT) or one of Istio's ALPN names (PERMISSIVE), or set permissiveAnyAlpn.",
  },
  ENMESH_TLS_CLIENT_UNVERIFIED: {
    status: 403,
    public: 'The client certificate was not accepted',
    meaning:
      "A TLS client showed no certificate, or one that no trust bundle of this mesh verifies at this moment; the reason is OpenSSL's.",
    remedy:
      "Give the client an SVID of this mesh that is valid now, with its intermediates, or add its trust domain's bundle here.",
  },
  ENMESH_TLS_HANDSHAKE_FAILED: {
    status: 403,
    public: 'The TLS handshake failed',
    meaning:
      'A handshake ended early: no common version or cipher, a client that distrusts this server or went away, or bytes that are not TLS.',
    remedy:
      "Compare versions (TLS 1.2 or better), cipher suites and trust bundles of both ends; the reason names OpenSSL's code.",
  },
  ENMESH_TLS_ACCEPT_TIMEOUT: {
    status: 408,
    public: 'The connection took too long to begin',
    meaning: 'A client opened a connection and sent nothing, or did not finish its handshake, within the deadline.',
    remedy:
      'Usually a port scan, a slow-loris or a health check without data; otherwise raise sniffTimeoutMs or handshakeTimeoutMs.',
  },
  ENMESH_TLS_TRUST_DOMAIN_REFUSED: {
    status: 403,
    public: 'The client certificate was not accepted',
    meaning:
      'A peer with a verified certificate belongs to a trust domain that this mesh does not admit; the connection was closed.',
    remedy:
      'Add the trust domain to trustDomainAliases, or to trustDomains of caCertificates, in mesh.yaml if it should be admitted.',
  },
  ENMESH_TLS_SESSION_RESUMED: {
    status: 403,
    public: 'The TLS session was not accepted',
    meaning:
      'A handshake was resumed from an earlier session, which skips the checks of identity and trust; enmesh never resumes.',
    remedy: 'Remove the resumeSession listener, ticket keys or session cache that something in this process added.',
  },
  ENMESH_TLS_ACCEPT_FAULT: {
    status: 500,
    public: 'The connection was not accepted',
    meaning: 'Something threw while a connection was being accepted; it was closed and the process goes on.',
    remedy: 'Read the cause in the reason; if it comes from enmesh itself, report it.',
  },
  ENMESH_TLS_IDENTITY_UNUSABLE: {
    status: 503,
    public: 'This service has no usable identity',
    meaning: 'OpenSSL refuses the SVID or trust bundle held (key and certificate differ, no root, an unreadable certificate).',
    remedy: 'Look at the identity source: certificate, key and roots must belong together.',
  },
  ENMESH_TLS_SECURE_NAMING: {
    status: 502,
    public: 'The service behind this address is not the one asked for',
    meaning: 'The server proved another identity than the service may have, or none is known for it; nothing was sent.',
    remedy:
      'Compare both identities in the message: correct the address, the service account of the server, or the registry (serviceAccount, subjectAltNames).',
  },
  ENMESH_TLS_SERVER_UNVERIFIED: {
    status: 502,
    public: 'The server certificate was not accepted',
    meaning:
      'The server showed a certificate that the trust bundle does not verify, or that is not an X.509-SVID; nothing was sent.',
    remedy:
      "Check that the server is part of this mesh, its certificate is valid now, and its trust domain's bundle is held here.",
  },
  ENMESH_TLS_CONNECT_FAILED: {
    status: 503,
    public: 'The service cannot be reached',
    meaning: 'No connection came about: refused, reset, unknown host, or a failed TLS handshake; nothing was sent.',
    remedy:
      "Check address and port of the service's endpoint, and that it takes mutual TLS; the message has the code of the system or of OpenSSL.",
  },
  ENMESH_TLS_CONNECT_TIMEOUT: {
    status: 504,
    public: 'The service cannot be reached',
    meaning: 'Connecting and shaking hands took longer than the deadline; nothing was sent.',
    remedy: 'Check that the endpoint is up and reachable from here, or raise connectTimeoutMs.',
  },
});

/** A code of {@link errorTable}. */
export type ErrorCode = keyof typeof errorTable;

/** How an {@link EnmeshError} is made: the underlying error and facts for operators (never a token, key, claim value or PEM). */
export interface EnmeshErrorOptions {
  readonly cause?: unknown;
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * The one error class of enmesh. `message` is for operators; a client only ever gets `publicMessage`.
 * `status` is the HTTP status of the code's entry in {@link errorTable}.
 */
export class EnmeshError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: EnmeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EnmeshError';
    this.code = code;
    this.status = errorTable[code].status;
    this.details = options.details ?? {};
  }

  /** The sentence a client may see. */
  get publicMessage(): string {
    return errorTable[this.code].public;
  }
}

/** Whether `error` is an {@link EnmeshError}, of `code` when one is given. */
export function isEnmeshError(error: unknown, code?: ErrorCode): error is EnmeshError {
  return error instanceof EnmeshError && (code === undefined || error.code === code);
}
