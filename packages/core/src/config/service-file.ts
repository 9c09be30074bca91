import { EnmeshError } from '../errors.js';
import type { FederatedDomain } from '../identity/federation.js';
import { accessLogShape, auditClaimsShape, type AccessLogSettings } from './access-log-shape.js';
import { readYamlDocuments } from './documents.js';
import { federationShape } from './federation-settings.js';
import { identityShape, type IdentitySettings } from './identity-settings.js';
import { errorAt, joinPath, placeAt } from './place.js';
import { formatProblem, quote } from './problem.js';
import { createProblemList, createReport } from './report.js';
import { flag, invalidAt, mapOf, record, refined, text, type Shape } from './shape.js';
import { isDnsLabel, isObjectName } from './validate/values.js';

/** What is said of one issuer's key set: whether it may be fetched over plain http, and which authorities (PEM) sign its server's certificate, in place of the system's. */
export interface IssuerKeySettings {
  readonly insecureHttp?: boolean;
  readonly caFile?: string;
}

/** By issuer, how its key set is fetched; and where fetched sets are kept for a restart while their issuer is down. */
export interface JwksSettings {
  readonly snapshotDirectory?: string;
  readonly [issuer: string]: IssuerKeySettings | string | undefined;
}

/** What `enmesh.yaml` says of this workload; every field may be absent and come from the environment or from code. */
export interface ServiceFile {
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** `identity: dev` is `{dev: {}}`; paths are relative to the file. */
  readonly identity?: IdentitySettings;
  /** Bundle endpoints of foreign trust domains; paths are relative to the file. */
  readonly federation?: readonly FederatedDomain[];
  /** Where the bundles fetched are kept for a restart; relative to the file. */
  readonly bundleSnapshotDirectory?: string;
  /** Path of the configuration directory, relative to the file. */
  readonly config?: string;
  readonly jwks?: JwksSettings;
  readonly permissiveAnyAlpn?: boolean;
  readonly istioHeaders?: boolean;
  readonly log?: boolean;
  /** A path in it is relative to the file. */
  readonly accessLog?: AccessLogSettings;
  readonly auditClaims?: readonly string[];
}

const namespace = refined(text({ min: 1 }), (value, place) => {
  if (!isDnsLabel(value)) invalidAt(place, `${quote(value)} is no namespace`, 'lower-case letters, digits and "-"');
});

const serviceAccount = refined(text({ min: 1 }), (value, place) => {
  if (!isObjectName(value)) invalidAt(place, `${quote(value)} is no service account`, 'lower-case letters, digits, "-" and "."');
});

const issuerKeys = record<IssuerKeySettings>({ insecureHttp: flag, caFile: text({ min: 1 }) });
const directory = text({ min: 1 });
const jwks: Shape<JwksSettings> = (place) =>
  mapOf<IssuerKeySettings | string>((at) =>
    at.path === joinPath(place.path, 'snapshotDirectory') ? directory(at) : issuerKeys(at),
  )(place) as JwksSettings | undefined;

const serviceFile = record<ServiceFile>({
  namespace,
  serviceAccount,
  labels: mapOf(text()),
  identity: identityShape,
  federation: federationShape,
  bundleSnapshotDirectory: text({ min: 1 }),
  config: text({ min: 1 }),
  jwks,
  permissiveAnyAlpn: flag,
  istioHeaders: flag,
  log: flag,
  accessLog: accessLogShape,
  auditClaims: auditClaimsShape,
});

/**
 * Reads `enmesh.yaml`, the description of one workload. `file` is its name in messages. Throws `ENMESH_CONFIG_SERVICE_FILE_INVALID`, whose message has one line
 * `file:line:column path: ...` for each problem and whose `details.problems` holds them. An empty file says nothing and is `{}`.
 */
export function parseServiceFile(source: string, file: string): ServiceFile {
  const list = createProblemList();
  const report = createReport(file, source, list);
  const places = [...readYamlDocuments(source, report)].map((node) => ({ node, path: '', report }));
  if (places.length > 1)
    errorAt(placeAt(places[1]!), 'ENMESH_CONFIG_DUPLICATE', 'a second document', 'one file describes one workload');
  const value = places[0] === undefined ? {} : serviceFile(places[0]);
  if (list.errors === 0 && value !== undefined) return value;
  const lines = list.problems.map((problem) => formatProblem(problem));
  throw new EnmeshError('ENMESH_CONFIG_SERVICE_FILE_INVALID', lines.join('\n'), { details: { problems: list.problems } });
}
