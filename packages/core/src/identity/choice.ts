/** Where an identity comes from when files hold it: a directory in one of the known layouts, or each file by name. Paths are absolute. */
export interface FilesIdentitySettings {
  /** A directory in one of the layouts of docs/identity.md; which one is found by the names in it. */
  readonly directory?: string;
  /** PEM, leaf first. Together with `privateKey` instead of `directory`. */
  readonly certificate?: string;
  readonly privateKey?: string;
  /** PEM, the roots of the own trust domain. */
  readonly roots?: string;
  /** The bundles of other trust domains: name to a file of PEM. */
  readonly federated?: Readonly<Record<string, string>>;
}

/** Where certificates come from over Istio's CreateCertificate; every member but the first has its twin in the environment of Istio's agent. */
export interface IstioIdentitySettings {
  /** `host:port` of the CA (`CA_ADDR`); default `istiod.istio-system.svc:15012`. */
  readonly address?: string;
  /** The name that the CA's certificate must carry (`ISTIOD_SAN`); default the host of `address`, for IPs and localhost `istiod.istio-system.svc`. */
  readonly serverName?: string;
  /** File of the CA's root certificates (`CA_ROOT_CA`), or `SYSTEM`; default `root-cert.pem` of `provCert`, else `/var/run/secrets/istio/root-cert.pem`. */
  readonly rootCert?: string;
  /** File of the projected service-account token, read for every call; default `/var/run/secrets/tokens/istio-token`. */
  readonly tokenFile?: string;
  /** Life asked for, in seconds (`SECRET_TTL`); default 24 hours. */
  readonly ttlSeconds?: number;
  /** `ISTIO_META_CLUSTER_ID`; default `Kubernetes`. */
  readonly clusterId?: string;
  /** Default `rsa-2048` as Istio's agent; `WORKLOAD_RSA_KEY_SIZE`, or `ECC_SIGNATURE_ALGORITHM=ECDSA` and `ECC_CURVE`, choose the others. */
  readonly keyType?: 'rsa-2048' | 'rsa-3072' | 'rsa-4096' | 'ecdsa-p256' | 'ecdsa-p384';
  /** A directory with `cert-chain.pem` and `key.pem` to prove oneself with when there is no token (`PROV_CERT`). */
  readonly provCert?: string;
  /** Further gRPC metadata (`CA_HEADER_*`). */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Where identities come from over the SPIFFE Workload API. */
export interface SpiffeIdentitySettings {
  /** `unix:///path` or `tcp://IP:port` (`SPIFFE_ENDPOINT_SOCKET`). */
  readonly socket?: string;
  /** The hint of the SVID to use where the workload has several; default the first. */
  readonly hint?: string;
}

/** Where an identity shall come from, with paths made absolute. `auto` looks for what the platform offers. */
export type IdentityChoice =
  | { readonly auto: true }
  | { readonly dev: { readonly directory: string; readonly allowAnywhere: boolean } }
  | { readonly files: FilesIdentitySettings }
  | { readonly istio: IstioIdentitySettings }
  | { readonly spiffe: SpiffeIdentitySettings };
