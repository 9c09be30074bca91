import { describe, expect, it } from 'vitest';
import { compileSnapshot } from '../config/snapshot.js';
import { validateDocuments } from '../config/validate.js';
import { describeMesh, type MeshDescription } from './describe.js';
import { describeRule } from './describe-rule.js';

const workload = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };

function described(...documents: string[]): MeshDescription {
  const { resources, problems } = validateDocuments([{ name: 'all.yaml', text: documents.join('\n---\n') }]);
  if (resources === undefined) throw new Error(JSON.stringify(problems));
  return describeMesh(compileSnapshot(resources, workload, 7));
}

const security = (kind: string, name: string, spec: string, more = ''): string =>
  `apiVersion: security.istio.io/v1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: shop${more}}\nspec: ${spec}`;
const selector = 'selector: {matchLabels: {app: product}}';

describe('a description', () => {
  it('says that everyone may call where no policy stands', () => {
    expect(described('')).toEqual({
      generation: 7,
      workload: { ...workload, spiffeId: 'spiffe://cluster.local/ns/shop/sa/product' },
      trustDomains: ['cluster.local'],
      ports: [{ mode: 'PERMISSIVE' }],
      access: 'everyone',
      policies: [],
      destinations: [],
    });
  });

  it('gives the mode of each port that a policy or a service names, and who decided it', () => {
    const { ports } = described(
      security('PeerAuthentication', 'default', '{mtls: {mode: STRICT}}'),
      security('PeerAuthentication', 'own', `{${selector}, portLevelMtls: {9090: {mode: DISABLE}}}`),
      security('PeerAuthentication', 'other', '{selector: {matchLabels: {app: other}}, portLevelMtls: {7070: {mode: DISABLE}}}'),
      'apiVersion: v1\nkind: Service\nmetadata: {name: product, namespace: shop}\nspec: {selector: {app: product}, ports: [{name: http, port: 80, targetPort: 8080}]}',
      'apiVersion: v1\nkind: Service\nmetadata: {name: other, namespace: shop}\nspec: {selector: {app: other}, ports: [{name: http, port: 80, targetPort: 6060}]}',
    );
    expect(ports.map(({ port, mode, decidedBy, source, services }) => [port, mode, decidedBy, source?.line, services])).toEqual([
      [8080, 'STRICT', 'shop/default', 1, ['product.shop.svc.cluster.local:80']],
      [9090, 'DISABLE', 'shop/own', 6, undefined],
      [undefined, 'STRICT', 'shop/default', 1, undefined],
    ]);
  });

  it('knows its port by its WorkloadEntry, where that says another than the service', () => {
    const network = (kind: string, spec: string): string =>
      `apiVersion: networking.istio.io/v1\nkind: ${kind}\nmetadata: {name: product, namespace: shop}\nspec: ${spec}`;
    const { ports } = described(
      network(
        'ServiceEntry',
        '{hosts: [product.shop], resolution: STATIC, location: MESH_INTERNAL, workloadSelector: {labels: {app: product}}, ports: [{number: 80, name: http, protocol: HTTP}]}',
      ),
      network('WorkloadEntry', '{address: 10.0.0.1, ports: {http: 8080}, labels: {app: product}}'),
    );
    expect(ports.map(({ port, services }) => [port, services])).toEqual([
      [8080, ['product.shop:80']],
      [undefined, undefined],
    ]);
  });

  it('lists the policies that apply, rehearsals marked, and no others', () => {
    const { policies, access } = described(
      security('AuthorizationPolicy', 'allow', `{${selector}, rules: [{to: [{operation: {methods: [GET]}}]}]}`),
      security('AuthorizationPolicy', 'nothing', `{${selector}}`),
      security('AuthorizationPolicy', 'dry', '{action: DENY, rules: [{}]}', ', annotations: {istio.io/dry-run: "true"}'),
      security('AuthorizationPolicy', 'other', '{selector: {matchLabels: {app: other}}, rules: [{}]}'),
      security('AuthorizationPolicy', 'waypoint', '{targetRefs: [{kind: Service, name: product}], rules: [{}]}'),
      security('RequestAuthentication', 'users', `{${selector}, jwtRules: [{issuer: i, jwksUri: "https://i.example/jwks"}]}`),
    );
    expect(access).toBe('listed');
    expect(policies.map(({ policy, action, dryRun, issuers, rules }) => [policy, action, dryRun, issuers, rules])).toEqual([
      ['shop/users', undefined, undefined, ['i'], undefined],
      ['shop/allow', 'ALLOW', undefined, undefined, [{ to: 'methods GET' }]],
      ['shop/nothing', 'ALLOW', undefined, undefined, []],
      ['shop/dry', 'DENY', true, undefined, [{}]],
    ]);
  });

  it('says what each destination gets', () => {
    const { destinations } = described(
      'apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: stock, namespace: shop}\nspec: {hosts: [stock.shop], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.7, serviceAccount: stock}]}',
    );
    expect(destinations).toMatchObject([
      {
        host: 'stock.shop',
        port: 80,
        destination: { tls: 'ISTIO_MUTUAL', auto: true, subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/stock'] },
      },
    ]);
  });
});

describe('a rule in words', () => {
  it('joins alternatives by or, fields by and', () => {
    const rule = {
      from: [{ source: { principals: ['a', 'b'], notNamespaces: ['c'] } }, { source: { ipBlocks: ['10.0.0.0/8'] } }],
      to: [{ operation: { methods: ['GET'], paths: ['/x'] } }],
      when: [
        { key: 'request.auth.claims[groups]', values: ['admin'] },
        { key: 'destination.port', notValues: ['80'] },
      ],
    };
    expect(describeRule(rule)).toEqual({
      from: 'principals a, b and notNamespaces c or ipBlocks 10.0.0.0/8',
      to: 'methods GET and paths /x',
      when: 'request.auth.claims[groups] is admin and destination.port is not 80',
    });
  });

  it('counts values beyond the first eight', () => {
    const paths = Array.from({ length: 11 }, (_, at) => `/${at}`);
    expect(describeRule({ to: [{ operation: { paths } }] }).to).toBe('paths /0, /1, /2, /3, /4, /5, /6, /7, 3 others');
  });

  it('never says what a secret header is compared with', () => {
    const { when } = describeRule({
      when: [
        { key: 'request.headers[X-Api-Key]', values: ['hunter2'] },
        { key: 'request.headers[x-team]', values: ['orders'] },
      ],
    });
    expect(when).toBe('request.headers[X-Api-Key] is a value that is not shown and request.headers[x-team] is orders');
  });
});
