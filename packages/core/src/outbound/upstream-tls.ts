import type { ClientTlsSettings } from '../config/registry.js';

/** The TLS half of a destination, in the words of Istio's own configuration; absent members mean what `Destination` says of them. */
export interface UpstreamTls {
  readonly sni: string;
  readonly autoSni?: true;
  readonly subjectAltNames: readonly string[];
  readonly autoSan?: true;
  readonly ca: string;
  readonly certificate?: string;
  readonly crl?: string;
  readonly alpn?: readonly string[];
  readonly minVersion: 'TLSv1_2';
}

/** What {@link istioMutual} and {@link otherTls} need of the service. */
export interface UpstreamFacts {
  readonly host: string;
  readonly port: number;
  readonly subset: string | undefined;
  readonly http2: boolean;
  /** From a ServiceEntry rather than a Kubernetes Service. */
  readonly declaredEntry: boolean;
  readonly expected: readonly string[];
}

const minVersion = 'TLSv1_2';

/** Istio's server name of a service's port (istio-semantics 5.4). */
function serverNameOf(host: string, port: number, subset: string | undefined): string {
  return `outbound_.${port}_.${subset ?? ''}_.${host}`;
}

/** ISTIO_MUTUAL, by a rule (`tls`) or by auto mTLS (without). */
export function istioMutual(facts: UpstreamFacts, tls: ClientTlsSettings | undefined): UpstreamTls {
  const names = tls?.subjectAltNames ?? [];
  return {
    sni: nonEmpty(tls?.sni) ?? serverNameOf(facts.host, facts.port, facts.subset),
    subjectAltNames: names.length > 0 ? names : facts.expected,
    ca: 'mesh',
    certificate: 'mesh',
    alpn: facts.http2 ? ['istio-peer-exchange', 'istio', 'h2'] : ['istio-peer-exchange', 'istio'],
    minVersion,
  };
}

/** SIMPLE or MUTUAL: the server is judged by a certificate authority outside the mesh's. */
export function otherTls(facts: UpstreamFacts, tls: ClientTlsSettings): UpstreamTls {
  const unverified = tls.insecureSkipVerify === true;
  const own = tls.subjectAltNames ?? [];
  const sni = nonEmpty(tls.sni);
  const credential = nonEmpty(tls.credentialName);
  const certificate = clientCertificate(tls, credential);
  const crl = credential === undefined && !unverified ? nonEmpty(tls.caCrl) : undefined;
  return {
    sni: sni ?? '',
    ...(sni === undefined && { autoSni: true as const }),
    subjectAltNames: unverified ? [] : own.length > 0 || !facts.declaredEntry ? own : facts.expected,
    ...(sni === undefined && own.length === 0 && !unverified && { autoSan: true as const }),
    ca: unverified ? 'none' : authority(tls, credential),
    ...(certificate !== undefined && { certificate }),
    ...(crl !== undefined && { crl }),
    ...(facts.http2 && { alpn: ['h2'] }),
    minVersion,
  };
}

const configMap = 'configmap://';

/** Whether Istio would forget these settings and connect in plaintext: a credential on a rule without workloadSelector (istio-semantics 5.1). */
export function isCredentialDropped(tls: ClientTlsSettings, hasSelector: boolean): boolean {
  const credential = nonEmpty(tls.credentialName);
  return credential !== undefined && !credential.startsWith(configMap) && !hasSelector;
}

/** MUTUAL without both halves of a certificate, which Istio's validation refuses. */
export function lacksCertificate(tls: ClientTlsSettings): boolean {
  return (
    nonEmpty(tls.credentialName) === undefined &&
    (nonEmpty(tls.clientCertificate) === undefined || nonEmpty(tls.privateKey) === undefined)
  );
}

function authority(tls: ClientTlsSettings, credential: string | undefined): string {
  if (credential !== undefined)
    return credential.startsWith(configMap) ? `${credential}-cacert` : `credential:${credential}-cacert`;
  const file = nonEmpty(tls.caCertificates);
  return file === undefined || file === 'system' ? 'system' : `file:${file}`;
}

function clientCertificate(tls: ClientTlsSettings, credential: string | undefined): string | undefined {
  if (tls.mode !== 'MUTUAL') return undefined;
  if (credential === undefined) return `file:${tls.clientCertificate}~${tls.privateKey}`;
  return credential.startsWith(configMap) ? credential : `credential:${credential}`;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
