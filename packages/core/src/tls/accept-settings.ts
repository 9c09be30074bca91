import type { TlsMode } from './mode.js';

/** What the server takes at this moment; read anew for each connection, so that a reload holds from the next connection on. */
export interface AcceptSettings {
  readonly mode: TlsMode;
  /** Trust domains whose peers are admitted (istio-semantics 1.6); others are cut at the handshake, not answered 403. */
  readonly trustDomains: readonly string[];
  /** In PERMISSIVE also admit verified mesh certificates of clients that offer none of Istio's ALPN names (curl, nginx). */
  readonly permissiveAnyAlpn: boolean;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** TLS 1.2 cipher suites in OpenSSL's names; empty means {@link istioCiphers}. */
  readonly ciphers: readonly string[];
}

/** Istio's TLS 1.2 cipher suites, in its order. `meshMTLS.cipherSuites` replaces them whole. */
export const istioCiphers: readonly string[] = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'AES256-GCM-SHA384',
  'AES128-GCM-SHA256',
];

/** The part of MeshConfig that decides how a server accepts. */
export interface AcceptMesh {
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  /** `trustDomains` of `caCertificates[]`. */
  readonly caTrustDomains: readonly string[];
  readonly minProtocolVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly cipherSuites: readonly string[];
}

/** The settings of a port in `mode` under a mesh's configuration: own trust domain, its aliases and those of `caCertificates` are admitted. */
export function acceptSettings(o: {
  readonly mode: TlsMode;
  readonly mesh: AcceptMesh;
  readonly permissiveAnyAlpn?: boolean;
}): AcceptSettings {
  const { mesh } = o;
  return {
    mode: o.mode,
    trustDomains: [...new Set([mesh.trustDomain, ...mesh.trustDomainAliases, ...mesh.caTrustDomains])],
    permissiveAnyAlpn: o.permissiveAnyAlpn ?? false,
    minVersion: mesh.minProtocolVersion,
    ciphers: mesh.cipherSuites.length > 0 ? mesh.cipherSuites : istioCiphers,
  };
}
