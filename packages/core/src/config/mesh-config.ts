import type { TrustBundle } from '../identity/trust-bundle.js';
import type { ExtensionProvider } from '../policy/provider.js';
import type { PathNormalization } from '../request/normalize.js';
import type { TlsDefaults } from '../tls/origination.js';

/** A SPIFFE bundle endpoint of profile https_web, and the trust domains whose roots it gives. */
export interface CaBundleUrl {
  readonly url: string;
  readonly trustDomains: readonly string[];
}

/** The fields of Istio's MeshConfig that enmesh obeys, defaults filled in. */
export interface MeshSettings {
  /** Default `cluster.local`. */
  readonly trustDomain: string;
  /** Sorted, each once, as Istio keeps them. */
  readonly trustDomainAliases: readonly string[];
  /** `trustDomains` of `caCertificates[]`: they widen the client-certificate check of servers only. */
  readonly caTrustDomains: readonly string[];
  /** The roots of `caCertificates[].pem`, by trust domain: one bundle for each; those without `trustDomains` are of the mesh's own. */
  readonly caBundles: readonly TrustBundle[];
  /** `caCertificates[].spiffeBundleUrl`: where further roots of these trust domains are fetched from, each URL once. */
  readonly caBundleUrls: readonly CaBundleUrl[];
  /** Default `istio-system`. */
  readonly rootNamespace: string;
  readonly pathNormalization: PathNormalization;
  /** Who sees a service that has no `exportTo`, in the words of `exportTo`. Default `*`. */
  readonly defaultServiceExportTo: readonly string[];
  /** The same for DestinationRules, of which only `.` makes a difference. Default `*`. */
  readonly defaultDestinationRuleExportTo: readonly string[];
  /** Default `ALLOW_ANY`. */
  readonly outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY';
  /** `meshMTLS`; cipher suites in OpenSSL's names, empty for the default list. */
  readonly minProtocolVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly cipherSuites: readonly string[];
  /** `tlsDefaults`, in OpenSSL's names: for TLS to servers outside the mesh (SIMPLE and MUTUAL). Empty lists are OpenSSL's own. */
  readonly tlsDefaults: TlsDefaults;
  /** Default true. */
  readonly enableAutoMtls: boolean;
  /** Whether a sidecar would offer HTTP/2 to servers at HTTP ports, where no DestinationRule says otherwise. Default `DO_NOT_UPGRADE`. */
  readonly h2UpgradePolicy: 'DO_NOT_UPGRADE' | 'UPGRADE';
  /** `extensionProviders`: the external authorizers among them. */
  readonly extensionProviders: readonly ExtensionProvider[];
}

/** Istio's defaults. */
export const defaultMeshSettings: MeshSettings = {
  trustDomain: 'cluster.local',
  trustDomainAliases: [],
  caTrustDomains: [],
  caBundles: [],
  caBundleUrls: [],
  rootNamespace: 'istio-system',
  pathNormalization: 'BASE',
  defaultServiceExportTo: ['*'],
  defaultDestinationRuleExportTo: ['*'],
  outboundTrafficPolicy: 'ALLOW_ANY',
  minProtocolVersion: 'TLSv1.2',
  cipherSuites: [],
  tlsDefaults: { cipherSuites: [], ecdhCurves: [] },
  enableAutoMtls: true,
  h2UpgradePolicy: 'DO_NOT_UPGRADE',
  extensionProviders: [],
};
