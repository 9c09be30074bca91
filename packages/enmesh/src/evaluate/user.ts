import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { isSelected, type MeshResources, type RequestAuthentication, type Workload } from '@enmesh/core/config';
import type { GivenRequest } from '@enmesh/core/inbound';
import { withKeys } from './configuration.js';

/** An end user whom a case tells of; a token that says so is made for it. */
export interface GivenUser {
  readonly issuer: string;
  readonly subject?: string;
  readonly audiences?: readonly string[];
  /** Further members of the payload. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

type JwtRule = NonNullable<RequestAuthentication['spec']['jwtRules']>[number];

/** A key of this process alone that stands in for those of issuers, so that a case needs neither network nor anybody's key. */
export interface StandInKeys {
  /** The configuration with this key in the place of the keys of `issuers`. */
  trustedBy(resources: MeshResources, issuers: ReadonlySet<string>): MeshResources;
  /** The request with a token of the user where the workload's rule for the issuer looks for one. */
  carry(user: GivenUser, request: GivenRequest, resources: MeshResources, workload: Workload): GivenRequest;
}

/** Creates a key pair for one run. */
export function createStandInKeys(): StandInKeys {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'stand-in', alg: 'ES256', use: 'sig' }] });
  return {
    trustedBy: (resources, issuers) => withKeys(resources, (issuer) => (issuers.has(issuer) ? jwks : undefined)),
    carry: (user, request, resources, workload) =>
      placeToken(request, tokenOf(user, privateKey), ruleOf(user.issuer, resources, workload)),
  };
}

function tokenOf({ issuer, subject, audiences, claims }: GivenUser, key: KeyObject): string {
  const now = Math.floor(Date.now() / 1000);
  const payload = { iss: issuer, sub: subject, aud: audiences, iat: now, exp: now + 300, ...claims };
  const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
  const signed = `${encode({ alg: 'ES256', kid: 'stand-in', typ: 'JWT' })}.${encode(payload)}`;
  const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

/** The first rule for the issuer among the RequestAuthentications that apply to the workload. */
function ruleOf(issuer: string, { requestAuthentications, mesh }: MeshResources, workload: Workload): JwtRule | undefined {
  return requestAuthentications
    .filter(({ meta }) => meta.namespace === workload.namespace || meta.namespace === mesh.rootNamespace)
    .filter(({ spec }) => isSelected(spec.selector, workload.labels))
    .flatMap(({ spec }) => spec.jwtRules ?? [])
    .find((rule) => rule.issuer === issuer);
}

function placeToken(request: GivenRequest, token: string, rule: JwtRule | undefined): GivenRequest {
  const { target, headers } = request;
  const [header] = rule?.fromHeaders ?? [];
  const [parameter] = rule?.fromParams ?? [];
  const [cookie] = rule?.fromCookies ?? [];
  if (header !== undefined) return { ...request, headers: [...headers, [header.name, `${header.prefix ?? ''}${token}`]] };
  if (parameter !== undefined) {
    const query = `${encodeURIComponent(parameter)}=${token}`;
    return { ...request, target: `${target}${target.includes('?') ? '&' : '?'}${query}` };
  }
  if (cookie !== undefined) return { ...request, headers: [...headers, ['cookie', `${cookie}=${token}`]] };
  return { ...request, headers: [...headers, ['authorization', `Bearer ${token}`]] };
}
