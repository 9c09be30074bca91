import { describe, expect, it } from 'vitest';
import { formatProblem } from '../problem.js';
import { validateDocuments, type ConfigFile } from '../validate.js';

const meshFile = (mesh: object): ConfigFile => ({ name: 'enmesh/mesh.yaml', text: JSON.stringify(mesh), meshConfig: true });

function warnings(documents: readonly object[], mesh?: object): string[] {
  const text = documents.map((one) => JSON.stringify(one)).join('\n---\n');
  // The mesh's settings come last, as they may in a directory.
  const files = [{ name: 'p.yaml', text }, ...(mesh === undefined ? [] : [meshFile(mesh)])];
  const { problems } = validateDocuments(files);
  expect(problems.every(({ level, code }) => level === 'warning' && code === 'ENMESH_CONFIG_DOUBTFUL')).toBe(true);
  return problems.map(formatProblem);
}

const policyOf = (rule: object): object => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'AuthorizationPolicy',
  metadata: { name: 'p', namespace: 'shop' },
  spec: { action: 'DENY', rules: [rule] },
});
const operation = (fields: object): object => policyOf({ to: [{ operation: fields }] });
const source = (fields: object): object => policyOf({ from: [{ source: fields }] });
const when = (key: string, fields: object): object => policyOf({ when: [{ key, ...fields }] });
const mode = (normalization: string): object => ({ pathNormalization: { normalization } });

describe('a path that normalization makes unreachable', () => {
  it.each([
    ['/a?x=1', 'NONE', 'without query'],
    ['/a#top', 'NONE', 'without query'],
    ['/a b', 'NONE', 'percent-encoded'],
    ['/ü', 'BASE', 'percent-encoded'],
    ['/a/../b', 'BASE', 'dot segments'],
    ['/a/./b', 'BASE', 'dot segments'],
    ['/a/..', 'BASE', 'dot segments'],
    ['/a/..;x/b', 'BASE', 'dot segments'],
    ['/a/../*', 'BASE', 'dot segments'],
    ['*/../b', 'BASE', 'dot segments'],
    ['/%41dmin', 'BASE', 'are decoded'],
    ['/a/%2e%2E/b', 'BASE', 'are decoded'],
    ['/a%7Eb*', 'BASE', 'are decoded'],
    ['/a\\b', 'BASE', 'rewritten'],
    ['/a"b', 'BASE', 'rewritten'],
    ['//admin', 'MERGE_SLASHES', 'slashes are merged'],
    ['/a//*', 'MERGE_SLASHES', 'slashes are merged'],
    ['/a/../b', 'MERGE_SLASHES', 'dot segments'],
    ['/a%2Fb', 'DECODE_AND_MERGE_SLASHES', 'encoded slashes'],
    ['/a%5cb', 'DECODE_AND_MERGE_SLASHES', 'encoded slashes'],
    ['/a/%41/{*}', 'BASE', 'are decoded'],
  ])('%s is warned of in mode %s', (path, normalization, reason) => {
    const told = warnings([operation({ paths: ['/fine', path] })], mode(normalization));
    expect(told).toEqual([expect.stringContaining(`spec.rules[0].to[0].operation.paths[1]: never matches: `)]);
    expect(told[0]).toContain(reason);
    expect(warnings([operation({ notPaths: [path] })], mode(normalization))).toHaveLength(1);
  });

  it.each([
    ['/a/../b', 'NONE'],
    ['/%41', 'NONE'],
    ['//admin', 'NONE'],
    ['//admin', 'BASE'],
    ['/a%2Fb', 'MERGE_SLASHES'],
    ['/a/..*', 'BASE'],
    ['*..', 'BASE'],
    ['/a/...', 'BASE'],
    ['/a.b/.well-known', 'BASE'],
    ['/%2541', 'BASE'],
    ['/a%22', 'BASE'],
    ['/a*b', 'BASE'],
    ['/a/{*}/b/{**}', 'DECODE_AND_MERGE_SLASHES'],
    ['*', 'DECODE_AND_MERGE_SLASHES'],
    ['/', 'MERGE_SLASHES'],
  ])('%s is not, in mode %s', (path, normalization) => {
    expect(warnings([operation({ paths: [path] })], mode(normalization))).toEqual([]);
  });

  it("is told in Istio's default mode when no mesh.yaml says otherwise", () => {
    expect(warnings([operation({ paths: ['/a/../b', '//b'] })])).toEqual([expect.stringContaining('pathNormalization BASE')]);
  });
});

describe('a host that no request can have', () => {
  it.each([
    'http://shop.example',
    'https://shop.example*',
    'shop.example/admin',
    'shop.example?x',
    '*.sh*p.example',
    'a*b',
    '*shop*',
    'me@shop.example',
    'shop example',
  ])('%s is warned of', (host) => {
    expect(warnings([operation({ hosts: [host] })])).toEqual([
      expect.stringContaining('spec.rules[0].to[0].operation.hosts[0]: never matches: '),
    ]);
    expect(warnings([operation({ notHosts: [host] })])).toHaveLength(1);
  });

  it.each([
    'shop.example',
    'Shop.Example',
    'shop.example:8080',
    '*.shop.example',
    'shop.*',
    '*',
    '[::1]:80',
    'xn--shp-0qa.example',
  ])('%s is not', (host) => {
    expect(warnings([operation({ hosts: [host] })])).toEqual([]);
  });

  it('includes server names in capitals, which hosts may have', () => {
    expect(warnings([when('connection.sni', { values: ['a.example', 'B.example'] })])).toEqual([
      expect.stringContaining('spec.rules[0].when[0].values[1]: never matches: '),
    ]);
  });
});

describe('a rule that takes back what it asks for', () => {
  it.each([
    ['principals', ['a/ns/b/sa/c'], ['*']],
    ['principals', ['a/ns/b/sa/c', 'a/ns/b/sa/d'], ['a/ns/b/sa/d', 'a/ns/b/sa/e', 'a/ns/b/sa/c']],
    ['namespaces', ['a'], ['a']],
    ['requestPrincipals', ['i/s'], ['i/s']],
    ['ipBlocks', ['10.1.0.0/16', '10.2.0.1'], ['10.0.0.0/8']],
    ['remoteIpBlocks', ['2001:db8::1'], ['2001:db8::/32']],
  ])('%s %j without %j is warned of', (field, values, excluded) => {
    const negative = `not${field[0]!.toUpperCase()}${field.slice(1)}`;
    expect(warnings([source({ [field]: values, [negative]: excluded })])).toEqual([
      expect.stringContaining(`spec.rules[0].from[0].source.${field}: never matches: every value is excluded by ${negative}`),
    ]);
  });

  it.each([
    ['hosts', ['a.Example'], ['*.EXAMPLE']],
    ['methods', ['GET', 'GETX'], ['GET*']],
    ['ports', ['80'], ['080']],
    ['paths', ['/admin', '/admin/*'], ['/adm*']],
    ['paths', ['*/x.json'], ['*.json']],
    ['paths', ['/a/{*}/b'], ['/a/*']],
    ['paths', ['/a/{**}/b.js'], ['*.js']],
  ])('%s %j without %j is warned of', (field, values, excluded) => {
    const negative = `not${field[0]!.toUpperCase()}${field.slice(1)}`;
    expect(warnings([operation({ [field]: values, [negative]: excluded })])).toEqual([
      expect.stringContaining(`spec.rules[0].to[0].operation.${field}: never matches`),
    ]);
  });

  it.each([
    ['request.headers[x-role]', ['admin'], ['ad*']],
    ['request.auth.claims[groups]', ['a', 'b'], ['*']],
    ['source.ip', ['10.0.0.1'], ['10.0.0.1/32']],
    ['destination.port', ['80'], ['80']],
  ])('a condition on %s with values %j and notValues %j is warned of', (key, values, notValues) => {
    expect(warnings([when(key, { values, notValues })])).toEqual([
      expect.stringContaining('spec.rules[0].when[0].values: never holds: every value is excluded by notValues'),
    ]);
  });

  it.each([
    ['paths', ['/admin/*'], ['/admin/health']],
    ['paths', ['/admin*'], ['/admin/*']],
    ['paths', ['*'], ['/a*']],
    ['paths', ['/a/{*}'], ['/a/b*']],
    ['paths', ['/a/b'], ['/a/{*}']],
    ['methods', ['GET', 'POST'], ['GET']],
    ['hosts', ['*.example'], ['a*']],
  ])('%s %j with some taken out by %j is not', (field, values, excluded) => {
    const negative = `not${field[0]!.toUpperCase()}${field.slice(1)}`;
    expect(warnings([operation({ [field]: values, [negative]: excluded })])).toEqual([]);
  });

  it('leaves identities alone that trust domain aliases may spell otherwise', () => {
    expect(warnings([source({ principals: ['cluster.local/ns/a/sa/b'], notPrincipals: ['cluster.local/*'] })])).toEqual([]);
    expect(warnings([source({ ipBlocks: ['10.0.0.0/8'], notIpBlocks: ['10.0.0.1', '::/0'] })])).toEqual([]);
  });
});

describe('PeerAuthentications that count nowhere', () => {
  const modes = (name: string, namespace: string, spec: object = { mtls: { mode: 'STRICT' } }): object => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'PeerAuthentication',
    metadata: { name, namespace },
    spec,
  });
  const forApp = { selector: { matchLabels: { app: 'a' } } };

  it.each([
    ['the whole mesh', 'istio-system', {}],
    ['namespace shop', 'shop', {}],
    ['the same workloads', 'shop', forApp],
  ])('a second one for %s is warned of', (scope, namespace, spec) => {
    expect(warnings([modes('b', namespace, spec), modes('a', namespace, spec)])).toEqual([
      `p.yaml:1:1 metadata.name: ignored: ${namespace}/a is for ${scope} too, and comes first (keep one: the oldest counts, then the first by name)`,
    ]);
  });

  it('one of the root namespace with a selector is warned of, whichever namespace that is', () => {
    expect(warnings([modes('a', 'istio-system', forApp)])).toEqual([
      expect.stringContaining('p.yaml:1:1 spec.selector: a selector in the root namespace'),
    ]);
    expect(warnings([modes('a', 'istio-system', forApp)], { rootNamespace: 'mesh' })).toEqual([]);
    expect(warnings([modes('a', 'mesh', forApp)], { rootNamespace: 'mesh' })).toHaveLength(1);
  });

  it('others are not', () => {
    expect(warnings([modes('a', 'istio-system'), modes('a', 'shop'), modes('b', 'shop', forApp), modes('c', 'web')])).toEqual([]);
  });
});

describe('an address range and a list of claims that mean something else than they say', () => {
  it.each([
    [
      source({ remoteIpBlocks: ['10.0.0.0/8', '10.1.2.3/8'] }),
      'spec.rules[0].from[0].source.remoteIpBlocks[1]: only the first 8 bits',
    ],
    [source({ notIpBlocks: ['2001:db8::1/32'] }), 'spec.rules[0].from[0].source.notIpBlocks[0]: only the first 32 bits'],
    [when('remote.ip', { notValues: ['192.168.1.7/24'] }), 'spec.rules[0].when[0].notValues[0]: only the first 24 bits'],
  ])('warns of bits behind the length of a range: %#', (policy, expected) => {
    expect(warnings([policy])).toEqual([expect.stringContaining(expected)]);
  });

  it.each(['iss', 'sub'])('warns of %s as a list, which leaves no principal', (claim) => {
    const rule = { issuer: 'https://idp.example', spaceDelimitedClaims: ['scope', claim] };
    const users = {
      apiVersion: 'security.istio.io/v1',
      kind: 'RequestAuthentication',
      metadata: { name: 'u', namespace: 'shop' },
    };
    const [told, ...others] = warnings([{ ...users, spec: { jwtRules: [rule] } }]);
    expect(others).toEqual([]);
    expect(told).toContain('spec.jwtRules[0].spaceDelimitedClaims[1]: users whose');
  });
});
