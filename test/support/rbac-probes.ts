import type { RequestAttributes } from '../../packages/core/src/request/attributes.js';
import type { RbacNode, RbacRequest } from './envoy-rbac.js';

/** A request that no literal of a policy speaks of. */
export const plainRequest: RbacRequest = {
  method: 'GET',
  authority: 'product.shop',
  path: '/',
  headers: {},
  sourceIp: '10.0.0.1',
  remoteIp: '10.0.0.1',
  destinationIp: '10.0.0.2',
  destinationPort: 8080,
  sni: '',
  peer: undefined,
  payload: undefined,
};

/** A change that makes one request of another. */
export type Edit = (request: RbacRequest) => RbacRequest;

/** The value itself, and the values one edit away from it. */
function around(text: string): (string | undefined)[] {
  const changed = [text, `${text}x`, `x${text}`, text.slice(1), text.slice(0, -1), text.toUpperCase(), `x${text}x`, ''];
  return [undefined, ...new Set(changed)];
}

/** Texts that a pattern of Istio's takes, and some beside it. */
function textsOfRegex(pattern: string): string[] {
  const written = (any: string, optional: string): string =>
    pattern
      .replace('(?i)', '')
      .replaceAll('(.+/|)', optional === '' ? '' : `${optional}/`)
      .replaceAll('(/.+)?', optional === '' ? '' : `/${optional}`)
      .replaceAll('[^/]*', any)
      .replaceAll('.+', any)
      .replaceAll('.*', any)
      .replaceAll('\\', '');
  return [written('abc', ''), written('', ''), written('a/b', 'q'), written('abc', 'q/r')];
}

function textsOf(matcher: RbacNode): string[] {
  const regex = (matcher['safeRegex'] ?? matcher['safeRegexMatch']) as { regex: string } | undefined;
  if (regex !== undefined) return textsOfRegex(regex.regex);
  return ['exact', 'prefix', 'suffix'].flatMap((key) => (typeof matcher[key] === 'string' ? [matcher[key]] : []));
}

function addressesOf({ addressPrefix }: { addressPrefix?: unknown }): string[] {
  const parts = String(addressPrefix).split('.').map(Number);
  const near = (index: number, by: number): string =>
    parts.map((part, at) => (at === index ? (part + by) & 255 : part)).join('.');
  return [near(3, 0), near(3, 1), near(3, -1), near(2, 1), near(1, 1), `::ffff:${near(3, 0)}`, '2001:db8::1', ''];
}

function withClaim(request: RbacRequest, [name, ...rest]: readonly string[], value: unknown): RbacRequest {
  if (name === undefined) return request;
  const put = (object: Readonly<Record<string, unknown>>, key: string, [next, ...more]: readonly string[]): object => ({
    ...object,
    [key]: next === undefined ? value : put((object[key] ?? {}) as Record<string, unknown>, next, more),
  });
  return { ...request, payload: put(request.payload ?? {}, name, rest) as Record<string, unknown> };
}

function editsOfHeader(name: string, texts: readonly string[]): Edit[] {
  const values = texts.flatMap(around);
  if (name === ':method') return values.map((value) => (request) => ({ ...request, method: value ?? 'GET' }));
  if (name === ':authority') return values.map((value) => (request) => ({ ...request, authority: value ?? 'product.shop' }));
  const header = name.toLowerCase();
  return [
    ...values.map((value): Edit => (request) => ({
      ...request,
      headers: { ...request.headers, ...(value !== undefined && { [header]: [value] }) },
    })),
    ...texts.map((text): Edit => (request) => ({ ...request, headers: { ...request.headers, [header]: ['other', text] } })),
  ];
}

const editsOfClaim = (path: readonly string[], texts: readonly string[]): Edit[] =>
  [...texts.flatMap(around).flatMap((text) => [text, [text, 'other']]), [], 1, true, null, {}].map(
    (value) => (request) => withClaim(request, path, value),
  );

/** Paths that a template takes, and some beside it. */
const pathsOfTemplate = (template: string): string[] =>
  ['one', 'one/two', '', 'a=b', '"'].flatMap((any) => [
    template.replace('/**', `/${any}`).replace('/*', '/one'),
    template.replace('/**', '/one').replace('/*', `/${any}`),
  ]);

const editsOf: Readonly<Record<string, (value: never) => Edit[]>> = {
  header: (matcher: RbacNode) =>
    editsOfHeader(
      String(matcher['name']),
      matcher['presentMatch'] === true
        ? ['any']
        : matcher['stringMatch'] === undefined
          ? textsOf(matcher)
          : textsOf(matcher['stringMatch'] as RbacNode),
    ),
  urlPath: ({ path }: { path: RbacNode }) =>
    textsOf(path)
      .flatMap(around)
      .flatMap((text) => [text ?? '/', `${text ?? '/'}?q=1`])
      .map((path) => (request) => ({ ...request, path })),
  uriTemplate: ({ typedConfig }: { typedConfig: { pathTemplate: string } }) =>
    pathsOfTemplate(typedConfig.pathTemplate)
      .flatMap((path) => around(path))
      .map((path) => (request) => ({ ...request, path: path ?? '/' })),
  destinationPort: (port: number) =>
    [port, port + 1, port - 1].map((destinationPort) => (request) => ({ ...request, destinationPort })),
  destinationIp: (range: RbacNode) => addressesOf(range).map((destinationIp) => (request) => ({ ...request, destinationIp })),
  directRemoteIp: (range: RbacNode) => addressesOf(range).map((sourceIp) => (request) => ({ ...request, sourceIp })),
  remoteIp: (range: RbacNode) => addressesOf(range).map((remoteIp) => (request) => ({ ...request, remoteIp })),
  requestedServerName: (matcher: RbacNode) =>
    textsOf(matcher)
      .flatMap(around)
      .map((sni) => (request) => ({ ...request, sni: sni ?? '' })),
  authenticated: ({ principalName }: { principalName: RbacNode }) =>
    textsOf(principalName)
      .flatMap((text) => [text, `spiffe://td${text}`, `${text}/ns/foo/sa/all`, `spiffe://td/ns/ns/sa/${text}`])
      .flatMap(around)
      .map((peer) => (request) => ({ ...request, peer })),
  metadata: ({ filter, path, value }: { filter: string; path: { key: string }[]; value: RbacNode }) =>
    filter === 'envoy.filters.http.jwt_authn'
      ? editsOfClaim(
          path.slice(1).map(({ key }) => key),
          findStrings(value),
        )
      : [],
};

function findStrings(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(findStrings);
  if (typeof node !== 'object' || node === null) return [];
  return [...textsOf(node as RbacNode), ...Object.values(node).flatMap(findStrings)];
}

/** The edits that every literal below a node of a filter's configuration suggests: the literal itself and what is one edit apart from it. */
export function editsBelow(node: unknown): Edit[] {
  if (Array.isArray(node)) return node.flatMap(editsBelow);
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([kind, value]) => [
    ...(editsOf[kind]?.(value as never) ?? []),
    ...(kind === 'urlPath' || kind === 'principalName' ? [] : editsBelow(value)),
  ]);
}

/** Requests one edit away from `start`, and `mixed` more with up to `depth` edits of a fixed pseudo-random choice. */
export function probesOf(edits: readonly Edit[], mixed = 0, depth = 6): RbacRequest[] {
  const probes = [plainRequest, ...edits.map((edit) => edit(plainRequest))];
  let seed = 20_26_11;
  const next = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return (seed >>> 8) % below;
  };
  for (let count = 0; count < mixed && edits.length > 0; count += 1) {
    let request = plainRequest;
    for (let left = 1 + next(depth); left > 0; left -= 1) request = edits[next(edits.length)]?.(request) ?? request;
    probes.push(request);
  }
  return probes;
}

/** The attributes that the door would make of such a request. */
export function attributesOfProbe(request: RbacRequest): RequestAttributes {
  const { authority, payload, peer } = request;
  const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
  const path = request.path.replace(/[?#].*$/s, '');
  const pseudo: Record<string, string> = { ':method': request.method, ':path': request.path, ':authority': authority };
  const aud = payload?.['aud'];
  return {
    method: request.method,
    path,
    pathSpellings: [],
    pathIgnoresCase: false,
    host: authority.toLowerCase(),
    sourceIp: request.sourceIp,
    remoteIp: request.remoteIp,
    destinationIp: request.destinationIp,
    destinationPort: request.destinationPort,
    sni: request.sni,
    peer: peer === undefined ? undefined : peerOf(peer),
    user: payload && {
      principal: undefined,
      issuer: text(payload['iss']),
      subject: text(payload['sub']),
      audiences: Array.isArray(aud) ? (aud as string[]) : typeof aud === 'string' ? [aud] : [],
      presenter: text(payload['azp']),
      claims: payload,
      payload: '',
      expiresAt: Infinity,
    },
    header: (name) => (pseudo[name] === undefined ? request.headers[name] : [pseudo[name]]),
  };
}

function peerOf(uri: string): RequestAttributes['peer'] {
  const [, trustDomain = '', path = ''] = /^spiffe:\/\/([^/]*)(.*)$/.exec(uri) ?? [];
  return {
    spiffeId: { uri, trustDomain, path },
    uri,
    principal: uri.replace(/^spiffe:\/\//, ''),
    trustDomain,
    namespace: undefined,
    serviceAccount: undefined,
    certificateSha256: '',
    subject: '',
    dnsNames: [],
    notAfter: 0,
  };
}
