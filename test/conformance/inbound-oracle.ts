import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseAllDocuments } from 'yaml';
import type { PeerIdentity, RequestIdentity } from '../../packages/core/src/identity/caller.js';
import { isSelected, type Resource } from '../../packages/core/src/identity/workload.js';
import type { JwtRuleSpec, RequestAuthentication } from '../../packages/core/src/jwt/resource.js';
import type { RequestAttributes } from '../../packages/core/src/request/attributes.js';
import { headerLines, remoteAddress } from '../../packages/core/src/request/header-lines.js';
import type { PathNormalization, RequestTarget } from '../../packages/core/src/request/normalize.js';

/** A world of the oracle: a workload, its mesh and its documents. */
export interface World {
  readonly world: string;
  readonly workload: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly mesh: {
    readonly trustDomain?: string;
    readonly trustDomainAliases?: readonly string[];
    readonly rootNamespace?: string;
    readonly pathNormalization?: { readonly normalization?: PathNormalization | 'DEFAULT' };
  };
  readonly documents: string;
}

/** A request of a world with the verdict of Istio's configuration executed by Envoy. */
export interface Case {
  readonly case: string;
  readonly connection: {
    readonly tls: boolean;
    readonly sni?: string;
    readonly peer?: string;
    readonly sourceIp: string;
    readonly destinationIp: string;
    readonly destinationPort: number;
  };
  readonly request: {
    readonly method: string;
    readonly target: string;
    readonly headers: readonly (readonly [string, string])[];
  };
  readonly expect: {
    readonly outcome: 'allowed' | 'denied' | 'closed';
    readonly status?: number;
    readonly details?: string;
    readonly policy?: string;
    readonly rule?: number;
    readonly audit?: boolean;
    readonly dryRun?: unknown;
    readonly upstream?: { readonly path: string };
  };
}

/** All cases of the file beside their worlds. */
export function readInboundOracle(file: string): readonly { readonly world: World; readonly entry: Case }[] {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n');
  const cases: { world: World; entry: Case }[] = [];
  let world: World | undefined;
  for (const line of lines) {
    const value = JSON.parse(line) as World | Case;
    if ('world' in value) world = value;
    else if (world !== undefined) cases.push({ world, entry: value });
  }
  return cases;
}

/** The documents of one kind, as config would hand them over. */
export function documentsOf<Spec>(world: World, kind: string): readonly Resource<Spec>[] {
  return parseAllDocuments(world.documents)
    .map((document) => document.toJS() as { kind: string; metadata: Record<string, never>; spec?: Spec } | null)
    .filter((document) => document?.kind === kind)
    .map((document) => {
      const { metadata = {}, spec } = document ?? {};
      const {
        namespace = 'default',
        name = '',
        labels = {},
        annotations = {},
        creationTimestamp,
      } = metadata as Record<string, never>;
      const meta = {
        kind,
        namespace,
        name,
        labels,
        annotations,
        creationTimestamp: creationTimestamp === undefined ? 0 : Date.parse(creationTimestamp),
      };
      return { meta: { ...meta, source: { file: world.world, line: 1, column: 1 } }, spec: spec ?? ({} as Spec) };
    });
}

function peerOf(uri: string): PeerIdentity {
  const [, trustDomain = '', path = ''] = /^spiffe:\/\/([^/]*)(.*)$/.exec(uri) ?? [];
  return {
    spiffeId: { uri, trustDomain, path },
    uri,
    principal: uri.slice('spiffe://'.length),
    trustDomain,
    namespace: undefined,
    serviceAccount: undefined,
    certificateSha256: '',
    subject: '',
    dnsNames: [],
    notAfter: 0,
  };
}

type Lines = [string, string][];

/** The request's header lines after Envoy's codec and connection manager (istio-semantics 3.9). */
function linesOf({ connection, request }: Case): Lines {
  const nominated = new Set(
    request.headers
      .filter(([name]) => name.toLowerCase() === 'connection')
      .flatMap(([, value]) => value.toLowerCase().split(','))
      .map((name) => name.trim()),
  );
  const dropped = new Set(['connection', 'keep-alive', 'upgrade', 'x-envoy-internal', 'x-forwarded-client-cert', ...nominated]);
  const lines: Lines = request.headers
    .filter(([name, value]) => !dropped.has(name.toLowerCase()) && (name.toLowerCase() !== 'te' || value === 'trailers'))
    .map(([name, value]) => [name, value.trim()]);
  const has = (name: string): boolean => lines.some(([candidate]) => candidate.toLowerCase() === name);
  if (!has('x-forwarded-proto')) lines.push(['x-forwarded-proto', connection.tls ? 'https' : 'http']);
  if (!has('x-request-id')) lines.push(['x-request-id', 'made-by-the-mesh']);
  if (connection.peer !== undefined) lines.push(['x-forwarded-client-cert', `Subject="";URI=${connection.peer}`]);
  return lines;
}

function decode(token: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

const locationsOf = (rule: JwtRuleSpec): Pick<JwtRuleSpec, 'fromHeaders' | 'fromParams' | 'fromCookies'> =>
  rule.fromHeaders?.length || rule.fromParams?.length || rule.fromCookies?.length
    ? rule
    : { fromHeaders: [{ name: 'authorization', prefix: 'Bearer ' }], fromParams: ['access_token'] };

function tokensOf(rule: JwtRuleSpec, lines: Lines, query: string): readonly string[] {
  const { fromHeaders = [], fromParams = [], fromCookies = [] } = locationsOf(rule);
  const raw = lines.flat();
  const sorted = [...fromHeaders].sort((a, b) =>
    a.name.toLowerCase() + (a.prefix ?? '') < b.name.toLowerCase() + (b.prefix ?? '') ? -1 : 1,
  );
  const inHeaders = sorted.flatMap(({ name, prefix = '' }) =>
    (headerLines(raw, name.toLowerCase()) ?? []).flatMap((value) => {
      const at = value.indexOf(prefix);
      if (at === -1) return [];
      const rest = value.slice(at + prefix.length);
      return [prefix === '' ? value : rest.replace(/^[^A-Za-z0-9_.-]+/, '')];
    }),
  );
  const parameters = new URLSearchParams(query.replaceAll('+', '%2B'));
  const inParams = fromParams.flatMap((name) => parameters.get(name) ?? []);
  const cookies = (headerLines(raw, 'cookie') ?? []).flatMap((line) => line.split(';')).map((pair) => pair.trim().split('='));
  const inCookies = fromCookies.flatMap((name) =>
    cookies
      .filter(([key]) => key === name)
      .map(([, ...value]) => value.join('='))
      .slice(0, 1),
  );
  return [...inHeaders, ...inParams, ...inCookies];
}

function userOf(claims: Record<string, unknown>, rule: JwtRuleSpec): RequestIdentity {
  const split = { ...claims };
  for (const name of ['scope', 'permission', ...(rule.spaceDelimitedClaims ?? [])]) {
    const value = split[name];
    if (typeof value === 'string') split[name] = value.split(' ').filter((part) => part !== '');
  }
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  const audiences = typeof claims['aud'] === 'string' ? [claims['aud']] : ((claims['aud'] as string[] | undefined) ?? []);
  const [issuer, subject] = [text(claims['iss']), text(claims['sub'])];
  const principal = issuer !== undefined && subject !== undefined ? `${issuer}/${subject}` : undefined;
  return {
    principal,
    issuer,
    subject,
    audiences,
    presenter: text(claims['azp']),
    claims: split,
    payload: '',
    expiresAt: Infinity,
  };
}

/** Takes the user from the tokens by decoding alone: these cases are not decided by the token. Edits the lines as the JWT filter does. */
function authenticate(world: World, entry: Case, lines: Lines, query: string): RequestIdentity | undefined {
  const root = world.mesh.rootNamespace ?? 'istio-system';
  const { namespace, labels } = world.workload;
  const policies: readonly RequestAuthentication[] = documentsOf(world, 'RequestAuthentication');
  const rules = policies
    .filter(
      ({ meta, spec }) =>
        [namespace, root].includes(meta.namespace) && spec.targetRefs === undefined && isSelected(spec.selector, labels),
    )
    .flatMap(({ spec }) => spec.jwtRules ?? []);
  const remove = (name: string): void => {
    for (let at = lines.length - 1; at >= 0; at -= 1)
      if (lines[at]?.[0].toLowerCase() === name.toLowerCase()) lines.splice(at, 1);
  };
  for (const rule of rules) {
    if (rule.outputPayloadToHeader !== undefined) remove(rule.outputPayloadToHeader);
    for (const { header } of rule.outputClaimToHeaders ?? []) remove(header);
  }
  const raw = entry.request.headers.flat();
  const preflight =
    entry.request.method === 'OPTIONS' &&
    headerLines(raw, 'origin')?.[0] &&
    headerLines(raw, 'access-control-request-method')?.[0];
  if (preflight) return undefined;
  for (const rule of [...rules].sort((a, b) =>
    (a.issuer ?? '') < (b.issuer ?? '') ? -1 : (a.issuer ?? '') > (b.issuer ?? '') ? 1 : 0,
  )) {
    const claims = tokensOf(rule, lines, query).map(decode);
    if (claims.length === 0 || claims.some((payload) => payload === undefined || (rule.issuer && payload['iss'] !== rule.issuer)))
      continue;
    if (rule.forwardOriginalToken !== true) for (const { name } of locationsOf(rule).fromHeaders ?? []) remove(name);
    return userOf(claims[0] as Record<string, unknown>, rule);
  }
  return undefined;
}

/** The attributes that the door would make of a case. */
export function attributesOf(world: World, entry: Case, target: RequestTarget): RequestAttributes {
  const { connection, request } = entry;
  const lines = linesOf(entry);
  const user = authenticate(world, entry, lines, target.query);
  const raw = lines.flat();
  const host = target.authority ?? headerLines(raw, 'host')?.[0] ?? '';
  const pseudo: Readonly<Record<string, string>> = {
    ':method': request.method,
    ':path': target.path + target.query,
    ':authority': host,
    ':scheme': headerLines(raw, 'x-forwarded-proto')?.[0] ?? '',
    host,
  };
  return {
    method: request.method,
    path: target.path,
    pathSpellings: [],
    pathIgnoresCase: false,
    host: host.toLowerCase(),
    sourceIp: connection.sourceIp,
    remoteIp: remoteAddress(headerLines(raw, 'x-forwarded-for'), connection.sourceIp),
    destinationIp: connection.destinationIp,
    destinationPort: connection.destinationPort,
    sni: (connection.sni ?? '').toLowerCase(),
    peer: connection.peer === undefined ? undefined : peerOf(connection.peer),
    user,
    header: (name) => (pseudo[name] === undefined ? headerLines(raw, name) : [pseudo[name]]),
  };
}
