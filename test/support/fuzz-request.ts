import { isIP } from 'node:net';
import type { ReferenceRequest } from '../reference/linear.js';
import type { JwtRule } from '../reference/request-authentication.js';
import {
  accounts,
  hosts,
  issuers,
  namespaces,
  paths,
  subjects,
  texts,
  trustDomains,
  type Dice,
} from '../reference/random-values.js';
import { randomToken } from './fuzz-token.js';
import { instance, twist, twistPath, type Harvest } from './fuzz-values.js';
import type { FuzzCase, FuzzWorld, RecordedWorld } from './fuzz-world.js';

/** What requests of a world are made from. */
export interface Ground {
  readonly world: FuzzWorld;
  readonly values: Harvest;
  readonly rules: readonly JwtRule[];
  readonly recorded: readonly RecordedWorld[];
}

/** A value that the world asks about under one of the names, as a text that may match it; else one of `others`. */
function asked(dice: Dice, { values }: Ground, names: readonly string[], others: readonly string[]): string {
  const all = names.flatMap((name) => values.get(name) ?? []);
  return all.length > 0 && !dice.isOneIn(4) ? instance(dice, dice.pick(all)) : dice.pick(others);
}

function randomTarget(dice: Dice, ground: Ground): string {
  let path = asked(dice, ground, ['paths', 'request.headers[:path]'], paths);
  // As policies have them, some paths could not be sent.
  path = `/${path.replace(/^\//, '')}`.replace(/[^\x21-\x7e]/g, 'x').replaceAll(/[?#]/g, dice.isOneIn(3) ? '?' : '');
  for (let turns = dice.pick([0, 0, 1, 1, 2]); turns > 0; turns -= 1) path = twistPath(dice, path);
  const query = dice.pick(['', '', '', '?', '?a=b', '?x=1&a=%2f&b', '?/../x', '?a=b?c#d', '?%zz=1+2&&=']);
  const target = path + query;
  return dice.pick([
    ...Array.from({ length: 14 }, () => () => target),
    () => `http://${asked(dice, ground, ['hosts'], hosts) || 'a'}${target}`,
    () => `HTTPS://a.example:8443${target}`,
    () => 'http://a.example',
    () => 'http://a.example?x=1',
    () => (dice.isOneIn(3) ? '*' : target),
    () => `${target}#${target}`,
  ])();
}

const methods = ['GET', 'GET', 'GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'PROPFIND', 'TRACE'];

function randomPeer(dice: Dice, ground: Ground): string | undefined {
  if (dice.isOneIn(12)) return undefined;
  const mesh = [ground.world.mesh.trustDomain ?? 'cluster.local', ...(ground.world.mesh.trustDomainAliases ?? [])];
  const principal = asked(dice, ground, ['principals', 'source.principal'], ['']);
  if (principal !== '' && dice.isOneIn(2))
    return `spiffe://${dice.isOneIn(3) ? principal : principal.replace(/^[^/]*(?=\/ns\/)/, dice.pick(mesh))}`;
  const account = asked(dice, ground, ['serviceAccounts', 'source.serviceAccount'], accounts);
  const [own, name] = account.includes('/') ? account.split('/', 2) : [undefined, account];
  const namespace =
    own ?? asked(dice, ground, ['namespaces', 'source.namespace'], [...namespaces, ground.world.workload.namespace]);
  const domain = dice.isOneIn(10) ? asked(dice, ground, ['trustDomains'], trustDomains) : dice.pick(mesh);
  const plain = `spiffe://${domain}/ns/${namespace}/sa/${name}`;
  return dice.isOneIn(12)
    ? dice.pick([`${plain}/more`, `spiffe://${domain}/x`, `spiffe://${domain}`, `${plain}/`, plain.toUpperCase()])
    : plain;
}

const addresses = ['10.0.0.1', '127.0.0.1', '192.168.7.9', '2001:db8::1', '::1', 'fe80::1', '203.0.113.7'];

/** An address in a block that the world asks about. */
function randomAddress(dice: Dice, ground: Ground, names: readonly string[]): string {
  const block = asked(dice, ground, names, addresses).split('/')[0] ?? '';
  if (block.startsWith('::ffff:')) return dice.pick(addresses);
  const next = block.replace(/\d$/, (digit) => String((Number(digit) + 1) % 10));
  return dice.isOneIn(3) && isIP(next) !== 0 ? next : block;
}

function randomConnection(dice: Dice, ground: Ground): FuzzCase['connection'] {
  const place = {
    sourceIp: randomAddress(dice, ground, ['ipBlocks', 'source.ip']),
    destinationIp: randomAddress(dice, ground, ['destination.ip']),
    destinationPort: Number(asked(dice, ground, ['ports', 'destination.port'], ['8080', '8080', '8080', '80'])),
  };
  if (dice.isOneIn(3)) return { tls: false, ...place };
  const peer = randomPeer(dice, ground);
  const alpn = dice.pick([
    ['istio'],
    ['istio-http/1.1', 'istio', 'http/1.1'],
    ['istio-http/1.1'],
    ['http/1.1'],
    ['Istio'],
    undefined,
    ['h2', 'istio'],
  ]);
  const sni = asked(dice, ground, ['connection.sni'], ['', 'outbound_.80_._.a.b.svc.cluster.local', 'A.example']);
  return {
    tls: true,
    ...place,
    ...(dice.isOneIn(8) ? {} : { sni }),
    ...(dice.isOneIn(8) || alpn === undefined ? {} : { alpn: dice.isOneIn(3) ? alpn : ['istio-http/1.1', 'istio'] }),
    ...(peer !== undefined && { peer }),
  };
}

/** Claims with the values that the world asks about. */
function randomClaims(dice: Dice, ground: Ground): object {
  const rule = ground.rules.length > 0 ? dice.pick(ground.rules) : undefined;
  const now = Math.floor(Date.now() / 1000);
  const claims: Record<string, unknown> = {
    iss: dice.isOneIn(6) ? dice.pick(issuers) : (rule?.issuer ?? dice.pick(issuers)),
    sub: dice.pick([...subjects, 'alice', 'alice', 'a b']),
    exp: dice.pick([now + 3600, now + 3600, now + 3600, now + 3600.5, now - 30, now - 3600, 0, '1', -1]),
  };
  if (dice.isOneIn(10)) delete claims[dice.pick(['iss', 'sub', 'exp'])];
  if (dice.isOneIn(4)) claims['nbf'] = dice.pick([now - 10, now + 30, now + 3600, null]);
  const text = (names: readonly string[]): string => {
    const made = asked(dice, ground, names, texts);
    return dice.isOneIn(3) ? twist(dice, made) : made;
  };
  const shape = (name: string): unknown =>
    dice.pick<() => unknown>([
      () => text([name]),
      () => text([name]),
      () => dice.list(0, 3, () => text([name])),
      () => `${text([name])} ${text([name])}`,
      () => [1, null, text([name])],
      () => dice.pick([7, 1.5, -1, 2 ** 63, 1e21, true, false, null, '', ' ', {}, []]),
      () => ({ b: text([name]), er: { est: text([name]) } }),
    ])();
  const { audiences = [] } = rule ?? {};
  if (audiences.length > 0 && !dice.isOneIn(4)) claims['aud'] = dice.pick([...audiences, audiences, [...audiences, 'x'], 'a b']);
  else if (dice.isOneIn(2))
    claims['aud'] = dice.pick([text(['request.auth.audiences']), dice.list(0, 2, () => text(['request.auth.audiences']))]);
  if (dice.isOneIn(3)) claims['azp'] = shape('request.auth.presenter');
  for (const key of ground.values.keys()) {
    const brackets = /^request\.auth\.claims\[(.*)\]$/.exec(key)?.[1];
    if (brackets === undefined || dice.isOneIn(3)) continue;
    const [first = '', ...rest] = brackets.split('][');
    if (['iss', 'sub', 'aud', 'exp', 'nbf'].includes(first)) {
      if (first === 'iss' || first === 'sub') claims[first] = text([key]);
      continue;
    }
    claims[first] = rest.reduceRight<unknown>((inner, name) => ({ [name]: inner }), shape(key));
  }
  for (const name of ['groups', 'role', 'deep', 'a.b', 'scope'])
    if (dice.isOneIn(4)) claims[name] ??= shape(`request.auth.claims[${name}]`);
  // A line feed cannot be written into a header: then the rule refuses, on purpose.
  const isWritten = ground.rules.some(({ outputClaimToHeaders = [] }) => outputClaimToHeaders.length > 0);
  return isWritten ? (JSON.parse(JSON.stringify(claims).replaceAll('\\n', '')) as object) : claims;
}

type Lines = [string, string][];

/** Puts tokens where a rule of the world looks for them; returns what is added to the query. */
function placeTokens(dice: Dice, ground: Ground, lines: Lines): string {
  const parameters: string[] = [];
  for (const rule of ground.rules.length === 0 ? [{}] : ground.rules) {
    if (dice.isOneIn(3)) continue;
    const { fromHeaders = [], fromParams = [], fromCookies = [] } = rule as JwtRule;
    const isDefault = fromHeaders.length + fromParams.length + fromCookies.length === 0;
    const token = (): string => randomToken(dice, randomClaims(dice, ground), ground.rules.length > 1);
    const places = [
      ...(isDefault ? [{ name: 'authorization', prefix: 'Bearer ' }] : fromHeaders).map(({ name, prefix = '' }) => () => {
        const given = dice.isOneIn(10) ? dice.pick(['bearer ', '', 'Basic x, Bearer ', `${prefix}"`, `${prefix} `]) : prefix;
        // A second line of it is refused, whatever it says.
        if (lines.some(([other]) => other.toLowerCase() === 'authorization') && name.toLowerCase() === 'authorization') return;
        lines.push([dice.isOneIn(4) ? name.toUpperCase() : name, given + token()]);
      }),
      ...(isDefault ? ['access_token'] : fromParams).map((name) => () => {
        parameters.push(
          `${dice.isOneIn(4) ? encodeURIComponent(name) : name.replaceAll(' ', '%20').replace('é', '%c3%a9')}=${token()}`,
        );
      }),
      ...fromCookies.map(
        (name) => () => lines.push(['cookie', dice.pick([`${name}=${token()}`, `a=b; ${name}=${token()};c`, `x${name}=1`])]),
      ),
    ];
    for (let turns = dice.pick([1, 1, 1, 1, 2]); turns > 0; turns -= 1) dice.pick(places)();
  }
  if (parameters.length > 0 && dice.isOneIn(2))
    parameters.push(dice.pick(['b=2', 'x', 'c=%2f+d', '', 'é=%c3%a9'.replace('é', 'e')]));
  return dice.isOneIn(2) ? parameters.join('&') : parameters.reverse().join('&');
}

function randomHeaders(dice: Dice, ground: Ground): Lines {
  const lines: Lines = [
    ['host', twistHost(dice, asked(dice, ground, ['hosts', 'request.headers[host]', 'request.headers[:authority]'], hosts))],
  ];
  for (const key of ground.values.keys()) {
    const name = /^request\.headers\[(.*)\]$/.exec(key)?.[1];
    if (
      name === undefined ||
      /^(:|host$|authorization$|connection$|referer$|upgrade$|content-length$|transfer-encoding$)/i.test(name)
    )
      continue;
    for (let turns = dice.pick([0, 1, 1, 2]); turns > 0; turns -= 1) {
      const value = asked(
        dice,
        ground,
        [key],
        texts.filter((one) => !one.includes('\n')),
      );
      const line = dice.isOneIn(3) ? twist(dice, value) : value;
      lines.push([dice.isOneIn(3) ? name.toUpperCase() : name, dice.isOneIn(60) ? `${line}${'a,'.repeat(30_000)}` : line]);
    }
  }
  const extra: (() => [string, string])[] = [
    () => [
      'x-forwarded-for',
      dice.pick([
        randomAddress(dice, ground, ['remoteIpBlocks', 'remote.ip']),
        '1.2.3.4, 10.0.0.1',
        '10.0.0.1,',
        '10.0.0.1:80',
        '[::1]',
        '::ffff:10.0.0.1',
        'x',
        '',
      ]),
    ],
    () => ['X-Forwarded-For', randomAddress(dice, ground, ['remoteIpBlocks', 'remote.ip'])],
    () => ['x-forwarded-proto', dice.pick(['https', 'http', 'HTTPS'])],
    () => ['connection', dice.pick(['close', 'x-role', 'X-Role, keep-alive', 'te', 'x-forwarded-for'])],
    () => ['te', dice.pick(['trailers', 'gzip', 'trailers, deflate'])],
    () => ['x-request-id', dice.pick(['a', ''])],
    () => ['x-forwarded-client-cert', 'By=a;URI=spiffe://cluster.local/ns/a/sa/b'],
    () => ['accept', dice.pick(['a', '', 'a,b'])],
    () => ['origin', dice.pick(['http://x', ''])],
    () => ['access-control-request-method', dice.pick(['GET', ''])],
    () => [dice.pick(['x-out', 'X-Out', 'x-payload']), 'forged'],
    () => ['x-envoy-internal', 'true'],
    () => ['user-agent', dice.pick(['curl/8', 'a b'])],
    () => ['cookie', 'a=b'],
    () => ['x-utf', 'é'],
  ];
  for (let turns = dice.pick([0, 0, 1, 2, 3]); turns > 0; turns -= 1) lines.push(dice.pick(extra)());
  if (dice.isOneIn(10)) lines.push(...lines.filter(([name]) => !/^(host|authorization|content-length)$/i.test(name)).slice(0, 3));
  return lines;
}

/** A host with another port, dot or case, now and then none. */
function twistHost(dice: Dice, given: string): string {
  const host = /^[\w.-]*(:\d+)?$/.test(given) || dice.isOneIn(8) ? given : 'api.example.com';
  const clean = host.replace(/[^\w.:*[\]-]/g, 'x').replace(/:(?!\d+$)/, 'x');
  return dice.pick([
    ...Array.from({ length: 6 }, () => () => clean),
    () => clean.toUpperCase(),
    () => `${clean.replace(/:\d+$/, '')}:80`,
    () => clean.replace(/:\d+$/, ''),
    () => `${clean}.`,
    () => `${clean.replace(/:\d+$/, '')}.:8080`,
    () => `x.${clean}`,
    () => '',
  ])();
}

/** One request for a world: of its own making, or recorded and changed. */
export function makeCase(dice: Dice, ground: Ground): FuzzCase {
  const own = ground.recorded.length > 0 && dice.isOneIn(4) ? dice.pick(dice.pick(ground.recorded).cases) : undefined;
  const connection = own === undefined || dice.isOneIn(2) ? randomConnection(dice, ground) : own.connection;
  if (own !== undefined && dice.isOneIn(2)) return { connection, request: own.request };
  const headers = randomHeaders(dice, ground);
  const added = placeTokens(dice, ground, headers);
  let target = own !== undefined && dice.isOneIn(2) ? own.request.target : randomTarget(dice, ground);
  if (added !== '') {
    const [whole = ''] = target.split('#', 1);
    target = dice.pick([`${whole}${whole.includes('?') ? '&' : '?'}${added}`, `${whole.split('?', 1)[0]}?${added}`]);
  }
  const preflight = dice.isOneIn(30);
  if (preflight) headers.push(['origin', 'http://x'], ['access-control-request-method', 'GET']);
  const method = preflight ? 'OPTIONS' : randomMethod(dice, ground);
  const request: ReferenceRequest = { method, target, headers };
  return { connection, request };
}

function randomMethod(dice: Dice, ground: Ground): string {
  const method = asked(dice, ground, ['methods', 'request.headers[:method]'], methods);
  return methods.includes(method) ? method : dice.pick(methods);
}
