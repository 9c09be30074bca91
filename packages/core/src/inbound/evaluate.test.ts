import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '../config/snapshot.js';
import { validateDocuments } from '../config/validate.js';
import { createTestIssuer } from '../testing/issuer.js';
import { createEvaluator, type Evaluation, type GivenConnection, type GivenRequest } from './evaluate.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
const gateway = 'spiffe://cluster.local/ns/shop/sa/gateway';
const alpn = ['istio-http/1.1', 'istio', 'http/1.1'];
const addresses = { sourceIp: '10.0.0.9', destinationIp: '10.0.0.1', destinationPort: 8080 };
const plain: GivenConnection = { tls: false, ...addresses };
const mutual: GivenConnection = { tls: true, alpn, peer: gateway, ...addresses };
const get = (target: string, headers: GivenRequest['headers'] = []): GivenRequest => ({
  method: 'GET',
  target,
  headers: [['host', 'product.shop'], ...headers],
});

const policy = (name: string, spec: string): string =>
  `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ${name}, namespace: shop}\nspec: ${spec}\n---\n`;
const mode = (value: string): string =>
  `apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: shop}\nspec: {mtls: {mode: ${value}}}\n---\n`;
const callers = policy(
  'callers',
  `{rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}], to: [{operation: {paths: [/items]}}]}]}`,
);

function evaluate(documents: string, connection: GivenConnection, request: GivenRequest): Evaluation {
  const { resources, problems } = validateDocuments([{ name: 'documents', text: documents }]);
  if (resources === undefined) throw new Error(JSON.stringify(problems));
  const evaluation = createEvaluator({ snapshot: compileSnapshot(resources, workload, 1) }).evaluate(connection, request);
  if (evaluation instanceof Promise) throw new Error('nobody is asked');
  return evaluation;
}

describe('an evaluator', () => {
  it.each<[string, string, GivenConnection, string | undefined]>([
    ['plaintext at a STRICT port', mode('STRICT'), plain, 'ENMESH_TLS_PLAINTEXT_REFUSED'],
    ['plaintext at a PERMISSIVE port', mode('PERMISSIVE'), plain, undefined],
    ['mutual TLS at a STRICT port', mode('STRICT'), mutual, undefined],
    ['TLS at a port that takes none', mode('DISABLE'), mutual, 'ENMESH_TLS_HANDSHAKE_FAILED'],
    [
      "TLS without Istio's names at a PERMISSIVE port",
      mode('PERMISSIVE'),
      { ...mutual, alpn: ['http/1.1'] },
      'ENMESH_TLS_ALPN_REFUSED',
    ],
    ['a list of HTTP/2 alone', mode('STRICT'), { ...mutual, alpn: ['h2'] }, 'ENMESH_TLS_ALPN_REFUSED'],
    ['no certificate', mode('STRICT'), { tls: true, alpn, ...addresses }, 'ENMESH_TLS_CLIENT_UNVERIFIED'],
    [
      'a certificate that names a trust domain',
      mode('STRICT'),
      { ...mutual, peer: 'spiffe://cluster.local' },
      'ENMESH_IDENTITY_SPIFFE_ID_INVALID',
    ],
    ['a URI that is no SPIFFE ID', mode('STRICT'), { ...mutual, peer: 'https://a/b' }, 'ENMESH_IDENTITY_SPIFFE_ID_INVALID'],
    [
      'a foreign trust domain',
      mode('STRICT'),
      { ...mutual, peer: 'spiffe://other/ns/a/sa/b' },
      'ENMESH_TLS_TRUST_DOMAIN_REFUSED',
    ],
  ])('takes a connection as the server does: %s', (_, documents, connection, code) => {
    const { verdict, refusal } = evaluate(documents, connection, get('/items'));
    expect([verdict.outcome, refusal?.code]).toEqual([code === undefined ? 'allowed' : 'closed', code]);
  });

  it('lets the caller of a rule pass, and says by which rule and what the application gets', () => {
    const { verdict, peer } = evaluate(
      callers,
      mutual,
      get('/a/../items?q=1', [
        ['x-a', '1'],
        ['X-A', '2'],
        ['Connection', 'close'],
      ]),
    );
    expect(peer?.principal).toBe('cluster.local/ns/shop/sa/gateway');
    expect(verdict).toEqual({
      outcome: 'allowed',
      status: 200,
      policy: 'shop/callers',
      rule: 0,
      upstream: {
        path: '/items?q=1',
        headers: { host: ['product.shop'], 'x-a': ['1', '2'] },
        forwardedClientCert: `By=spiffe://cluster.local/ns/shop/sa/product;Hash=*;Subject="";URI=${gateway}`,
      },
    });
  });

  it('denies what no rule allows, and explains it when asked', () => {
    const evaluation = evaluate(callers, mutual, get('/items/1'));
    expect(evaluation.verdict).toEqual({
      outcome: 'denied',
      status: 403,
      body: 'RBAC: access denied',
      headers: { 'content-type': ['text/plain'] },
    });
    const { near = [] } = evaluation.explain?.() ?? {};
    expect(near.map(({ policy: name, failed }) => [name, failed.map(({ path }) => path)])).toEqual([
      ['shop/callers', ['spec.rules[0].to[0].operation.paths']],
    ]);
  });

  it('says nothing in the body of an answer to HEAD', () => {
    expect(evaluate(callers, plain, { ...get('/items'), method: 'HEAD' }).verdict).not.toHaveProperty('body');
  });

  it("answers 400 to what Node's parser refuses, and to a target that is ambiguous", () => {
    expect(evaluate('', plain, { ...get('/'), headers: [] }).verdict.status).toBe(400);
    expect(evaluate('', plain, get('/a/%2e%2e;/b')).verdict.status).toBe(400);
    expect(evaluate('', plain, get('/', [['host', 'b']])).refusal?.code).toBe('ENMESH_INBOUND_HEADERS');
  });

  it('refuses the token of an issuer whose keys would have to be fetched', () => {
    const documents = `apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: a, namespace: shop}\nspec: {jwtRules: [{issuer: i, jwksUri: "https://i.example/jwks"}]}\n`;
    const token = [{ alg: 'ES256' }, { iss: 'i', sub: 's' }].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    );
    const { verdict } = evaluate(documents, plain, get('/', [['authorization', `Bearer ${token.join('.')}.AAAA`]]));
    expect([verdict.outcome, verdict.status]).toEqual(['denied', 401]);
  });

  it('hands over a claim as a header line carries it, and judges it with its blanks as Istio does', async () => {
    const issuer = await createTestIssuer({ issuer: 'https://idp.test' });
    const token = await issuer.sign({ sub: 'alice', role: '\t read ' });
    const rule = {
      issuer: 'https://idp.test',
      jwks: issuer.jwksText,
      outputClaimToHeaders: [{ header: 'x-role', claim: 'role' }],
    };
    const authentication = `apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: jwt, namespace: shop}\nspec: {jwtRules: [${JSON.stringify(rule)}]}\n---\n`;
    const decide = (action: string, value: string): Evaluation['verdict'] =>
      evaluate(
        authentication +
          policy('role', `{action: ${action}, rules: [{when: [{key: 'request.headers[x-role]', values: [${value}]}]}]}`),
        plain,
        get('/', [['authorization', `Bearer ${token}`]]),
      ).verdict;
    expect(decide('ALLOW', "'*read '")).toMatchObject({ outcome: 'allowed', upstream: { headers: { 'x-role': ['read'] } } });
    expect(decide('ALLOW', 'read')).toMatchObject({ outcome: 'denied' });
    // The handler reads `read`, so a match that refuses does so too.
    expect(decide('DENY', 'read')).toMatchObject({ outcome: 'denied' });
  });

  it('tells audit and dry-run results beside the decision', () => {
    const audit = policy('audit', '{action: AUDIT, rules: [{}]}');
    const rehearsal = policy('dry', '{action: DENY, rules: [{}]}').replace(
      'namespace: shop}',
      'namespace: shop, annotations: {istio.io/dry-run: "true"}}',
    );
    const { verdict } = evaluate(audit + rehearsal, plain, get('/'));
    expect([verdict.outcome, verdict.audit, verdict.dryRun]).toEqual([
      'allowed',
      true,
      { deny: { result: 'denied', policy: 'shop/dry', rule: 0 } },
    ]);
  });

  it('decides a header of 60 KB and a path of 16 KB', () => {
    expect(evaluate(callers, mutual, get('/items', [['x-a', 'a'.repeat(60_000)]])).verdict.outcome).toBe('allowed');
    expect(evaluate(callers, mutual, get(`/${'a/'.repeat(8000)}`)).verdict.status).toBe(403);
  });
});
