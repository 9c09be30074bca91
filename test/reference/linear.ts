import { decide, type AuthorizationPolicy, type Facts, type Verdict } from './authorization-policy.js';
import { receivedLines, remoteIp, valuesOf, type Line } from './headers.js';
import { normalize } from './path.js';
import { isAccepted, modeFor, type PeerAuthentication, type ReferenceConnection } from './peer-authentication.js';
import { authenticate, rulesFor, type RequestAuthentication, type TokenRequest } from './request-authentication.js';
import { readDocuments, trustDomainOf, type Document, type MeshFields, type Target } from './world.js';

/**
 * The plain reference: PeerAuthentication, path normalization, header joins, RequestAuthentication and AuthorizationPolicy, decided line by line
 * from the documents as they stand. It shares nothing with the packages, and takes its time.
 */
export interface ReferenceWorld {
  readonly workload: Target & { readonly serviceAccount: string };
  readonly mesh: MeshFields;
  readonly documents: string;
}

export interface ReferenceRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** In the words of the oracle's `expect`. */
export interface ReferenceVerdict extends Omit<Verdict, 'allowed'> {
  readonly outcome: 'allowed' | 'denied' | 'closed';
  readonly status?: number;
  readonly body?: string;
  readonly upstream?: { readonly path: string; readonly lines: readonly Line[] };
}

function factsOf(connection: ReferenceConnection, path: string, host: string, request: TokenRequest): Facts {
  const { lines, method } = request;
  const pseudo: Readonly<Record<string, string>> = {
    ':method': method,
    ':path': path + request.query,
    ':authority': host,
    ':scheme': valuesOf(lines, 'x-forwarded-proto').join(','),
    host,
  };
  return {
    method,
    path,
    host,
    sourceIp: connection.sourceIp,
    remoteIp: remoteIp(lines, connection.sourceIp),
    destinationIp: connection.destinationIp,
    destinationPort: connection.destinationPort,
    sni: (connection.sni ?? '').toLowerCase(),
    peer: connection.tls ? connection.peer : undefined,
    claims: request.claims,
    header: (name) => (pseudo[name] === undefined ? valuesOf(lines, name) : [pseudo[name]]),
  };
}

/** No line brings the blanks around a claim to its reader. */
const asCarried = ([name, value]: Line): Line => [name, value.replace(/^[ \t]+|[ \t]+$/g, '')];

/** Judges one request on one connection to the workload. */
export const judge = (
  world: ReferenceWorld,
  connection: ReferenceConnection,
  request: ReferenceRequest,
  now: number,
): ReferenceVerdict => judgeIn({ ...world, documents: readDocuments(world.documents) }, connection, request, now);

/** A world whose documents were read before. */
export type ReadWorld = Omit<ReferenceWorld, 'documents'> & { readonly documents: readonly Document<never>[] };

/** Judges a request in a world that was read before. With `isCautious` as enmesh is on purpose (see {@link decide} and {@link authenticate}). */
export function judgeIn(
  { workload, mesh, documents }: ReadWorld,
  connection: ReferenceConnection,
  { method, target, headers }: ReferenceRequest,
  now: number,
  isCautious = false,
): ReferenceVerdict {
  const mode = modeFor(documents as readonly Document<PeerAuthentication>[], workload, mesh, connection.destinationPort);
  if (!isAccepted(mode, connection, mesh)) return { outcome: 'closed' };
  const normal = normalize(target, mesh.pathNormalization?.normalization);
  if (normal === undefined) return { outcome: 'denied', status: 400 };
  const own = `spiffe://${trustDomainOf(mesh)}/ns/${workload.namespace}/sa/${workload.serviceAccount}`;
  const lines = receivedLines(headers, connection, own);
  if (normal.authority !== undefined) lines.find(([name]) => name === 'host')?.splice(1, 1, normal.authority);
  const request: TokenRequest = { method, path: normal.path, lines, query: normal.query, claims: undefined };
  const rules = rulesFor(documents as readonly Document<RequestAuthentication>[], workload, mesh);
  const refusal = authenticate(rules, request, now, isCautious);
  if (refusal !== undefined) return { outcome: 'denied', ...refusal };
  const facts = factsOf(connection, normal.path, valuesOf(lines, 'host').join(','), request);
  const policies = documents as readonly Document<AuthorizationPolicy>[];
  const { allowed, ...rest } = decide(policies, workload, mesh, facts, isCautious);
  if (!allowed) return { outcome: 'denied', status: 403, body: 'RBAC: access denied', ...rest };
  return {
    outcome: 'allowed',
    status: 200,
    ...rest,
    upstream: { path: normal.path + request.query, lines: lines.map(asCarried) },
  };
}
