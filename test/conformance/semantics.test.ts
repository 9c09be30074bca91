import { describe, expect, it } from 'vitest';
import { compilePolicies } from '../../packages/core/src/policy/compile.js';
import { bareHost } from '../../packages/core/src/policy/host.js';
import { evaluatePolicies } from '../../packages/core/src/policy/evaluate.js';
import type { PolicyRule } from '../../packages/core/src/policy/resource.js';
import { headerLines, remoteAddress } from '../../packages/core/src/request/header-lines.js';
import type { RbacRequest } from '../support/envoy-rbac.js';
import { attributesOfProbe, plainRequest } from '../support/rbac-probes.js';

const mesh = { trustDomain: 'td', trustDomainAliases: ['old'], rootNamespace: 'istio-system' };
const source = { file: 'p.yaml', line: 1, column: 1 };
const meta = {
  kind: 'AuthorizationPolicy',
  namespace: 'shop',
  name: 'p',
  creationTimestamp: 0,
  labels: {},
  annotations: {},
  source,
};

/** Whether the rule matches, asked as ALLOW and as DENY, which must agree; a DENY on hosts also takes the bare host (docs/deviations.md). */
function matches(rule: PolicyRule, edit: Partial<RbacRequest>): boolean {
  const attributes = attributesOfProbe({ ...plainRequest, ...edit });
  const [allow, deny] = (['ALLOW', 'DENY'] as const).map((action) =>
    compilePolicies([{ meta, spec: { action, rules: [rule] } }], { namespace: 'shop', labels: {} }, mesh),
  );
  const allowed = allow !== undefined && evaluatePolicies(allow, attributes).allowed;
  const denied = deny !== undefined && !evaluatePolicies(deny, attributes).allowed;
  const bare = { ...attributes, host: bareHost(attributes.host), header: attributes.header.bind(attributes) };
  const namesHosts = rule.to?.some(({ operation }) => operation.hosts !== undefined) ?? false;
  const alsoBare = namesHosts && allow !== undefined && evaluatePolicies(allow, bare).allowed;
  expect(denied).toBe(allowed || alsoBare);
  return allowed;
}

const hosts = (...values: string[]): PolicyRule => ({ to: [{ operation: { hosts: values } }] });
const blocks = (...values: string[]): PolicyRule => ({ from: [{ source: { ipBlocks: values } }] });
const when = (key: string, ...values: string[]): PolicyRule => ({ when: [{ key, values }] });
const whenNot = (key: string, ...notValues: string[]): PolicyRule => ({ when: [{ key, notValues }] });
const host = (authority: string): Partial<RbacRequest> => ({ authority });
const from = (sourceIp: string): Partial<RbacRequest> => ({ sourceIp });
const claims = (payload: Record<string, unknown>): Partial<RbacRequest> => ({ payload: { iss: 'i', sub: 's', ...payload } });

/** Lines of the semantics, each with a rule, what it matches and what it does not. */
const lines: readonly [line: string, rule: PolicyRule, matching: Partial<RbacRequest>[], others: Partial<RbacRequest>[]][] = [
  ['3.7 a host includes the port that the client sent', hosts('a.com'), [host('a.com')], [host('a.com:80'), host('')]],
  ['3.7 a host with a port is that port alone', hosts('a.com:80'), [host('a.com:80')], [host('a.com'), host('a.com:8080')]],
  ['3.7 a host prefix takes every port', hosts('a.com:*'), [host('a.com:80'), host('a.com:')], [host('a.com')]],
  ['3.7 hosts ignore case', hosts('A.com', '*.B.com'), [host('a.COM'), host('x.b.Com')], [host('b.com')]],
  ['3.7 any host is an empty one too', hosts('*'), [host(''), host('x')], []],
  ['3.6 an IPv6 block', blocks('2001:db8::/33'), [from('2001:db8:7fff::1')], [from('2001:db8:8000::'), from('1.2.3.4')]],
  ['3.6 a single IPv6 address', blocks('2001:db8::1'), [from('2001:db8::1'), from('2001:DB8:0::1')], [from('2001:db8::2')]],
  ['3.6 every IPv6 address', blocks('::/0'), [from('::1')], [from('10.0.0.1')]],
  ['3.6 every IPv4 address', blocks('0.0.0.0/0'), [from('10.0.0.1')], [from('::1'), from('')]],
  ['3.6 a block with host bits', blocks('10.1.2.3/8'), [from('10.200.0.1')], [from('11.1.2.3')]],
  [
    '3.6 a mapped remote address is no IPv4 address',
    { from: [{ source: { remoteIpBlocks: ['1.2.3.4'] } }] },
    [{ remoteIp: '1.2.3.4' }],
    [{ remoteIp: '::ffff:1.2.3.4' }],
  ],
  [
    '3.6 a value that begins with spiffe:// matches no principal',
    { from: [{ source: { principals: ['spiffe://td/ns/a/sa/b'] } }] },
    [],
    [{ peer: 'spiffe://td/ns/a/sa/b' }],
  ],
  [
    '3.10 cluster.local stands for the trust domain and its aliases',
    { from: [{ source: { principals: ['cluster.local/ns/a/sa/b'] } }] },
    [{ peer: 'spiffe://td/ns/a/sa/b' }, { peer: 'spiffe://old/ns/a/sa/b' }],
    [{ peer: 'spiffe://other/ns/a/sa/b' }, {}],
  ],
  ['3.4 what is absent satisfies negative values', whenNot('request.headers[x]', 'a', '*'), [{}], [{ headers: { x: [''] } }]],
  ['3.4 so does a connection in the clear', { from: [{ source: { notPrincipals: ['*'] } }] }, [{}], [{ peer: 'spiffe://td/x' }]],
  ['3.9 any line of a header', when('request.headers[X-Role]', 'a'), [{ headers: { 'x-role': ['b', 'a'] } }], [{ headers: { 'x-role': ['b'] } }, {}]],
  ['3.9 presence takes an empty header', when('request.headers[x]', '*'), [{ headers: { x: [''] } }], [{}]],
  ['3.9 pseudo-headers', when('request.headers[:method]', 'PUT'), [{ method: 'PUT' }], [{ method: 'put' }]],
  ['3.9 claims are strings or lists of them', when('request.auth.claims[a]', '*'), [claims({ a: 'x' }), claims({ a: [1, 'x'] })], [claims({ a: 1 }), claims({ a: {} }), claims({ a: null }), claims({ a: [] }), {}]],
  ['3.9 a claim whose name holds a dot', when('request.auth.claims[a.b]', 'x'), [claims({ 'a.b': 'x' })], [claims({ a: { b: 'x' } })]],
  ['3.9 nested claims', when('request.auth.claims[a][b]', 'x'), [claims({ a: { b: ['x'] } })], [claims({ 'a.b': 'x' }), claims({ a: 'x' })]],
  ['3.8 a request principal without its subject', when('request.auth.principal', '*'), [claims({})], [{ payload: { iss: 'i' } }, {}]],
  ['3.8 */* asks for the subject *', when('request.auth.principal', '*/*'), [{ payload: { iss: 'i', sub: '*' } }], [claims({})]],
  ['3.7 SNI is compared as it arrives, in lower case', when('connection.sni', 'A.com'), [], [{ sni: 'a.com' }]],
  ['3.5 a star in the middle is a star', when('request.headers[x]', 'a*b'), [{ headers: { x: ['a*b'] } }], [{ headers: { x: ['axb'] } }]],
]; // prettier-ignore

describe('the semantics of policies, line by line', () => {
  it.each(lines)('%s', (_, rule, matching, others) => {
    expect(matching.filter((edit) => !matches(rule, edit))).toEqual([]);
    expect(others.filter((edit) => matches(rule, edit))).toEqual([]);
  });

  it.each([
    ['10.0.0.9', '1.2.3.4, 10.0.0.9'],
    ['10.0.0.1', '1.2.3.4, 10.0.0.9:80'],
    ['10.0.0.1', '1.2.3.4, [::1]'],
    ['10.0.0.1', '1.2.3.4, 10.0.0.007'],
    ['10.0.0.1', '1.2.3.4, unknown'],
    ['10.0.0.1', '1.2.3.4,'],
    ['::1', '1.2.3.4, ::1'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
  ])('3.6 the remote address is %s for x-forwarded-for: %s', (remote, line) => {
    expect(remoteAddress([line], '10.0.0.1')).toBe(remote);
  });

  it.each([
    ['accept', ['a', 'b'], ['a,b']],
    ['user-agent', ['a', '', 'b'], ['a,b']],
    ['x-forwarded-for', ['1.1.1.1', '2.2.2.2'], ['1.1.1.1,2.2.2.2']],
    ['cookie', ['a=1', 'b=2'], ['a=1', 'b=2']],
    ['x-role', ['a', 'b'], ['a', 'b']],
    ['traceparent', ['a', 'b'], ['a', 'b']],
  ])('3.9 the lines of %s %j are judged as %j', (name, sent, judged) => {
    expect(
      headerLines(
        sent.flatMap((line) => [name.toUpperCase(), line]),
        name,
      ),
    ).toEqual(judged);
  });
});
