import { existsSync } from 'node:fs';
import { isIP } from 'node:net';
import { join } from 'node:path';
import {
  EnmeshError,
  formatIstioId,
  parseTrustDomain,
  type IdentityRequest,
  type IstioIdentitySettings,
} from '@enmesh/core/issuance';
import { readHeaders } from './headers.js';
import { parseGoDuration } from './go-duration.js';

/** Which key is made for each certificate. */
export type KeyType = NonNullable<IstioIdentitySettings['keyType']>;

/** Everything the source needs to know, from code and environment, checked. */
export interface IstioSettings {
  /** The SPIFFE ID that the certificates have to name. */
  readonly uri: string;
  readonly trustDomain: string;
  readonly host: string;
  readonly port: number;
  /** The name in the CA's certificate. */
  readonly serverName: string;
  /** The file of the CA's roots; undefined for those of the system. */
  readonly rootCert: string | undefined;
  /** Whether that file is Istio's ConfigMap, whose roots are the mesh's own. */
  readonly isConfigMap: boolean;
  /** Undefined where the environment says that there are no tokens. */
  readonly tokenFile: string | undefined;
  /** Names what the token is for, in messages. */
  readonly audience: string;
  readonly ttlSeconds: number;
  readonly keyType: KeyType;
  readonly provCert: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly certSigner: string | undefined;
  /** How much of its life an SVID has left when it is renewed, and how far that is spread. */
  readonly grace: { readonly ratio: number; readonly jitter: number };
}

const istiod = 'istiod.istio-system.svc';
const configMapRoot = '/var/run/secrets/istio/root-cert.pem';
const longestTtl = 10 * 365 * 24 * 3600;

/**
 * Joins the settings with the environment of Istio's agent, settings first. Throws `ENMESH_ISSUANCE_SETTINGS_INVALID` for what can never work: another
 * CA_PROVIDER, a TRUST_DOMAIN that is not the mesh's, a plaintext address, values that cannot be read.
 */
export function readIstioSettings(options: IstioIdentitySettings & IdentityRequest): IstioSettings {
  const env = options.env ?? process.env;
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const trustDomain = parseTrustDomain(options.trustDomain);
  checkProvider(set('CA_PROVIDER'));
  checkTrustDomain(set('TRUST_DOMAIN'), trustDomain);
  const { host, port } = readAddress(
    options.address ?? set('CA_ADDR') ?? readDiscoveryAddress(set('PROXY_CONFIG')) ?? `${istiod}:15012`,
  );
  const provCert = options.provCert ?? set('PROV_CERT');
  return {
    uri: formatIstioId({ ...options.workload, trustDomain }),
    trustDomain,
    host,
    port,
    serverName: readServerName(options.serverName ?? set('ISTIOD_SAN'), host),
    ...readRoots(options.rootCert ?? set('CA_ROOT_CA'), provCert),
    tokenFile: options.tokenFile ?? readTokenFile(set('JWT_POLICY')),
    audience: set('TOKEN_AUDIENCES') ?? 'istio-ca',
    ttlSeconds: readTtl(options.ttlSeconds, set('SECRET_TTL')),
    keyType: readKeyType(options.keyType, {
      algorithm: set('ECC_SIGNATURE_ALGORITHM'),
      curve: set('ECC_CURVE'),
      rsaBits: set('WORKLOAD_RSA_KEY_SIZE'),
    }),
    provCert,
    headers: {
      clusterid: options.clusterId ?? set('ISTIO_META_CLUSTER_ID') ?? 'Kubernetes',
      ...readHeaders(options.headers, env),
    },
    certSigner: set('ISTIO_META_CERT_SIGNER'),
    grace: {
      ratio: readFraction('SECRET_GRACE_PERIOD_RATIO', set('SECRET_GRACE_PERIOD_RATIO'), 0.5),
      jitter: readFraction('SECRET_GRACE_PERIOD_RATIO_JITTER', set('SECRET_GRACE_PERIOD_RATIO_JITTER'), 0.01),
    },
  };
}

/** What the environment asks of Istio's agent that this source does not do, one sentence each. */
export function passedOver(env: NodeJS.ProcessEnv): readonly string[] {
  const sentences: string[] = [];
  if ((env['OUTPUT_CERTS'] ?? '') !== '')
    sentences.push('OUTPUT_CERTS is set, but keys and certificates are never written to files');
  // As Go reads a truth.
  if (/^(1|t|T|TRUE|true|True)$/.test(env['FILE_MOUNTED_CERTS'] ?? ''))
    sentences.push('FILE_MOUNTED_CERTS is set, but this source asks the CA: choose identity files to read mounted ones');
  if (!['', 'JWT'].includes(env['CREDENTIAL_FETCHER_TYPE'] ?? ''))
    sentences.push(
      'CREDENTIAL_FETCHER_TYPE is set, but tokens are read from the file only: credentials of a platform are not fetched',
    );
  return sentences;
}

/** An error for what can never work as it is set. */
function invalidSetting(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_SETTINGS_INVALID', `Identity from Istio's CA cannot start: ${reason}`);
}

function checkProvider(provider = 'Citadel'): void {
  if (provider !== 'Citadel')
    throw invalidSetting(
      `CA_PROVIDER is ${JSON.stringify(provider)}, and only Citadel (istiod, istio-csr, @enmesh/ca) is spoken to`,
    );
}

function checkTrustDomain(fromAgent: string | undefined, trustDomain: string): void {
  if (fromAgent === undefined || fromAgent === trustDomain) return;
  throw invalidSetting(
    `TRUST_DOMAIN is ${JSON.stringify(fromAgent)}, and mesh.yaml's trustDomain is ${JSON.stringify(trustDomain)}; make them one`,
  );
}

function readAddress(address: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9._-]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || !(port > 0 && port < 65_536))
    throw invalidSetting(`${JSON.stringify(address)} is no address of the form host:port`);
  // Istio's agent speaks plaintext to this port, and would send the token in the clear.
  if (port === 15_010)
    throw invalidSetting(
      `port 15010 is istiod's plaintext port, where a token could be read and no CA answers; use ${host}:15012`,
    );
  return { host, port };
}

/** The address of istiod in the agent's ProxyConfig, which the injector writes as JSON: the CA of a revision, where CA_ADDR names none. */
function readDiscoveryAddress(proxyConfig: string | undefined): string | undefined {
  if (proxyConfig === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(proxyConfig);
  } catch {
    throw invalidSetting('PROXY_CONFIG is no JSON, and CA_ADDR names no CA; set CA_ADDR');
  }
  const { discoveryAddress } = (value ?? {}) as { readonly discoveryAddress?: unknown };
  return typeof discoveryAddress === 'string' && discoveryAddress !== '' ? discoveryAddress : undefined;
}

/** The agent's policies for tokens; with any other it has none and proves itself by certificates. */
function readTokenFile(policy = 'third-party-jwt'): string | undefined {
  if (policy === 'third-party-jwt') return '/var/run/secrets/tokens/istio-token';
  return policy === 'first-party-jwt' ? '/var/run/secrets/kubernetes.io/serviceaccount/token' : undefined;
}

function readServerName(named: string | undefined, host: string): string {
  if (named === undefined) return isIP(host) !== 0 || host === 'localhost' ? `${istiod}` : host;
  if (!/^[a-zA-Z0-9._:-]{1,253}$/.test(named))
    throw invalidSetting(`${JSON.stringify(named)} is no name of a server (ISTIOD_SAN)`);
  // An IP cannot be asked for by name in a TLS handshake; it is what is dialled, or nothing.
  if (isIP(named) !== 0 && named !== host)
    throw invalidSetting(`the server name ${named} is an IP address other than the one that is dialled`);
  return named;
}

function readRoots(named: string | undefined, provCert: string | undefined): Pick<IstioSettings, 'rootCert' | 'isConfigMap'> {
  if (named === 'SYSTEM') return { rootCert: undefined, isConfigMap: false };
  if (named !== undefined) return { rootCert: named, isConfigMap: named === configMapRoot };
  const besideCertificate = provCert === undefined ? undefined : join(provCert, 'root-cert.pem');
  if (besideCertificate !== undefined && existsSync(besideCertificate))
    return { rootCert: besideCertificate, isConfigMap: false };
  return { rootCert: configMapRoot, isConfigMap: true };
}

function readTtl(seconds: number | undefined, text: string | undefined): number {
  const fromText = text === undefined ? 24 * 3600 : (parseGoDuration(text) ?? NaN) / 1000;
  const ttl = Math.ceil(seconds ?? fromText);
  if (!(ttl >= 1 && ttl <= longestTtl))
    throw invalidSetting(
      `the life asked for (ttlSeconds, SECRET_TTL) is not between one second and ten years; write it as 24h or 24h0m0s`,
    );
  return ttl;
}

const keyTypes: readonly KeyType[] = ['rsa-2048', 'rsa-3072', 'rsa-4096', 'ecdsa-p256', 'ecdsa-p384'];

interface KeyVariables {
  readonly algorithm: string | undefined;
  readonly curve: string | undefined;
  readonly rsaBits: string | undefined;
}

function readKeyType(named: KeyType | undefined, { algorithm, curve = 'P256', rsaBits = '2048' }: KeyVariables): KeyType {
  if (named !== undefined) {
    if (!keyTypes.includes(named)) throw invalidSetting(`keyType is one of ${keyTypes.join(', ')}`);
    return named;
  }
  if (algorithm === undefined) {
    const rsa = keyTypes.find((type) => type === `rsa-${rsaBits}`);
    if (rsa === undefined)
      throw invalidSetting(`WORKLOAD_RSA_KEY_SIZE is ${JSON.stringify(rsaBits)}, and only 2048, 3072 and 4096 are known`);
    return rsa;
  }
  if (algorithm !== 'ECDSA')
    throw invalidSetting(`ECC_SIGNATURE_ALGORITHM is ${JSON.stringify(algorithm)}, and only ECDSA is known`);
  if (curve !== 'P256' && curve !== 'P384')
    throw invalidSetting(`ECC_CURVE is ${JSON.stringify(curve)}, and only P256 and P384 are known`);
  return curve === 'P256' ? 'ecdsa-p256' : 'ecdsa-p384';
}

function readFraction(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
  if (!(value > 0 && value < 1)) throw invalidSetting(`${name} is ${JSON.stringify(text)}, and has to be between 0 and 1`);
  return value;
}
