import { resolve } from 'node:path';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { IdentityChoice } from '../identity/choice.js';
import type { FederatedDomain } from '../identity/federation.js';
import type { MeshIdentity } from '../identity/source.js';
import type { Workload } from '../identity/workload.js';
import { auditSettings, type AuditSettings } from './access-log-settings.js';
import type { AccessLogSettings } from './access-log-shape.js';
import type { ConfigSource } from './directory.js';
import { placeFederation, splitFederation } from './federation-settings.js';
import {
  identitySources,
  isIdentitySource,
  placeIdentity,
  settingsOf,
  type IdentitySettings,
  type IdentitySource,
} from './identity-settings.js';
import { checkOptions } from './option-rules.js';
import { quote } from './problem.js';
import { parseServiceFile, type IssuerKeySettings, type JwksSettings, type ServiceFile } from './service-file.js';
import { baseOf, readServiceFile, type ServiceFileSource } from './service-file-source.js';
import { spellingHint } from './spelling.js';
import { workloadOf } from './workload-settings.js';

/**
 * Where the service's own identity comes from: a source by its word, one with settings (paths relative to the working directory), or values that
 * implement the source contracts, what `createFilesIdentity`, `createIstioIdentity` and `createSpiffeIdentity` give among them. Whoever makes such a value
 * closes it: `mesh.ready()` waits for it, `mesh.close()` leaves it open, for other meshes may use it.
 */
export type IdentityOption = IdentitySource | IdentitySettings | MeshIdentity;

/** Options of `createMesh`. Each wins over its environment variable, which wins over its field in enmesh.yaml. */
export interface MeshOptions {
  /** Namespace of this workload (`POD_NAMESPACE`). Required somewhere. */
  readonly namespace?: string;
  /** Service account of this workload (`SERVICE_ACCOUNT`); default `default`. */
  readonly serviceAccount?: string;
  /** Labels that selectors are compared with (`ENMESH_LABELS=app=product,version=v1`). */
  readonly labels?: Readonly<Record<string, string>>;
  /** The Istio configuration directory (`ENMESH_CONFIG`), or a source of documents. */
  readonly config?: string | ConfigSource;
  /** `ENMESH_IDENTITY`; default `auto`: what the platform offers, on a laptop the development authority. */
  readonly identity?: IdentityOption;
  /**
   * SPIFFE bundle endpoints of foreign trust domains, kept fresh; paths relative to the working directory (`ENMESH_FEDERATION=partner.example=https://...`). Whose
   * peers may connect is said by `trustDomains` of `caCertificates` and by `trustDomainAliases` in mesh.yaml.
   */
  readonly federation?: readonly FederatedDomain[];
  /**
   * Keeps the bundles fetched of foreign trust domains for up to 24 hours (`ENMESH_BUNDLE_SNAPSHOT_DIRECTORY`), so that a restart while an endpoint is down goes on taking
   * its peers; whoever may write there can make such peers. Default: none.
   */
  readonly bundleSnapshotDirectory?: string;
  /**
   * Per issuer: `insecureHttp` allows its key set to be fetched over plain http, `caFile` names the authorities of its server in place of the system's. `snapshotDirectory` (`ENMESH_JWKS_SNAPSHOT_DIRECTORY`) keeps fetched sets
   * for up to 24 hours, so that a restart while an issuer is down goes on taking its tokens; whoever may write there can sign tokens.
   */
  readonly jwks?: JwksSettings;
  /** In PERMISSIVE accept TLS with a verified mesh certificate whatever ALPN it offers (curl, nginx). Default false, as in Istio. */
  readonly permissiveAnyAlpn?: boolean;
  /** Also write x-forwarded-client-cert, x-forwarded-proto and x-request-id into requests, as a sidecar does. Default false. */
  readonly istioHeaders?: boolean;
  /** False ends the lines on standard error. */
  readonly log?: boolean;
  /**
   * Writes a line for each decision: `stdout`, `stderr`, `off`, or `{file, format, filter, calls}` (`ENMESH_ACCESS_LOG`, `ENMESH_ACCESS_LOG_FORMAT`). Default: none.
   * Never a token, a query or a claim that `auditClaims` does not name (docs/audit.md).
   */
  readonly accessLog?: AccessLogSettings;
  /** Claims of users that `enmesh:audit` and the access log may tell besides issuer and subject (`ENMESH_AUDIT_CLAIMS=groups,tenant`). Default: none. */
  readonly auditClaims?: readonly string[];
  /** False keeps the decision id from clients (`x-enmesh-decision`). */
  readonly decisionHeader?: boolean;
  /** Keep the request in an AsyncLocalStorage while its handler runs, for `mesh.context()`. Default false: on Node 20 it costs every request. */
  readonly requestContext?: boolean;
  /**
   * What becomes of a call by the mesh's clients that carries the token of the request being handled to where no TokenPropagation forwards it: `refuse` it, `strip` the
   * token from it, or `off`. Default `refuse`, where the context of requests is kept; asked for here, the context is kept. A seat belt, not a boundary.
   */
  readonly egressGuard?: 'refuse' | 'strip' | 'off';
  /** The egress guard also looks at the first 64 KiB of bodies. Default false. */
  readonly guardBodies?: boolean;
  /** The egress guard also looks at calls of node:http, node:https, undici and the global fetch, in the whole process, until the mesh is closed. Default false. */
  readonly guardProcess?: boolean;
  /** Header lines of a request from which on it is refused with 431; default 100, as in Envoy. */
  readonly maxHeaderCount?: number;
  /**
   * Opens the admin listener on 127.0.0.1 at this port, for `enmesh describe --running` and `enmesh explain --running` (`ENMESH_ADMIN_PORT`); 0 is a free one.
   * Every process of the machine may ask it. Default: none.
   */
  readonly adminPort?: number;
  /** The service file; default `ENMESH_FILE`, else `./enmesh.yaml` where it exists. */
  readonly file?: string;
  /** Default `process.env`. */
  readonly env?: NodeJS.ProcessEnv;
  /** Current time in milliseconds; for tests. */
  readonly clock?: () => number;
}

/** The options with every source of them merged and paths made absolute. */
export interface Settings extends AuditSettings {
  readonly workload: Workload;
  readonly config: string | ConfigSource;
  readonly identity: MeshIdentity | IdentityChoice;
  /** Whether anybody said where the identity comes from. */
  readonly isIdentitySaid: boolean;
  /** Where a development authority is kept where `auto` ends in one. */
  readonly devDirectory: string;
  readonly federation: readonly FederatedDomain[];
  readonly insecureHttp: (issuer: string) => boolean;
  /** The authorities of the servers that give an issuer's keys; undefined for the system's. */
  readonly keysCaFile: (issuer: string) => string | undefined;
  readonly snapshotDirectory: string | undefined;
  readonly bundleSnapshotDirectory: string | undefined;
  readonly permissiveAnyAlpn: boolean;
  readonly istioHeaders: boolean;
  readonly log: boolean;
  readonly decisionHeader: boolean;
  readonly requestContext: boolean;
  readonly egressGuard: 'refuse' | 'strip' | 'off';
  readonly guardBodies: boolean;
  readonly guardProcess: boolean;
  readonly maxHeaderCount: number;
  readonly adminPort: number | undefined;
  readonly serviceFile: ServiceFileSource | undefined;
  /** What another content of the service file would mean: code and environment win as at the start. */
  readonly auditOf: (file: ServiceFile) => AuditSettings;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: () => number;
}

/**
 * Merges code, environment and enmesh.yaml, in this order of precedence.
 * Throws `TypeError` for an option that there is not, `ENMESH_CONFIG_FILE_UNREADABLE`, what {@link workloadOf} throws, or what the service file's own validation finds.
 */
export function readSettings(options: MeshOptions): Settings {
  checkOptions(options);
  const env = options.env ?? process.env;
  const serviceFile = readServiceFile(options.file ?? env.ENMESH_FILE);
  const { file = {} } = serviceFile ?? {};
  const base = baseOf(serviceFile);
  const auditOf = (said: ServiceFile): AuditSettings => auditSettings(options, env, said, base);
  return {
    workload: workloadOf(options, env, file),
    config: configOf(options, env, file, base),
    ...identityOf(options.identity, env, file, base),
    federation: federationOf(options.federation, env, file, base),
    ...issuerKeysOf(options.jwks, file.jwks, base),
    snapshotDirectory: directoryOf(
      options.jwks?.snapshotDirectory ?? env.ENMESH_JWKS_SNAPSHOT_DIRECTORY,
      file.jwks?.snapshotDirectory,
      base,
    ),
    bundleSnapshotDirectory: directoryOf(
      options.bundleSnapshotDirectory ?? env.ENMESH_BUNDLE_SNAPSHOT_DIRECTORY,
      file.bundleSnapshotDirectory,
      base,
    ),
    permissiveAnyAlpn: options.permissiveAnyAlpn ?? file.permissiveAnyAlpn ?? false,
    istioHeaders: options.istioHeaders ?? file.istioHeaders ?? false,
    log: options.log ?? file.log ?? true,
    decisionHeader: options.decisionHeader ?? true,
    ...guardOf(options),
    ...auditOf(file),
    serviceFile,
    auditOf,
    maxHeaderCount: positive('maxHeaderCount', options.maxHeaderCount ?? 100),
    adminPort: adminPortOf(options.adminPort ?? env.ENMESH_ADMIN_PORT),
    env,
    clock: options.clock ?? Date.now,
  };
}

type GuardSettings = Pick<Settings, 'requestContext' | 'egressGuard' | 'guardBodies' | 'guardProcess'>;

/** Whoever asks for the guard gets what it cannot work without. */
function guardOf({ requestContext = false, egressGuard, guardBodies = false, guardProcess = false }: MeshOptions): GuardSettings {
  const mode = egressGuard ?? 'refuse';
  if (!['refuse', 'strip', 'off'].includes(mode)) throw new TypeError('egressGuard is refuse, strip or off');
  const isAsked = mode !== 'off' && (egressGuard !== undefined || guardBodies || guardProcess);
  return { requestContext: requestContext || isAsked, egressGuard: mode, guardBodies, guardProcess };
}

/** What code says of an issuer counts whole, then what the file says. */
function issuerKeysOf(
  code: JwksSettings | undefined,
  file: JwksSettings | undefined,
  base: string,
): Pick<Settings, 'insecureHttp' | 'keysCaFile'> {
  const saidOf = (issuer: string): { readonly said?: IssuerKeySettings; readonly base: string } => {
    const from = [
      { jwks: code, base: process.cwd() },
      { jwks: file, base },
    ].find(({ jwks }) => jwks !== undefined && Object.hasOwn(jwks, issuer));
    const said = from?.jwks?.[issuer];
    return typeof said === 'object' ? { said, base: from?.base ?? base } : { base };
  };
  return {
    insecureHttp: (issuer) => saidOf(issuer).said?.insecureHttp === true,
    keysCaFile(issuer) {
      const { said, base: from } = saidOf(issuer);
      return said?.caFile === undefined ? undefined : resolve(from, said.caFile);
    },
  };
}

/** A directory that code or the environment names, relative to the working directory, or else the file, relative to itself. */
function directoryOf(fromCode: string | undefined, fromFile: string | undefined, base: string): string | undefined {
  if (fromCode !== undefined && fromCode !== '') return resolve(fromCode);
  return fromFile === undefined ? undefined : resolve(base, fromFile);
}

function configOf(options: MeshOptions, env: NodeJS.ProcessEnv, file: ServiceFile, base: string): string | ConfigSource {
  if (options.config !== undefined) return typeof options.config === 'string' ? resolve(options.config) : options.config;
  if (env.ENMESH_CONFIG !== undefined && env.ENMESH_CONFIG !== '') return resolve(env.ENMESH_CONFIG);
  if (file.config !== undefined) return resolve(base, file.config);
  throw new EnmeshError(
    'ENMESH_CONFIG_DIRECTORY_MISSING',
    'no configuration directory is named: set `config` in enmesh.yaml, ENMESH_CONFIG, or createMesh({config}); it holds Istio YAML such as PeerAuthentication',
  );
}

function identityOf(
  given: IdentityOption | undefined,
  env: NodeJS.ProcessEnv,
  file: ServiceFile,
  base: string,
): Pick<Settings, 'identity' | 'isIdentitySaid' | 'devDirectory'> {
  const fromEnv = env.ENMESH_IDENTITY === undefined || env.ENMESH_IDENTITY === '' ? undefined : env.ENMESH_IDENTITY;
  const isIdentitySaid = (given ?? fromEnv ?? file.identity) !== undefined;
  const ofEnv = env.ENMESH_DEV_DIRECTORY === undefined || env.ENMESH_DEV_DIRECTORY === '' ? undefined : env.ENMESH_DEV_DIRECTORY;
  const devDirectory = ofEnv === undefined ? resolve(base, '.enmesh') : resolve(ofEnv);
  if (typeof given === 'object' && 'svid' in given) return { identity: given, isIdentitySaid, devDirectory };
  if (given !== undefined) {
    const settings = typeof given === 'string' ? wordOf(given, 'createMesh: identity') : oneSource(given);
    return { identity: placeIdentity(settings, process.cwd()), isIdentitySaid, devDirectory };
  }
  const inFile = file.identity ?? { auto: true };
  const named = fromEnv === undefined ? inFile : wordOf(fromEnv, 'ENMESH_IDENTITY');
  // The word in the environment chooses; what the file says of that very source still holds.
  const settings = Object.keys(named)[0] === Object.keys(inFile)[0] ? inFile : named;
  const identity = placeIdentity(settings, base);
  if ('dev' in identity && ofEnv !== undefined)
    return { identity: { dev: { ...identity.dev, directory: devDirectory } }, isIdentitySaid, devDirectory };
  const directory = env.ENMESH_IDENTITY_DIRECTORY;
  if ('files' in identity && identity.files.certificate === undefined && directory !== undefined && directory !== '')
    return { identity: { files: { ...identity.files, directory: resolve(directory) } }, isIdentitySaid, devDirectory };
  return { identity, isIdentitySaid, devDirectory };
}

function wordOf(word: string, where: string): IdentitySettings {
  if (isIdentitySource(word)) return settingsOf(word);
  const hint = spellingHint(word, identitySources);
  throw new EnmeshError('ENMESH_CONFIG_IDENTITY_UNKNOWN', `${where}: ${quote(word)} is no source of identity (${hint})`);
}

/** Settings from code under the rules of the file: without TypeScript nobody else looks, and a misspelt field would be a default. */
function oneSource(settings: IdentitySettings): IdentitySettings {
  const names = Object.keys(settings);
  const unknown = names.find((name) => !isIdentitySource(name));
  if (unknown !== undefined) return wordOf(unknown, 'createMesh: identity');
  if (names.length !== 1)
    throw new TypeError(`createMesh: identity must have one of ${identitySources.join(', ')}, and has ${names.length}`);
  return 'auto' in settings ? settings : (ruledByFile({ identity: settings }).identity ?? settings);
}

function ruledByFile(fields: Pick<ServiceFile, 'identity' | 'federation'>): ServiceFile {
  try {
    return parseServiceFile(JSON.stringify(fields), 'createMesh');
  } catch (cause) {
    if (!isEnmeshError(cause)) throw cause;
    throw new TypeError(cause.message.replace(/^createMesh:\d+:\d+ /gm, 'createMesh: '), { cause });
  }
}

function federationOf(
  given: readonly FederatedDomain[] | undefined,
  env: NodeJS.ProcessEnv,
  file: ServiceFile,
  base: string,
): readonly FederatedDomain[] {
  if (given !== undefined) return placeFederation(ruledByFile({ federation: given }).federation ?? [], process.cwd());
  const words = env.ENMESH_FEDERATION;
  if (words === undefined || words.trim() === '') return placeFederation(file.federation ?? [], base);
  const federation = splitFederation(words);
  try {
    return parseServiceFile(JSON.stringify({ federation }), 'ENMESH_FEDERATION').federation ?? [];
  } catch (cause) {
    if (!isEnmeshError(cause)) throw cause;
    const message = cause.message.replace(/^(ENMESH_FEDERATION):\d+:\d+ /gm, '$1: ');
    throw new EnmeshError('ENMESH_CONFIG_FEDERATION_INVALID', message, { cause });
  }
}

function positive(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) throw new TypeError(`createMesh: ${name} must be a positive integer, not ${value}`);
  return value;
}

function adminPortOf(given: number | string | undefined): number | undefined {
  if (given === undefined || given === '') return undefined;
  const port = Number(given);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new TypeError(`createMesh: adminPort (ENMESH_ADMIN_PORT) must be a port, not ${given}`);
  return port;
}
