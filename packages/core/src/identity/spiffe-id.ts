import { EnmeshError } from '../errors.js';

/** A SPIFFE ID (SPIFFE-ID section 2): its parts and the text they came from. */
export interface SpiffeId {
  readonly uri: string;
  readonly trustDomain: string;
  /** Path with its leading slash; empty for a trust domain's own ID. */
  readonly path: string;
}

/** What an Istio identity is made of. */
export interface IstioIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

const scheme = 'spiffe://';

/**
 * Reads a SPIFFE ID byte for byte, without decoding or folding anything (SPIFFE-ID sections 2.1 to 2.3; at most 2048 bytes).
 * A scheme or trust domain in upper case is refused, as go-spiffe does. Throws `ENMESH_IDENTITY_SPIFFE_ID_INVALID`.
 */
export function parseSpiffeId(text: string): SpiffeId {
  if (text.length === 0) throw invalid(text, 'it cannot be empty');
  if (text.length > 2048) throw invalid(text.slice(0, 64), 'it is longer than 2048 bytes');
  if (!text.startsWith(scheme)) throw invalid(text, "its scheme must be 'spiffe'");
  const slash = text.indexOf('/', scheme.length);
  const trustDomain = slash < 0 ? text.slice(scheme.length) : text.slice(scheme.length, slash);
  const path = slash < 0 ? '' : text.slice(slash);
  const problem = trustDomainProblem(trustDomain) ?? pathProblem(path);
  if (problem !== undefined) throw invalid(text, problem);
  return { uri: text, trustDomain, path };
}

/**
 * Writes the SPIFFE ID that Istio gives a service account: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
 * Throws `ENMESH_IDENTITY_SPIFFE_ID_INVALID` when a part is no single path segment.
 */
export function formatIstioId(parts: IstioIdentity): string {
  const uri = `${scheme}${parts.trustDomain}/ns/${parts.namespace}/sa/${parts.serviceAccount}`;
  const read = istioParts(parseSpiffeId(uri));
  // A slash inside a part would move the borders between the parts and name somebody else.
  if (read?.namespace !== parts.namespace || read.serviceAccount !== parts.serviceAccount) {
    throw invalid(uri, 'namespace and service account must be one path segment each');
  }
  return uri;
}

/** The namespace and service account of an ID whose path has Istio's form `/ns/<namespace>/sa/<service account>`, else undefined. */
export function istioParts(id: SpiffeId): { namespace: string; serviceAccount: string } | undefined {
  const found = /^\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(id.path);
  const [, namespace, serviceAccount] = found ?? [];
  return namespace === undefined || serviceAccount === undefined ? undefined : { namespace, serviceAccount };
}

function trustDomainProblem(name: string): string | undefined {
  if (name.length === 0) return 'its trust domain is missing';
  if (name.length > 255) return 'its trust domain is longer than 255 bytes';
  return /^[a-z0-9._-]+$/.test(name)
    ? undefined
    : 'its trust domain may hold lower-case letters, digits, dots, dashes and underscores';
}

function pathProblem(path: string): string | undefined {
  if (path === '') return undefined;
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') return 'its path cannot have empty segments or end in a slash';
    if (segment === '.' || segment === '..') return 'its path cannot have dot segments';
    if (!/^[a-zA-Z0-9._-]+$/.test(segment)) return 'its path segments may hold letters, digits, dots, dashes and underscores';
  }
  return undefined;
}

function invalid(text: string, reason: string): EnmeshError {
  return new EnmeshError('ENMESH_IDENTITY_SPIFFE_ID_INVALID', `Not a SPIFFE ID: ${JSON.stringify(text)}: ${reason}`);
}
