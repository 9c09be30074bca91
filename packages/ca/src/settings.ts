import { resolve } from 'node:path';
import { formatIstioId, isEnmeshError, parseTrustDomain } from '@enmesh/core/issuance';
import {
  optional,
  readCount,
  parseDuration,
  readFlag,
  readList,
  readObject,
  readText,
  settingsError,
  type Reader,
} from './fields.js';

/** Which token of an issuer is which service account: an exact subject, and claims that must have exactly these values. */
export interface IdentityMapping {
  readonly subject: string;
  readonly claims: Readonly<Record<string, string>>;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** An issuer of tokens that prove callers; its keys come from one of three places, or by discovery. */
export interface IssuerSettings {
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly jwks: string | undefined;
  /** An absolute path, read again when it changes. */
  readonly jwksFile: string | undefined;
  readonly jwksUri: string | undefined;
  readonly insecureHttp: boolean;
  /** Whether subjects `system:serviceaccount:NAMESPACE:NAME` name service accounts, as in Kubernetes' own tokens. */
  readonly kubernetesSubjects: boolean;
  readonly identities: readonly IdentityMapping[];
}

/** A Kubernetes API server that is asked about tokens. Paths are absolute. */
export interface TokenReviewSettings {
  /** `https://host:port`. */
  readonly url: string;
  /** PEM file of the roots of its certificate. */
  readonly ca: string;
  /** File of the token that this authority asks with; read for each question. */
  readonly tokenFile: string;
  readonly audiences: readonly string[];
}

/** Bounds of what is served. */
export interface LimitSettings {
  /** Requests worked on at one time. */
  readonly concurrent: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly perCallerPerMinute: number;
  readonly perAddressPerMinute: number;
}

/** Everything a certificate authority is told. */
export interface CaSettings {
  /** Where its files are: absolute. */
  readonly directory: string;
  readonly trustDomain: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** DNS names of its own serving certificate. */
  readonly names: readonly string[];
  /** Life of a certificate whose request names none, in seconds. */
  readonly ttlSeconds: number;
  readonly maxTtlSeconds: number;
  readonly joinTokens: boolean;
  /** For how long after its end a certificate may still be renewed, in seconds; 0 for not at all. */
  readonly renewExpiredSeconds: number;
  readonly jwt: readonly IssuerSettings[];
  readonly tokenReview: TokenReviewSettings | undefined;
  readonly limits: LimitSettings;
}

const day = 86_400;

/** The names that a client of istiod looks for when it is told none. */
export const defaultNames = ['istiod.istio-system.svc', 'localhost'];

/**
 * Reads the settings of a certificate authority from a parsed `ca.yaml`; relative paths are relative to `directory`.
 * Unknown members are errors. Throws `ENMESH_CA_SETTINGS`.
 */
export function parseCaSettings(value: unknown, directory: string): CaSettings {
  const root = resolve(directory);
  const path: Reader<string> = (item, where) => resolve(root, readText(item, where));
  const parsed = readObject({
    trustDomain: readTrustDomain,
    listen: optional(parseListen, { host: '127.0.0.1', port: 15_012 }),
    names: optional(readList(readDnsName), defaultNames),
    ttl: optional(parseDuration, day),
    maxTtl: optional(parseDuration),
    joinTokens: optional(readFlag, true),
    renewExpiredWithin: optional(parseDuration, 0),
    jwt: optional(readList(issuerReader(path)), []),
    tokenReview: optional(
      readObject({ url: readHttpsUrl, ca: path, tokenFile: path, audiences: readAudiences }) as Reader<TokenReviewSettings>,
    ),
    limits: optional(readLimits, readLimits({}, 'limits')),
  })(value, '');
  const { ttl, maxTtl = Math.max(ttl, day), renewExpiredWithin: renewExpiredSeconds, ...rest } = parsed;
  if (ttl > maxTtl) throw settingsError('ttl', 'is longer than maxTtl');
  if (maxTtl > 90 * day) throw settingsError('maxTtl', 'is longer than 90 days: revocation is by short life');
  if (renewExpiredSeconds > 30 * day) throw settingsError('renewExpiredWithin', 'is longer than 30 days');
  if (rest.names.length === 0) throw settingsError('names', 'must name the authority at least once');
  for (const { identities } of rest.jwt) for (const mapping of identities) checkIdentity(mapping, rest.trustDomain);
  checkIssuers(rest.jwt);
  return { ...rest, directory: root, ttlSeconds: ttl, maxTtlSeconds: maxTtl, renewExpiredSeconds };
}

const readLimits: Reader<LimitSettings> = readObject({
  concurrent: optional(readCount(1, 10_000), 64),
  connections: optional(readCount(1, 100_000), 1000),
  connectionsPerAddress: optional(readCount(1, 100_000), 100),
  perCallerPerMinute: optional(readCount(1, 1_000_000), 300),
  perAddressPerMinute: optional(readCount(1, 1_000_000), 600),
});

function readAudiences(value: unknown, where: string): readonly string[] {
  const audiences = readList(readText)(value, where);
  // A token for anybody would be good here too.
  if (audiences.length === 0) throw settingsError(where, 'must name at least one audience');
  return audiences;
}

const issuerReader = (path: Reader<string>): Reader<IssuerSettings> => {
  const read = readObject({
    issuer: readText,
    audiences: readAudiences,
    jwks: optional(readText),
    jwksFile: optional(path),
    jwksUri: optional(readText),
    insecureHttp: optional(readFlag, false),
    kubernetesSubjects: optional(readFlag, false),
    identities: optional(
      readList(
        readObject({ subject: readText, claims: optional(readClaims, {}), namespace: readText, serviceAccount: readText }),
      ),
      [],
    ),
  });
  return (value, where) => {
    const issuer = read(value, where);
    const places = [issuer.jwks, issuer.jwksFile, issuer.jwksUri].filter((place) => place !== undefined);
    if (places.length > 1) throw settingsError(where, 'has more than one of jwks, jwksFile and jwksUri');
    if (issuer.identities.length === 0 && !issuer.kubernetesSubjects)
      throw settingsError(where, 'proves nobody: give identities, or kubernetesSubjects: true');
    return issuer;
  };
};

const readClaims: Reader<Readonly<Record<string, string>>> = (value, where) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw settingsError(where, 'must be an object');
  return Object.fromEntries(Object.entries(value).map(([name, claim]) => [name, readText(claim, `${where}.${name}`)]));
};

const readTrustDomain: Reader<string> = (value, where) => {
  try {
    return parseTrustDomain(readText(value, where));
  } catch (error) {
    throw isEnmeshError(error, 'ENMESH_CA_SETTINGS') ? error : settingsError(where, 'is no trust domain');
  }
};

/** Reads `host:port`, or a port of 127.0.0.1. Throws `ENMESH_CA_SETTINGS`. */
export const parseListen: Reader<CaSettings['listen']> = (value, where) => {
  const text = readText(typeof value === 'number' ? String(value) : value, where);
  const [, host = '127.0.0.1', port] = /^(?:([\w.-]+|\[[\da-f:]+\]):)?(\d{1,5})$/i.exec(text) ?? [];
  if (port === undefined || Number(port) > 65_535) throw settingsError(where, 'must be host:port');
  return { host: host.replace(/[[\]]/g, ''), port: Number(port) };
};

const readDnsName: Reader<string> = (value, where) => {
  const name = readText(value, where);
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (name.length > 253 || !new RegExp(`^${label}(\\.${label})*$`).test(name) || /^[\d.]+$/.test(name))
    throw settingsError(where, 'must be a DNS name in lower case');
  return name;
};

const readHttpsUrl: Reader<string> = (value, where) => {
  const text = readText(value, where);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.username !== '' || url.pathname !== '/' || url.search !== '')
    throw settingsError(where, 'must be https://host:port');
  return url.origin;
};

function checkIdentity({ namespace, serviceAccount }: IdentityMapping, trustDomain: string): void {
  try {
    formatIstioId({ trustDomain, namespace, serviceAccount });
  } catch {
    throw settingsError('jwt', `${JSON.stringify(`${namespace}/${serviceAccount}`)} is no namespace and service account`);
  }
}

function checkIssuers(issuers: readonly IssuerSettings[]): void {
  const seen = new Set<string>();
  for (const { issuer, identities } of issuers) {
    if (seen.has(issuer)) throw settingsError('jwt', `issuer ${JSON.stringify(issuer)} stands there twice`);
    seen.add(issuer);
    // The same subject twice, with claims to tell them apart, is fine; without claims it would be a matter of order.
    const plain = identities.map(({ subject, claims }) => JSON.stringify([subject, Object.entries(claims).toSorted()]));
    if (new Set(plain).size < plain.length)
      throw settingsError('jwt', `issuer ${JSON.stringify(issuer)} maps a subject twice with the same claims`);
  }
}
