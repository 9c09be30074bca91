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
    remedy: 'Compare the request with the policies named in the log line; add or widen an ALLOW rule if the call is legitimate.',
  },
  ENMESH_TLS_PLAINTEXT_REFUSED: {
    status: 403,
    public: 'This port takes mutual TLS only',
    meaning:
      'A client spoke plaintext to a port whose PeerAuthentication mode is STRICT; the connection was reset without a byte.',
    remedy:
      'Call through the mesh (mesh.fetch, mesh.agent or a sidecar), or set PERMISSIVE or DISABLE for this port with portLevelMtls.',
  },
  ENMESH_TLS_PROXY_PROTOCOL: {
    status: 400,
    public: 'The PROXY protocol is not served here',
    meaning:
      'A connection began with a line of the PROXY protocol (version 1 or 2), which says of itself where it comes from and which enmesh does not believe.',
    remedy: 'Switch the PROXY protocol off for this port in the load balancer, or let a proxy of the mesh end it.',
  },
  ENMESH_TLS_HTTP2_REFUSED: {
    status: 505,
    public: 'HTTP/2 is not served here',
    meaning: 'A client began HTTP/2 in the clear, with prior knowledge; it was told HTTP_1_1_REQUIRED and the connection ended.',
    remedy: 'Let the client speak HTTP/1.1; a gRPC server needs a sidecar (docs/deviations.md).',
  },
  ENMESH_TLS_CONNECTION_OUTDATED: {
    status: 403,
    public: 'This connection is no longer accepted',
    meaning:
      'The mode of the port, the least TLS version or the cipher suites of the mesh changed, and an open connection is one that could not be opened now; it was ended.',
    remedy:
      'None where the change was meant: clients connect again by the new settings. Otherwise look at PeerAuthentication and meshMTLS.',
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
      'A handshake ended early: no common version or cipher, a client that distrusts this server or went away, bytes that are not TLS, or TLS at a port whose mode is DISABLE.',
    remedy:
      "Where the reason names the mode of the port, let callers speak in the clear (DestinationRule with tls DISABLE) or give the port another mode in a PeerAuthentication. Else compare versions (TLS 1.2 or better), cipher suites and trust bundles of both ends; the reason names OpenSSL's code.",
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
  ENMESH_IDENTITY_SPIFFE_ID_INVALID: {
    status: 400,
    public: 'This is not a SPIFFE ID',
    meaning: 'A text that should be a SPIFFE ID (spiffe://<trust domain>/<path>) is none.',
    remedy:
      'Write it byte for byte as the standard says: lower-case trust domain, no empty or dot segments, nothing percent-encoded.',
  },
  ENMESH_IDENTITY_TRUST_DOMAIN_INVALID: {
    status: 400,
    public: 'This is not a trust domain',
    meaning: 'A text that should name a trust domain holds other characters, is empty or too long.',
    remedy: 'Use lower-case letters, digits, dots, dashes and underscores, such as cluster.local.',
  },
  ENMESH_X509_MALFORMED: {
    status: 403,
    public: 'The certificate was not accepted',
    meaning: 'Something that should be a certificate or PEM text cannot be read strictly, or hides control bytes in its names.',
    remedy: 'Look at it with openssl x509 -text; have it issued anew by a certificate authority that writes DER.',
  },
  ENMESH_X509_SVID_INVALID: {
    status: 403,
    public: 'The certificate was not accepted',
    meaning:
      'A certificate can be read, but is no X.509-SVID (one SPIFFE ID as its one URI SAN, no CA, digitalSignature, a strong key).',
    remedy: 'Have it issued as a SPIFFE leaf certificate; the message says which rule it breaks.',
  },
  ENMESH_X509_KEY_INVALID: {
    status: 503,
    public: 'This service has no usable identity',
    meaning: 'A private key is absent, encrypted, unreadable or belongs to another certificate.',
    remedy: 'Give the unencrypted PEM key that the certificate was issued for.',
  },
  ENMESH_X509_OUT_OF_VALIDITY: {
    status: 403,
    public: 'The certificate was not accepted',
    meaning: 'An SVID is expired or not yet valid.',
    remedy: 'Compare the clocks of both sides, and see why its owner does not renew it.',
  },
  ENMESH_X509_UNTRUSTED: {
    status: 403,
    public: 'The certificate was not accepted',
    meaning: "No bundle is held for the SVID's own trust domain, or none of that bundle's roots signs it.",
    remedy:
      'Check that both sides belong to the same trust domain and hold its present roots, and that intermediates are sent along.',
  },
  ENMESH_X509_CSR_INVALID: {
    status: 400,
    public: 'The certificate signing request was not accepted',
    meaning:
      'A certificate signing request cannot be read strictly, has a weak key, or is not signed with the key that it names.',
    remedy:
      'Send one PKCS #10 request in PEM with an RSA (2048 bits or more), ECDSA or Ed25519 key, signed with SHA-256 or better.',
  },
  ENMESH_X509_REVOKED: {
    status: 403,
    public: 'The certificate was not accepted',
    meaning: "A revocation list of the SVID's trust domain names the certificate or one of its signers.",
    remedy: 'Have a new SVID issued to that workload, or see why its trust domain revoked the certificate.',
  },
  ENMESH_X509_CRL_INVALID: {
    status: 503,
    public: 'A revocation list was not accepted',
    meaning:
      'A certificate revocation list cannot be read strictly, or is one of a kind that is not understood (delta, indirect, partitioned).',
    remedy: 'Look at it with openssl crl -text; have complete lists issued by the certificates that sign the SVIDs.',
  },
  ENMESH_X509_ISSUE_FAILED: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'A certificate that was just written does not say or prove what it should, and was thrown away.',
    remedy: 'Check that the signing key belongs to the signing certificate and that the names asked for are printable ASCII.',
  },
  ENMESH_ISSUANCE_REFUSED_HERE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The development identity is for laptops and refuses to start in what looks like production, by its environment.',
    remedy: 'Use an identity of the platform (files, istio, spiffe), or say allowAnywhere when this really is a test.',
  },
  ENMESH_ISSUANCE_AUTHORITY_UNUSABLE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning:
      'The development authority cannot be read, is damaged, open to others, or of another trust domain. It is never overwritten.',
    remedy: 'Mend what the message says, or delete the directory named there: the next start makes a new authority.',
  },
  ENMESH_ISSUANCE_AUTHORITY_EXPIRED: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The root certificate of the development authority has reached its end.',
    remedy: 'Delete the directory named in the message; the next start makes a new authority.',
  },
  ENMESH_ISSUANCE_CLOCK: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: "This machine's clock stands before the beginning of a certificate that it should use.",
    remedy: 'Set the clock; the message has both times.',
  },
  ENMESH_ISSUANCE_LOCKED: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'Another process has been creating the development authority for too long.',
    remedy: 'See whether the process named in the message lives; if not, delete the lock file.',
  },
  ENMESH_ISSUANCE_FAILED: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The identity source gave no usable SVID: it failed, took too long, or gave one that is already expired.',
    remedy: 'Look at the cause and at the identity source; enmesh tries again and keeps the SVID it has while that lives.',
  },
  ENMESH_ISSUANCE_SOCKET_INVALID: {
    status: 500,
    public: 'This service has no identity yet',
    meaning: 'The address of the SPIFFE Workload API is missing, or is not one that the SPIFFE Workload Endpoint standard knows.',
    remedy: 'Set SPIFFE_ENDPOINT_SOCKET, or socket of identity.spiffe, to unix:///absolute/path or tcp://IP:port.',
  },
  ENMESH_ISSUANCE_WORKLOAD_API: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The SPIFFE Workload API cannot be reached, refuses, or gives nothing to this process.',
    remedy:
      'See that the agent runs, that its socket is mounted where the message says, and that an entry with selectors of this process is registered.',
  },
  ENMESH_ISSUANCE_WORKLOAD_MESSAGE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning:
      'A message of the SPIFFE Workload API lacks something that it must have, or holds more than it may; it was put aside.',
    remedy: 'Look at the agent named in the message; the last good identity is kept while it lives.',
  },
  ENMESH_ISSUANCE_BUNDLE: {
    status: 503,
    public: 'This service has no trust bundle yet',
    meaning: 'A SPIFFE bundle endpoint cannot be reached, is not the one expected, or gave what is no SPIFFE bundle.',
    remedy:
      'Compare URL, profile, endpoint SPIFFE ID and roots with what the foreign trust domain says; the last good bundle is kept.',
  },
  ENMESH_ISSUANCE_NO_SOURCE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'No source of identity was named, and none of the places where a platform leaves one holds any.',
    remedy:
      'Say which one it is: identity: files, istio or spiffe in enmesh.yaml or ENMESH_IDENTITY; docs/identity.md has a page for each platform.',
  },
  ENMESH_ISSUANCE_PACKAGE_MISSING: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The identity comes from istiod or from a SPIFFE Workload API, and the package that speaks to it is not installed.',
    remedy: 'npm install @enmesh/istio, or @enmesh/spiffe, as the message says.',
  },
  ENMESH_ISSUANCE_TRUST_DOMAIN: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: "The identity source gave an SVID of a trust domain that is not the mesh's own, nor one of its aliases.",
    remedy: 'Set trustDomain (or trustDomainAliases) in enmesh/mesh.yaml to the trust domain that the platform issues for.',
  },
  ENMESH_ISSUANCE_FILES_SETTINGS: {
    status: 500,
    public: 'This service has no identity yet',
    meaning: 'The settings of identity files cannot work together.',
    remedy: 'Name a directory, or certificate, privateKey and roots each by its file.',
  },
  ENMESH_ISSUANCE_FILES_ABSENT: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'Files of the identity are not there (yet); the message lists what is looked for.',
    remedy: 'Mount or write them under the names in the message; they are picked up as soon as they are there.',
  },
  ENMESH_ISSUANCE_FILES_UNUSABLE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'A file of the identity cannot be read, is no regular file, is empty, or is too large.',
    remedy: 'Look at the file that the message names, and at the rights of this process.',
  },
  ENMESH_ISSUANCE_SETTINGS_INVALID: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The settings of an identity source, or its environment, can never work together; nothing was started.',
    remedy: 'Mend what the message names: in enmesh.yaml, in code, or in the environment of the workload.',
  },
  ENMESH_ISSUANCE_CREDENTIAL_MISSING: {
    status: 503,
    public: 'This service has no identity yet',
    meaning:
      'There is nothing to prove to the certificate authority who is asking: no token, and no client certificate that is valid; or an expired one that the authority does not renew.',
    remedy:
      "Mount a projected service-account token with the CA's audience (istio-ca) at the path in the message, or name provCert.",
  },
  ENMESH_ISSUANCE_CA_UNREACHABLE: {
    status: 503,
    public: 'This service has no identity yet',
    meaning: 'The certificate authority could not be reached, gave no answer in time, or did not prove to be it.',
    remedy: 'Check address (CA_ADDR), server name (ISTIOD_SAN) and root certificate (CA_ROOT_CA); it is tried again by itself.',
  },
  ENMESH_ISSUANCE_CA_REFUSED: {
    status: 503,
    public: 'This service has no identity yet',
    meaning:
      'The certificate authority answered, and refused: it did not believe the caller, or what was asked is not given there.',
    remedy:
      "Look at the token's file, audience and age, and at the log of the CA, which alone has the cause; it is tried again by itself.",
  },
  ENMESH_ISSUANCE_CA_ANSWER: {
    status: 503,
    public: 'This service has no identity yet',
    meaning:
      'The certificate authority answered with something that is not taken: another identity, another key, a chain that its roots do not sign, a weak or expired certificate.',
    remedy: 'See whom the CA takes the caller for, and its clock and certificates; the last good SVID is kept while it lives.',
  },
  ENMESH_INBOUND_UNDECIDED: {
    status: 500,
    public: 'The request was not decided',
    meaning: 'A server of this process answered a request that the mesh never saw.',
    remedy: 'Use listen(mesh, app, port), serverFactory or mesh.createServer, or add the middleware before the first route.',
  },
  ENMESH_MESH_CLOSED: {
    status: 503,
    public: 'The service is shutting down',
    meaning: 'The mesh was used after mesh.close().',
    remedy: 'Create servers before close(), or create another mesh.',
  },
  ENMESH_TELEMETRY_ACCESS_LOG: {
    status: 500,
    public: 'The access log cannot be written',
    meaning:
      'The file of the access log could not be opened at the start, or lines of it are being lost because they cannot be written or come too fast.',
    remedy: 'Look at the path, its directory, the free space and the permissions of this user; or give accessLog another target.',
  },
  ENMESH_MESH_RUNTIME: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'createMesh was called on a Node.js older than 20.19, which lacks what enmesh calls.',
    remedy: 'Run the service on Node.js 22.23, 24.17, 26.3.1 or newer; 20.19 works and is out of support.',
  },
  ENMESH_MESH_PORT: {
    status: 500,
    public: 'The service cannot listen',
    meaning: 'The port could not be opened: in use, not allowed, or no such address.',
    remedy: 'Free the port or choose another; ports below 1024 need privileges.',
  },
  ENMESH_CONFIG_ACCESS_LOG: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'ENMESH_ACCESS_LOG or ENMESH_ACCESS_LOG_FORMAT holds a word that it does not take.',
    remedy:
      'Set ENMESH_ACCESS_LOG to stdout, stderr, off or a path with a slash in it, and the format to json, istio or istio-json.',
  },
  ENMESH_CONFIG_NAMESPACE_MISSING: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'Nothing says in which namespace this workload lives, so no policy can be selected for it.',
    remedy: 'Set namespace in enmesh.yaml, POD_NAMESPACE, or createMesh({namespace}).',
  },
  ENMESH_CONFIG_WORKLOAD_INVALID: {
    status: 500,
    public: 'The service is not configured',
    meaning:
      'POD_NAMESPACE or SERVICE_ACCOUNT holds what Kubernetes allows for no namespace or service account, so no policy could name it.',
    remedy: 'Correct the variable that the message names: lower-case letters, digits and "-".',
  },
  ENMESH_CONFIG_DIRECTORY_MISSING: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'Nothing names the configuration directory, or it does not exist.',
    remedy: 'Set config in enmesh.yaml, ENMESH_CONFIG, or createMesh({config}) to a directory of Istio YAML.',
  },
  ENMESH_CONFIG_FILE_UNREADABLE: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'A configuration file could not be read.',
    remedy: 'Check that the file exists and that this process may read it.',
  },
  ENMESH_CONFIG_IDENTITY_UNKNOWN: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'The identity source asked for does not exist in this version.',
    remedy: 'Use identity: auto, dev, files, istio or spiffe, or pass an object with svid and bundles to createMesh.',
  },
  ENMESH_CONFIG_LABELS_INVALID: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'ENMESH_LABELS is not a comma-separated list of name=value.',
    remedy: 'Write ENMESH_LABELS=app=product,version=v1.',
  },
  ENMESH_CONFIG_FEDERATION_INVALID: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'ENMESH_FEDERATION is not a list of trust-domain=URL, or one of them can never work.',
    remedy:
      'Write ENMESH_FEDERATION=partner.example=https://partner.example/bundle; the profile https_spiffe goes in enmesh.yaml.',
  },
  ENMESH_JWT_MALFORMED: {
    status: 401,
    public: 'The token is malformed',
    meaning:
      'A bearer token is not a strict compact JWS with a JSON header and payload, a claim has the wrong type, or it is longer than 16 KiB.',
    remedy: 'Look at what the client sends: exactly three base64url parts without padding, and claims of the types of RFC 7519.',
  },
  ENMESH_JWT_HEADER: {
    status: 401,
    public: 'The token is of a kind that is not accepted',
    meaning:
      'The token header asks for what is never accepted: an algorithm off the list (RS, PS, ES 256 to 512, EdDSA), or one of crit, b64, jku, x5u, jwk, zip, enc.',
    remedy: 'Let the issuer sign with an asymmetric algorithm and leave those header members out.',
  },
  ENMESH_JWT_ISSUER: {
    status: 401,
    public: 'The issuer of the token is not accepted',
    meaning: 'A token stands where a RequestAuthentication looks for one, but no rule for that place names its issuer.',
    remedy:
      'Add a jwtRule for the issuer, or let the client send the token elsewhere. The comparison is exact: a trailing slash counts.',
  },
  ENMESH_JWT_NOT_YET_VALID: {
    status: 401,
    public: 'The token is not valid yet',
    meaning: 'Claim nbf lies more than 60 seconds in the future.',
    remedy: 'Compare the clocks of this machine and of the issuer.',
  },
  ENMESH_JWT_EXPIRED: {
    status: 401,
    public: 'The token has expired',
    meaning: 'Claim exp lies more than 60 seconds in the past.',
    remedy: 'The client has to fetch a new token; if it just did, compare the clocks.',
  },
  ENMESH_JWT_AUDIENCE: {
    status: 403,
    public: 'The token is meant for another audience',
    meaning:
      'None of the audiences of the token is one of the jwtRule, compared without http:// or https:// and one trailing slash.',
    remedy: 'Ask the issuer for a token for this service, or add the audience to the jwtRule.',
  },
  ENMESH_JWT_SIGNATURE: {
    status: 401,
    public: 'The token could not be verified',
    meaning: 'No key of the issuer verifies the signature of the token.',
    remedy: 'Check that issuer and key set of the jwtRule belong together, and that the token was not changed on its way.',
  },
  ENMESH_JWT_KEY_UNKNOWN: {
    status: 401,
    public: 'The token could not be verified',
    meaning:
      'The key set of the issuer has no key with the kid and alg of the token. A fetched set is fetched again, at most twice a minute.',
    remedy: 'If the issuer has just changed its keys, try again; else the token comes from other keys.',
  },
  ENMESH_JWT_KEYS_UNAVAILABLE: {
    status: 401,
    public: 'The token could not be verified',
    meaning: 'The key set of the issuer was never fetched, could not be renewed for 24 hours, or holds no usable key.',
    remedy: 'The notice key-set-failed says why; mend the jwksUri or the way to it.',
  },
  ENMESH_JWT_OUTPUT_HEADER: {
    status: 401,
    public: 'The token could not be used',
    meaning:
      'outputPayloadToHeader names a header that no request may be given, or a claim of outputClaimToHeaders holds control characters.',
    remedy: 'Name another header, or leave the claim out of outputClaimToHeaders.',
  },
  ENMESH_JWT_UNCHECKED: {
    status: 401,
    public: 'The token could not be verified',
    meaning: 'Verification itself failed in a way nobody foresaw, so the request is refused.',
    remedy: 'Please report it, with the kind of token but not the token.',
  },
  ENMESH_JWT_SVID_INVALID: {
    status: 401,
    public: 'Jwt verification fails',
    meaning: 'A JWT-SVID is not what it must be: form, algorithm, subject, audience, end, or a signature of its trust domain.',
    remedy: 'Fetch one for this audience from the Workload API just before use; the message says which rule it breaks.',
  },
  ENMESH_JWT_KEY_SET_INVALID: {
    status: 500,
    public: 'This service is misconfigured',
    meaning:
      'A JSON Web Key Set is no JSON object with a list `keys` of at most 100, an inline one has no usable key, or a fetched one shows a private key.',
    remedy:
      'Usable are public RSA keys from 2048 bits, EC P-256, P-384, P-521 and Ed25519 keys; private and symmetric ones never are.',
  },
  ENMESH_JWT_SNAPSHOT: {
    status: 500,
    public: 'This service is misconfigured',
    meaning:
      'The key set of an issuer could not be kept in, or was not taken from, the snapshot directory: not writable, too old, damaged, or open to another user. A token is refused where no other keys are held.',
    remedy:
      'Give each service a snapshot directory of its own that only its user may enter; delete a file that is damaged: the next fetch writes it anew.',
  },
  ENMESH_JWT_FETCH_FAILED: {
    status: 500,
    public: 'This service cannot reach an issuer',
    meaning: 'The key set of an issuer, or its discovery document, could not be fetched; it is tried again in the background.',
    remedy: 'Follow the reason in the message: status, timeout, size, or what came instead of a key set.',
  },
  ENMESH_JWT_FETCH_REFUSED: {
    status: 500,
    public: 'This service is misconfigured',
    meaning:
      'A key set lies where it is never fetched from: plain http without opt-in, a link-local or metadata address, another origin by redirect.',
    remedy: 'Use https. For plain http on a trusted network, add the line that the message prints to enmesh.yaml.',
  },
  ENMESH_EXPRESS_MIDDLEWARE_LATE: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'app.use(enmesh(mesh)) stands behind a route, so requests to that route would not be decided.',
    remedy: 'Move it before the first route, or use listen(mesh, app, port) without it.',
  },
  ENMESH_FASTIFY_PLUGIN_LATE: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'The enmesh plugin was registered after a route.',
    remedy: 'Register it before the first route and before other plugins with routes.',
  },
  ENMESH_PROPAGATION_HOP_TWICE: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning: 'The header enmesh-hop-token stands in the request more than once, so two readers could see two users.',
    remedy: 'Leave the header to enmesh; a proxy between two services must not add to it.',
  },
  ENMESH_PROPAGATION_HOP_UNBOUND: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning:
      'A hop token came on a connection without mutual TLS of the mesh, so there is no certificate that it could be bound to.',
    remedy: 'Call through the mesh. A proxy that ends TLS in front of the receiver cannot be passed by a hop token.',
  },
  ENMESH_PROPAGATION_HOP_BESIDE_TOKEN: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning: 'The request brings a hop token and a token of the user beside it: two claims about who the user is.',
    remedy: 'Let the caller not copy Authorization (or another place of RequestAuthentication) into calls whose mode is HOP.',
  },
  ENMESH_PROPAGATION_HOP_MALFORMED: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning:
      'The hop token is no token of this form: its parts, its typ, a claim of the wrong type, or a life of more than 60 s.',
    remedy: 'Run enmesh of the same line at both ends; nothing else makes hop tokens.',
  },
  ENMESH_PROPAGATION_HOP_SIGNATURE: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning:
      'The hop token was not made by the peer of this connection: another certificate, another SPIFFE ID, or a signature that its key did not make.',
    remedy: 'Nobody may pass on the hop token of another service; look at what the caller does with incoming headers.',
  },
  ENMESH_PROPAGATION_HOP_AUDIENCE: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning: 'The hop token was made for other identities than that of this workload.',
    remedy: 'Look at which service the caller meant to call, and at the identities that its documents expect there.',
  },
  ENMESH_PROPAGATION_HOP_EXPIRED: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning:
      'The hop token has ended, or was made in the future. It lives for 60 s at most and is sent in the first 30 s of them.',
    remedy: 'Compare the clocks of both machines.',
  },
  ENMESH_PROPAGATION_HOP_NOT_ALLOWED: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning: 'No inbound entry of a TokenPropagation lets this peer speak for users of this issuer.',
    remedy: 'List the caller in principals and the issuer in issuers of one inbound entry, where that is what you want.',
  },
  ENMESH_PROPAGATION_HOP_CHAIN: {
    status: 401,
    public: 'The user of this request cannot be verified',
    meaning: 'More services have carried the user than maxActors of the inbound entry allows.',
    remedy: 'Look for a loop of calls, or raise maxActors (4 by default, 16 at most).',
  },
  ENMESH_PROPAGATION_NOT_MUTUAL: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'A call would carry its user by HOP or FORWARD to a place that is not reached by mutual TLS of the mesh. Nothing was sent.',
    remedy:
      'Call the declared service by http:// and its mesh name, turn mutual TLS on for it, or use EXCHANGE or NONE for this host.',
  },
  ENMESH_PROPAGATION_AUDIENCE: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'A hop token names whom it is for, from 1 to 16 SPIFFE IDs, and the destination may have more or none. Nothing was sent.',
    remedy: 'Give the endpoints of a service one service account, or few.',
  },
  ENMESH_PROPAGATION_USER_EXPIRED: {
    status: 401,
    public: 'The session of the user has ended',
    meaning: "A call would carry its user past the end of the user's own token. Nothing was sent.",
    remedy: 'Answer 401, so that the user comes back with a fresh token; jobs that outlive it go as the service alone.',
  },
  ENMESH_PROPAGATION_NO_SUBJECT: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      "The user's token has no issuer or no subject, so there is nobody that a hop token could speak of. Nothing was sent.",
    remedy: 'Use an issuer that sets iss and sub, or NONE for this host.',
  },
  ENMESH_PROPAGATION_NO_TOKEN: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'FORWARD and EXCHANGE need the token that the user came with, and to this workload the user came by a hop token. Nothing was sent.',
    remedy: 'Use HOP from here on, or EXCHANGE at the service that the user called first.',
  },
  ENMESH_PROPAGATION_TOO_LARGE: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'The listed claims make a hop token of more than 8 KiB, or more than 15 services have carried the user. Nothing was sent.',
    remedy: 'List fewer claims in the outbound entry.',
  },
  ENMESH_PROPAGATION_KEY: {
    status: 500,
    public: 'The upstream service cannot be reached',
    meaning: 'The key of the SVID is of a kind that hop tokens are not signed with (RSA, P-256, P-384, P-521 and Ed25519 are).',
    remedy: 'Let the identity source give one of these.',
  },
  ENMESH_PROPAGATION_HEADERS_SENT: {
    status: 500,
    public: 'The upstream service cannot be reached',
    meaning:
      'A request through mesh.agent had its headers written before the mesh could add the token of its user (a list of headers, Expect, flushHeaders). Nothing was sent.',
    remedy: 'Give headers as an object and leave Expect away, or call by mesh.fetch, mesh.request or mesh.dispatcher.',
  },
  ENMESH_OUTBOUND_HOST_INVALID: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning: 'A call named a host that is not an ASCII DNS name or an address; such names are never looked up.',
    remedy: 'Use the plain DNS name of the service in the URL.',
  },
  ENMESH_OUTBOUND_UNDECLARED: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'A call went to a host and port that no visible Service or ServiceEntry declares, and outboundTrafficPolicy is REGISTRY_ONLY, the call may not pass to undeclared hosts, or nobody answered it outside of the mesh.',
    remedy:
      'Call a port that the message lists, or declare the host and port in a ServiceEntry that is exported to the namespace of the caller.',
  },
  ENMESH_OUTBOUND_UNREACHABLE: {
    status: 503,
    public: 'The upstream service cannot be reached',
    meaning: 'The service is known, but the documents give it no endpoint to connect to.',
    remedy: 'Add endpoints or WorkloadEntries to the ServiceEntry, or labels that its workloadSelector matches.',
  },
  ENMESH_OUTBOUND_NOBODY_EXPECTED: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'Mutual TLS would be spoken with a service of which no identity is known, so any workload of the mesh could answer for it.',
    remedy:
      'Give its endpoints a serviceAccount, name subjectAltNames in the ServiceEntry or DestinationRule, or annotate the Service with alpha.istio.io/kubernetes-serviceaccounts.',
  },
  ENMESH_OUTBOUND_SILENT_PORT: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'A portLevelSettings entry without tls replaces the tls of its DestinationRule, and the call would be sent in plaintext.',
    remedy:
      'Repeat the tls settings in the portLevelSettings entry of this port, or write tls: {mode: DISABLE} there if plaintext is meant.',
  },
  ENMESH_OUTBOUND_CREDENTIAL: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'The TLS settings of a DestinationRule name a certificate that a workload may not use, or none, and Istio would send plaintext.',
    remedy:
      'Add a workloadSelector to the DestinationRule, or name the files in clientCertificate, privateKey and caCertificates.',
  },
  ENMESH_OUTBOUND_TLS_SETTINGS: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'The TLS settings of a DestinationRule cannot be carried out here: a file cannot be read, or a certificate comes from Kubernetes.',
    remedy:
      'Name readable PEM files in caCertificates, clientCertificate and privateKey; credentialName and caCrl are not supported.',
  },
  ENMESH_OUTBOUND_CONNECT: {
    status: 503,
    public: 'The upstream service cannot be reached',
    meaning: 'No endpoint of the service accepted a connection; nothing of the request was sent.',
    remedy: 'Check that the addresses and ports in the message are the ones the service listens on.',
  },
  ENMESH_OUTBOUND_CLOSED: {
    status: 503,
    public: 'The upstream service cannot be reached',
    meaning: 'A call was made through a mesh client that has been closed.',
    remedy: 'Make the call before mesh.close(), or create a new mesh.',
  },
  ENMESH_OUTBOUND_DISTRUSTED: {
    status: 503,
    public: 'The upstream service cannot be reached',
    meaning:
      'A call was still in flight 15 s after the certificate of its server had ended, or its root had left the trust bundle; the connection was closed.',
    remedy:
      'Repeat the call, which takes a new connection; look at the identity source of the server if it does not renew its SVID.',
  },
  ENMESH_CONFIG_DIRECTORY_EMPTY: {
    status: 500,
    public: 'The service is not configured',
    meaning:
      'The configuration directory holds no .yaml, .yml or .json file, or, at a reload, files that hold no document any more.',
    remedy:
      'Put the policies there, or name another directory. An empty directory is no configuration: it would allow everything. To run without documents on purpose, restart the service with a file that holds none.',
  },
  ENMESH_CONFIG_TOO_BIG: {
    status: 500,
    public: 'The service is not configured',
    meaning:
      'A configuration file is larger than 8 MiB, the directory larger than 64 MiB, or a folder has more than 10 000 entries.',
    remedy: 'Divide the file, or name a directory that holds configuration only.',
  },
  ENMESH_CONFIG_NOT_UTF8: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'A configuration file is not UTF-8 text.',
    remedy: 'Save the file as UTF-8.',
  },
  ENMESH_CONFIG_INVALID: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'The configuration has errors; the message lists them with file, line and column.',
    remedy: 'Mend the places listed. While the service runs, the last good configuration stays in force.',
  },
  ENMESH_CONFIG_UNSETTLED: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'At start the configuration files were being written without a pause, so no state of them could be believed.',
    remedy: 'Write configuration files once, before the start, or put them in place by rename.',
  },
  ENMESH_CONFIG_WORKER_FAILED: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'The worker thread that validates big configurations died or did not answer in time.',
    remedy: 'Give the process more memory or divide the configuration; the last good one stays in force.',
  },
  ENMESH_CONFIG_FAULT: {
    status: 500,
    public: 'The service is not configured',
    meaning: 'Loading the configuration failed in a way that was not foreseen.',
    remedy: 'Report it with the cause of the error; the last good configuration stays in force.',
  },
  ENMESH_CONFIG_SYNTAX: {
    status: 503,
    public: 'This service is not configured',
    meaning:
      'A configuration file is not YAML as Kubernetes and enmesh both read it: a syntax error, a key given twice, an unknown tag or directive.',
    remedy: 'Mend the line and column named in the message.',
  },
  ENMESH_CONFIG_LIMIT: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'The configuration is bigger, more deeply nested or richer in aliases or rules than enmesh reads.',
    remedy: 'Split the file, or remove what the message names.',
  },
  ENMESH_CONFIG_KIND_UNKNOWN: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A document is no resource, or has a kind or apiVersion that its API group does not have.',
    remedy: 'Correct apiVersion and kind as the hint says.',
  },
  ENMESH_CONFIG_FIELD_UNKNOWN: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A document has a field that its kind does not have.',
    remedy: 'Correct the spelling as the hint says, or remove the field.',
  },
  ENMESH_CONFIG_VALUE_INVALID: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A field has a value of the wrong type or one that Istio refuses too.',
    remedy: 'Correct the value at the line and column named in the message.',
  },
  ENMESH_CONFIG_DUPLICATE: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'Two documents describe the same thing: the same kind, namespace and name, or two MeshConfigs.',
    remedy: 'Remove or rename one of the two places named in the message.',
  },
  ENMESH_CONFIG_UNSUPPORTED: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A document asks for something that this version does not do; passing it over would open what it guards.',
    remedy: 'Remove the field or policy, or use what the hint names instead.',
  },
  ENMESH_CONFIG_PASSED_OVER: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A warning: a real kind or field of Kubernetes or Istio that enmesh does not obey.',
    remedy: 'Nothing need be done; remove the document from the directory to end the warning.',
  },
  ENMESH_CONFIG_DOUBTFUL: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'A warning: a document is admitted, as by Istio, but probably does not do what it was written for.',
    remedy: 'Look at the line and column named in the message.',
  },
  ENMESH_CONFIG_SERVICE_FILE_INVALID: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'enmesh.yaml cannot be read or has a field or value that is not valid.',
    remedy: 'Mend each line named in the message.',
  },
  ENMESH_OUTBOUND_PROXIED: {
    status: 502,
    public: 'The upstream service cannot be reached',
    meaning:
      'A client asked for a whole URL instead of a path, as one does of a proxy; the mesh could not know whom to expect at the other end.',
    remedy:
      'Turn the proxy of the HTTP client off (axios: proxy: false), or take the mesh agent or dispatcher out of proxied calls.',
  },
  ENMESH_CUSTOM_DENIED: {
    status: 403,
    public: 'RBAC: access denied',
    meaning:
      'A CUSTOM policy matched and its external authorizer refused the request; the client got the answer of the authorizer.',
    remedy: 'Ask the authorizer why: it was told the request id. The policy and rule that asked it are in the log line.',
  },
  ENMESH_CUSTOM_CHECK_FAILED: {
    status: 403,
    public: 'RBAC: access denied',
    meaning:
      'A CUSTOM policy matched and its external authorizer could not be asked: unreachable, too late, or an answer that is a failure (5xx, a gRPC error).',
    remedy:
      'Look at the authorizer. Until it answers, requests get statusOnError (403), or pass where the provider says failOpen.',
  },
  ENMESH_CUSTOM_BODY_TOO_LARGE: {
    status: 413,
    public: 'The body of the request is too large',
    meaning: 'The body is longer than the maxRequestBytes that the provider of a CUSTOM policy sends with a check.',
    remedy: 'Raise includeRequestBodyInCheck.maxRequestBytes, or set allowPartialMessage to send the beginning only.',
  },
  ENMESH_CUSTOM_PROVIDER: {
    status: 403,
    public: 'RBAC: access denied',
    meaning:
      'A CUSTOM policy matched and names no provider of extensionProviders, or CUSTOM policies of several providers select this workload.',
    remedy: 'Define the provider in enmesh/mesh.yaml, or leave one provider per workload. Istio denies such requests too.',
  },
  ENMESH_CUSTOM_CLIENT_GONE: {
    status: 400,
    public: 'The request ended before it was decided',
    meaning: 'The client closed its connection while an external authorizer was being asked; the application was not called.',
    remedy: 'Nothing, unless it happens often: then the authorizer is slower than the patience of clients.',
  },
  ENMESH_CUSTOM_GRPC_MISSING: {
    status: 503,
    public: 'This service is not configured',
    meaning: 'extensionProviders has an envoyExtAuthzGrpc provider, and the package that speaks gRPC to it is not installed.',
    remedy: 'npm install @enmesh/ext-authz, or use envoyExtAuthzHttp.',
  },
  ENMESH_PROPAGATION_EXCHANGE_SETTINGS: {
    status: 502,
    public: 'The call cannot be made on behalf of the user',
    meaning:
      'A token exchange cannot be carried out as TokenPropagation says: the endpoint is one that is never asked, a file cannot be used, or no JWT-SVID is to be had. At load: the identity of the workload gives none.',
    remedy: 'The message names the field; mend it, or choose another clientAuth.method; JWT-SVIDs come from `identity: spiffe`.',
  },
  ENMESH_PROPAGATION_EXCHANGE_FAILED: {
    status: 503,
    public: 'The call cannot be made on behalf of the user',
    meaning: 'The token endpoint gave no usable answer, or too many users wait for one; the call was not made.',
    remedy:
      'See whether the identity provider of the exchange is up and reached from here; it is asked again after a short pause.',
  },
  ENMESH_PROPAGATION_EXCHANGE_REFUSED: {
    status: 502,
    public: 'The call cannot be made on behalf of the user',
    meaning: "The identity provider gives no token for the user's; the call was not made.",
    remedy:
      'The message holds the OAuth error: invalid_client means clientAuth, invalid_scope or invalid_target what is asked for; else the token of the user.',
  },
  ENMESH_PROPAGATION_EXCHANGE_ANSWER: {
    status: 502,
    public: 'The call cannot be made on behalf of the user',
    meaning: 'The identity provider answered an exchange with something other than the token asked for; the call was not made.',
    remedy: 'The message says what is wrong with it; have the provider put the asked audience into tokens for this client.',
  },
  ENMESH_PROPAGATION_EGRESS: {
    status: 500,
    public: 'The call cannot be made',
    meaning: "A call carried the user's token, or a part of it, to where no TokenPropagation lets it go; it was not made.",
    remedy: 'Do not copy the token into calls: declare in TokenPropagation what this host gets. The message names the place.',
  },
  ENMESH_CA_SETTINGS: {
    status: 500,
    public: 'The certificate authority is not configured',
    meaning: 'A setting of the certificate authority is unknown, missing or impossible.',
    remedy: 'Mend the setting of ca.yaml, or the flag, that the message names; docs/ca.md lists all of them.',
  },
  ENMESH_CA_FILES: {
    status: 503,
    public: 'The certificate authority is not available',
    meaning: 'The signing files of the certificate authority cannot be read, do not belong together, or are open to other users.',
    remedy:
      "Look at the file that the message names; ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem are as in Istio's cacerts.",
  },
  ENMESH_CA_EXISTS: {
    status: 409,
    public: 'The certificate authority exists already',
    meaning: 'A directory already holds files of a certificate authority, which are never overwritten.',
    remedy: 'Name another directory, or use the authority that is there.',
  },
  ENMESH_CA_ROTATION: {
    status: 409,
    public: 'The root is not being rotated like that',
    meaning: 'A step of a root rotation was asked for that does not follow from where the rotation stands, or too early.',
    remedy: 'enmesh ca rotate-root without a step shows where it stands and what comes next.',
  },
  ENMESH_CA_EXPIRED: {
    status: 503,
    public: 'The certificate authority is not available',
    meaning: 'The signing certificate of the certificate authority has reached its end, or has not begun.',
    remedy: 'Plug in a new signing certificate, or rotate the root; and look at the clock.',
  },
  ENMESH_CA_LOG: {
    status: 503,
    public: 'The certificate authority is not available',
    meaning: 'The issuance log cannot be written, so no certificate is given out.',
    remedy: 'Free the disk or mend the permissions of the file that the message names.',
  },
  ENMESH_CA_UNPROVED: {
    status: 401,
    public: 'request authenticate failure',
    meaning: 'A caller of the certificate authority did not prove who it is; the message has the cause, the caller is not told.',
    remedy: 'Give the workload a fresh token for this authority, or see why its certificate is no longer good.',
  },
  ENMESH_CA_DENIED: {
    status: 401,
    public: 'request authenticate failure',
    meaning: "The deny list names the caller's identity or the serial number of its certificate.",
    remedy: 'Take the line out of the deny list if the workload shall have certificates again.',
  },
  ENMESH_CA_REQUEST: {
    status: 400,
    public: 'The certificate was not issued',
    meaning: 'A proved caller asked for something that is not given: another identity, too long a life, a request that is none.',
    remedy: 'The message says what; ask for a life within the maximum and for the own identity only.',
  },
  ENMESH_CA_LIMIT: {
    status: 429,
    public: 'Too many requests',
    meaning: 'A caller, an address or all together asked for more certificates than the limits of the authority allow.',
    remedy: 'See which workload asks so often; raise limits in ca.yaml if the load is as it should be.',
  },
  ENMESH_CA_TOKEN: {
    status: 400,
    public: 'The join token was not made',
    meaning: "A join token was asked for that cannot be: an impossible identity or life, or a directory that is no authority's.",
    remedy: 'Mend what the message names.',
  },
});

/** A code of {@link errorTable}. */
export type ErrorCode = keyof typeof errorTable;

/** How an {@link EnmeshError} is made: the underlying error and facts for operators (never a token, key, claim value or PEM). */
export interface EnmeshErrorOptions {
  readonly cause?: unknown;
  readonly details?: Readonly<Record<string, unknown>>;
}

// Registered, so that two copies of this package in one process know each other's refusals.
const brand = Symbol.for('enmesh.error');

/**
 * The one error class of enmesh. `message` is for operators; a client only ever gets `publicMessage`.
 * `status` is the HTTP status of the code's entry in {@link errorTable}.
 */
export class EnmeshError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  /** What to do, from {@link errorTable}; a property of its own so that Node prints it with an error that nobody caught. */
  readonly remedy: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: EnmeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EnmeshError';
    this.code = code;
    this.status = errorTable[code].status;
    this.remedy = errorTable[code].remedy;
    this.details = options.details ?? {};
  }

  get [brand](): true {
    return true;
  }

  /** The sentence a client may see. */
  get publicMessage(): string {
    return errorTable[this.code].public;
  }
}

/** Whether `error` is an {@link EnmeshError}, of `code` when one is given. */
export function isEnmeshError(error: unknown, code?: ErrorCode): error is EnmeshError {
  return error instanceof Error && brand in error && (code === undefined || (error as EnmeshError).code === code);
}
