import type { Resource } from '../identity/workload.js';
import type { PeerAuthentication } from '../tls/resource.js';

/** `ports[]` of ServiceEntry; of Kubernetes Service likewise, where `targetPort` may be a name. */
export interface ServicePort {
  readonly number: number;
  readonly name?: string;
  readonly protocol?: string;
  readonly targetPort?: number | string;
}

/** `ports[]` of Kubernetes Service: `protocol` is the transport there, and `appProtocol` what is spoken over it. */
export interface KubernetesPort extends ServicePort {
  readonly appProtocol?: string;
}

/** An endpoint: inline in a ServiceEntry, or the spec of a WorkloadEntry (networking.istio.io/v1). `ports` maps a port's name to its number here. */
export interface WorkloadEntrySpec {
  readonly address?: string;
  readonly ports?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly network?: string;
  readonly locality?: string;
  readonly weight?: number;
  readonly serviceAccount?: string;
}

/** `spec` of ServiceEntry (networking.istio.io/v1). Absent `location` is MESH_EXTERNAL, absent `resolution` is NONE. */
export interface ServiceEntrySpec {
  readonly hosts: readonly string[];
  readonly addresses?: readonly string[];
  readonly ports?: readonly ServicePort[];
  readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL';
  readonly resolution?: 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS';
  readonly endpoints?: readonly WorkloadEntrySpec[];
  readonly workloadSelector?: { readonly labels?: Readonly<Record<string, string>> };
  readonly exportTo?: readonly string[];
  readonly subjectAltNames?: readonly string[];
}

/** What enmesh reads of a Kubernetes Service (v1). `ports[].number` is Kubernetes' `port`. */
export interface KubernetesServiceSpec {
  readonly ports?: readonly KubernetesPort[];
  readonly selector?: Readonly<Record<string, string>>;
  readonly clusterIP?: string;
  readonly clusterIPs?: readonly string[];
  readonly type?: string;
  readonly externalName?: string;
}

/** `trafficPolicy.tls` of DestinationRule; an absent `mode` is DISABLE. */
export interface ClientTlsSettings {
  readonly mode?: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL';
  readonly clientCertificate?: string;
  readonly privateKey?: string;
  readonly caCertificates?: string;
  readonly credentialName?: string;
  readonly subjectAltNames?: readonly string[];
  readonly sni?: string;
  readonly insecureSkipVerify?: boolean;
  readonly caCrl?: string;
}

/** What enmesh reads of a `connectionPool`: whether a sidecar would offer HTTP/2. */
export interface ConnectionPool {
  readonly http?: { readonly h2UpgradePolicy?: string; readonly useClientProtocol?: boolean };
}

/** What enmesh reads of the fields that a `trafficPolicy` shares with its settings for a port. */
export interface PolicyLevel {
  readonly tls?: ClientTlsSettings;
  readonly loadBalancer?: { readonly simple?: string };
  readonly connectionPool?: ConnectionPool;
}

/** `trafficPolicy` of DestinationRule, or of a subset. */
export interface TrafficPolicy extends PolicyLevel {
  readonly portLevelSettings?: readonly (PolicyLevel & { readonly port?: { readonly number?: number } })[];
}

/** `spec` of DestinationRule (networking.istio.io/v1). */
export interface DestinationRuleSpec {
  readonly host: string;
  readonly trafficPolicy?: TrafficPolicy;
  readonly subsets?: readonly {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly trafficPolicy?: TrafficPolicy;
  }[];
  readonly exportTo?: readonly string[];
  readonly workloadSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
}

export type ServiceEntry = Resource<ServiceEntrySpec>;
export type WorkloadEntry = Resource<WorkloadEntrySpec>;
export type KubernetesService = Resource<KubernetesServiceSpec>;
export type DestinationRule = Resource<DestinationRuleSpec>;

/** All documents of the directory that tell where services are and how to speak to them. */
export interface Registry {
  readonly services: readonly KubernetesService[];
  readonly serviceEntries: readonly ServiceEntry[];
  readonly workloadEntries: readonly WorkloadEntry[];
  readonly destinationRules: readonly DestinationRule[];
  readonly peerAuthentications: readonly PeerAuthentication[];
}
