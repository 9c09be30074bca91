import type { AuthorizationPolicySpec, PolicyRule } from '../../packages/core/src/policy/resource.js';
import { plainRequest } from './rbac-probes.js';
import type { RbacRequest } from './envoy-rbac.js';

/** A rule and a request that together ask as much work of one kind of matcher as they can; nothing in it matches. */
export interface HardCase {
  readonly name: string;
  readonly rule: PolicyRule;
  readonly request: RbacRequest;
}

const values = 512;
const times = (make: (index: number) => string, count = values): string[] =>
  Array.from({ length: count }, (_, index) => make(index));

/** 60 KB of one line, and 16 KB of a path. */
const line = (piece: string): string => piece.repeat(Math.floor(60_000 / piece.length));
const path = (piece: string, end = ''): string => piece.repeat(Math.floor(16_000 / piece.length)) + end;

const suffixes = times((index) => `*${'a'.repeat(index)}b`);
const prefixes = times((index) => `${'a'.repeat(index)}b*`);
const exact = times((index) => `${'a'.repeat(index)}b`);

const withHeader = (value: string): RbacRequest => ({ ...plainRequest, headers: { 'x-long': [value] } });
const ofHeader = (name: string, list: readonly string[], value: string): HardCase => ({
  name: `a header of 60 KB: ${name}`,
  rule: { when: [{ key: 'request.headers[x-long]', values: list }] },
  request: withHeader(value),
});
const ofPath = (name: string, paths: readonly string[], value: string): HardCase => ({
  name: `a path of 16 KB: ${name}`,
  rule: { to: [{ operation: { paths } }] },
  request: { ...plainRequest, path: value },
});
const withPeer = (peer: string): RbacRequest => ({ ...plainRequest, peer });

const letters = 'abcdefghijklmnopqrstuvwxyz';

/** The longest SPIFFE ID there may be (SPIFFE-ID section 2.3), of pieces that almost match. */
const longId = (piece: string): string => `spiffe://td/${piece.repeat(170)}`.slice(0, 2040);

const claim = (name: string, list: readonly string[], value: unknown): HardCase => ({
  name: `a claim: ${name}`,
  rule: { when: [{ key: 'request.auth.claims[groups]', values: list }] },
  request: { ...plainRequest, payload: { iss: 'a', sub: 'b', groups: value } },
});

/** Every kind of matcher against what is worst for it. */
export const hardCases: readonly HardCase[] = [
  ofHeader('suffixes', suffixes, line('a')),
  ofHeader('prefixes', prefixes, line('a')),
  ofHeader('exact values', exact, line('a')),
  ofHeader('suffixes of 30 000 items', suffixes, line('a,')),
  ofHeader('suffixes of 600 long items', suffixes, line(`${'a'.repeat(99)},`)),
  ofHeader('prefixes of 600 long items', prefixes, line(`${'a'.repeat(99)},`)),
  ofHeader('exact values of 30 000 items', exact, line('a,')),
  ofHeader('empty items', suffixes, line(',')),
  {
    name: 'two thousand lines of one header: suffixes',
    rule: { when: [{ key: 'request.headers[x-long]', values: suffixes }] },
    request: { ...plainRequest, headers: { 'x-long': times(() => 'a'.repeat(30), 2000) } },
  },
  ofPath('suffixes', suffixes, path('/a')),
  ofPath(
    'prefixes',
    prefixes.map((value) => `/${value}`),
    path('/a'),
  ),
  ofPath(
    'templates of one operator a segment',
    times((index) => `${'/{*}'.repeat(index + 1)}/b`),
    path('/a'),
  ),
  ofPath(
    'templates of any depth',
    times((index) => `${'/{*}'.repeat(index + 1)}/{**}/b`),
    path('/a', '/[/b'),
  ),
  ofPath(
    'templates of any depth without slashes',
    times((index) => `/{**}/${'a'.repeat(index)}/b`),
    path('a', '[/b'),
  ),
  ofPath(
    'long literals in templates',
    times((index) => `/{*}${'/a'.repeat(index)}/{**}/b`),
    path('/a', '/[/b'),
  ),
  ofPath(
    'one operator over it all',
    times((index) => `/{*}/b${index}`),
    `/${path('a')}`,
  ),
  ofPath('escapes', suffixes, path('/%61%2561%c3%a9')),
  { ...ofPath('the header :path', [], `/x?${path('a')}`), rule: { when: [{ key: 'request.headers[:path]', values: suffixes }] } },
  {
    name: 'a host of 60 KB: suffixes',
    rule: { to: [{ operation: { hosts: suffixes } }] },
    request: { ...plainRequest, authority: line('A') },
  },
  { name: 'methods', rule: { to: [{ operation: { methods: suffixes } }] }, request: { ...plainRequest, method: line('a') } },
  {
    name: 'namespaces of many wildcards',
    rule: { from: [{ source: { namespaces: times((index) => `${'*a'.repeat(28)}${index}*b`) } }] },
    request: withPeer(longId('/ns/aaaaaaa')),
  },
  {
    name: 'namespaces of wildcards that stand in another order',
    rule: {
      from: [
        {
          source: { namespaces: times((index) => `*${letters[index % 26]}${'*/'.repeat(index % 40)}*${letters[index % 25]}*b`) },
        },
      ],
    },
    request: withPeer(longId(`/${letters}/b`)),
  },
  {
    name: 'service accounts',
    rule: { from: [{ source: { serviceAccounts: times((index) => `a/b${index}`, 16) } }] },
    request: withPeer(longId('ns/a/sa/bb/')),
  },
  { name: 'principals', rule: { from: [{ source: { principals: suffixes } }] }, request: withPeer(longId('a')) },
  {
    name: 'trust domains',
    rule: { from: [{ source: { trustDomains: times((index) => `*a${index}`) } }] },
    request: withPeer(`spiffe://${'a'.repeat(250)}/ns/a/sa/b`),
  },
  {
    name: 'request principals',
    rule: { from: [{ source: { requestPrincipals: times((index) => `*${'a'.repeat(index)}b/c`) } }] },
    request: { ...plainRequest, payload: { iss: line('a'), sub: 'c' } },
  },
  {
    name: 'address blocks',
    rule: { from: [{ source: { ipBlocks: times((index) => `2001:db8:${index.toString(16)}::/48`) } }] },
    request: { ...plainRequest, sourceIp: '2001:db8:ffff:1:2:3:4:5' },
  },
  {
    name: 'remote address blocks',
    rule: { from: [{ source: { remoteIpBlocks: times((index) => `10.${index >> 8}.${index & 255}.0/24`) } }] },
    request: { ...plainRequest, remoteIp: '10.255.255.1' },
  },
  { name: 'ports', rule: { to: [{ operation: { ports: times((index) => String(index + 1)) } }] }, request: plainRequest },
  {
    name: 'SNI',
    rule: { when: [{ key: 'connection.sni', values: suffixes }] },
    request: { ...plainRequest, sni: 'a'.repeat(255) },
  },
  claim('suffixes of one long string', suffixes, line('a')),
  claim(
    'suffixes of a list of 10 000',
    suffixes,
    times(() => 'aaaa', 10_000),
  ),
  claim(
    'prefixes of a list of 10 000',
    prefixes,
    times(() => 'aaaa', 10_000),
  ),
];

/** The policies in which a rule can stand: where it allows, refuses, and what it is not allows and refuses. */
export function specsOf(rule: PolicyRule): readonly AuthorizationPolicySpec[] {
  const negated = JSON.parse(
    JSON.stringify(rule).replace(
      /"(hosts|ports|methods|paths|principals|requestPrincipals|namespaces|serviceAccounts|trustDomains|ipBlocks|remoteIpBlocks|values)":/g,
      (_, name: string) => `"not${name[0]?.toUpperCase()}${name.slice(1)}":`,
    ),
  ) as PolicyRule;
  return (['ALLOW', 'DENY'] as const).flatMap((action) => [
    { action, rules: [rule] },
    { action, rules: [negated] },
  ]);
}
