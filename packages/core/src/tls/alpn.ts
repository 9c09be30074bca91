/** The ALPN names by which Istio's proxies mark mesh traffic; one of them anywhere in a client's list suffices. Compared with case. */
const istioAlpnNames: readonly string[] = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'];

/** What enmesh's own client offers: Istio's HTTP/1.1 list, so that a PERMISSIVE sidecar takes the connection for mesh traffic. */
export const clientAlpn: readonly string[] = ['istio-http/1.1', 'istio', 'http/1.1'];

/** Names under which this server speaks HTTP/1.1, best first. HTTP/2 is never among them. */
const answerable = ['http/1.1', 'istio', 'istio-http/1.1', 'istio-http/1.0', 'http/1.0', 'istio-peer-exchange'] as const;

/**
 * The same preference as {@link selectAlpn} has, in the form of the TLS extension, for OpenSSL to answer by itself: where the client's list need not be
 * known, asking us costs a hundredth of the handshake.
 */
export const alpnAnswers: Buffer = Buffer.concat(
  answerable.map((name) => Buffer.concat([Buffer.of(name.length), Buffer.from(name, 'latin1')])),
);

/** Whether a client's ALPN list marks it as a member of an Istio mesh. */
export function isIstioAlpn(offered: readonly string[]): boolean {
  return offered.some((name) => istioAlpnNames.includes(name));
}

/**
 * The server's answer to a client's ALPN list (RFC 7301 section 3.2): `http/1.1` if offered, else `istio`, else another HTTP/1 name of Istio's.
 * Undefined refuses the handshake: a list of HTTP/2 or foreign names only.
 */
export function selectAlpn(offered: readonly string[]): string | undefined {
  return answerable.find((name) => offered.includes(name));
}
