import { describe, expect, it } from 'vitest';
import { defaultMeshSettings } from '../config/mesh-config.js';
import type { DestinationRuleSpec, KubernetesServiceSpec, Registry, ServiceEntrySpec } from '../config/registry.js';
import type { ResourceMeta } from '../identity/workload.js';
import { isReachedByMutualTls, planCall, type CallPlan, type PlanSources } from './plan.js';

const meta = (kind: string, name: string, annotations: Record<string, string> = {}): ResourceMeta => ({
  ...{ kind, namespace: 'shop', name, creationTimestamp: 0, labels: {}, annotations },
  source: { file: 'mesh.yaml', line: 1, column: 1 },
});
const service = (
  name: string,
  spec: KubernetesServiceSpec = {},
  annotations: Record<string, string> = {},
): Registry['services'][number] => ({
  meta: meta('Service', name, annotations),
  spec: { clusterIP: '10.0.0.1', ports: [{ number: 80, name: 'http' }], ...spec },
});
const entry = (host: string, spec: Partial<ServiceEntrySpec>): Registry['serviceEntries'][number] => ({
  meta: meta('ServiceEntry', host),
  spec: {
    hosts: [host],
    ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
    location: 'MESH_INTERNAL',
    resolution: 'STATIC',
    ...spec,
  },
});
const rule = (
  host: string,
  tls: NonNullable<DestinationRuleSpec['trafficPolicy']>['tls'],
): Registry['destinationRules'][number] => ({
  meta: meta('DestinationRule', host),
  spec: { host, trafficPolicy: tls === undefined ? {} : { tls } },
});

function sources(registry: Partial<Registry>, mesh: Partial<PlanSources['mesh']> = {}): PlanSources {
  const none = { services: [], serviceEntries: [], workloadEntries: [], destinationRules: [], peerAuthentications: [] };
  return {
    registry: { ...none, ...registry },
    mesh: { ...defaultMeshSettings, ...mesh },
    workload: { namespace: 'shop', serviceAccount: 'gateway', labels: {} },
  };
}

const plan = (from: PlanSources, host: string, port = 80, protocol: 'http:' | 'https:' = 'http:'): CallPlan =>
  planCall(from, { protocol, host, port });
const codeOf = (result: CallPlan): string => (result.kind === 'refused' ? result.error.code : result.kind);
const account = { 'alpha.istio.io/kubernetes-serviceaccounts': 'product,product-b' };

describe('the plan of a call', () => {
  it('reaches the pod of a headless Service by the full name of that pod', () => {
    const headless = sources({ services: [service('product', { clusterIP: 'None' }, account)] });
    expect(plan(headless, 'product-0.product')).toMatchObject({
      kind: 'service',
      targets: [{ address: 'product-0.product.shop.svc.cluster.local', port: 80 }],
    });
  });

  it('reaches a Kubernetes Service without endpoints by its DNS name, as whoever its annotation names', () => {
    const result = plan(sources({ services: [service('product', {}, account)] }), 'product');
    expect(result).toMatchObject({
      kind: 'service',
      targets: [{ address: 'product.shop.svc.cluster.local', port: 80, tls: 'ISTIO_MUTUAL' }],
      destination: {
        subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/product', 'spiffe://cluster.local/ns/shop/sa/product-b'],
      },
    });
  });

  it('refuses one of which nothing says who it is, and takes a DestinationRule for an answer', () => {
    const services = [service('product')];
    expect(codeOf(plan(sources({ services }), 'product'))).toBe('ENMESH_OUTBOUND_NOBODY_EXPECTED');
    const destinationRules = [
      rule('product', { mode: 'ISTIO_MUTUAL', subjectAltNames: ['spiffe://cluster.local/ns/shop/sa/p'] }),
    ];
    expect(plan(sources({ services, destinationRules }), 'product')).toMatchObject({ targets: [{ tls: 'ISTIO_MUTUAL' }] });
    const plain = [rule('product', { mode: 'DISABLE' })];
    expect(plan(sources({ services, destinationRules: plain }), 'product')).toMatchObject({ targets: [{ tls: 'DISABLE' }] });
  });

  it('keeps to plaintext where the namespace has mutual TLS off', () => {
    const peerAuthentications = [{ meta: meta('PeerAuthentication', 'default'), spec: { mtls: { mode: 'DISABLE' as const } } }];
    const result = plan(sources({ services: [service('product')], peerAuthentications }), 'product');
    expect(result).toMatchObject({ targets: [{ tls: 'DISABLE' }] });
  });

  it('follows an ExternalName to the service it names, and lets it pass where that is none', () => {
    const alias = service('shortcut', { type: 'ExternalName', externalName: 'product.shop.svc.cluster.local.' });
    expect(plan(sources({ services: [alias, service('product', {}, account)] }), 'shortcut')).toMatchObject({
      service: 'product.shop.svc.cluster.local:80',
    });
    expect(codeOf(plan(sources({ services: [alias] }), 'shortcut'))).toBe('pass');
    const loop = service('loop', { type: 'ExternalName', externalName: 'loop.shop.svc.cluster.local' });
    expect(codeOf(plan(sources({ services: [loop] }, { outboundTrafficPolicy: 'REGISTRY_ONLY' }), 'loop'))).toBe(
      'ENMESH_OUTBOUND_UNDECLARED',
    );
  });

  it('refuses a name that is not ASCII whatever the policy, and does not repeat it', () => {
    const result = plan(sources({}), 'pr\u00f6duct');
    expect(codeOf(result)).toBe('ENMESH_OUTBOUND_HOST_INVALID');
    expect(result.kind === 'refused' && result.error.message).not.toContain('\u00f6');
  });

  it('refuses a service without endpoints', () => {
    expect(codeOf(plan(sources({ serviceEntries: [entry('stock.example', {})] }), 'stock.example'))).toBe(
      'ENMESH_OUTBOUND_UNREACHABLE',
    );
  });

  it('refuses credentials that a workload may not have, and settings it cannot carry out', () => {
    const serviceEntries = [entry('api.example', { endpoints: [{ address: '127.0.0.1', serviceAccount: 'api' }] })];
    const with_ = (tls: NonNullable<DestinationRuleSpec['trafficPolicy']>['tls']): string =>
      codeOf(plan(sources({ serviceEntries, destinationRules: [rule('api.example', tls)] }), 'api.example'));
    expect(with_({ mode: 'SIMPLE', credentialName: 'partner' })).toBe('ENMESH_OUTBOUND_CREDENTIAL');
    expect(with_({ mode: 'MUTUAL' })).toBe('ENMESH_OUTBOUND_CREDENTIAL');
    expect(with_({ mode: 'SIMPLE', credentialName: 'configmap://shop/ca' })).toBe('ENMESH_OUTBOUND_TLS_SETTINGS');
    expect(with_({ mode: 'SIMPLE', caCrl: '/crl.pem' })).toBe('ENMESH_OUTBOUND_TLS_SETTINGS');
    expect(with_({ mode: 'SIMPLE' })).toBe('service');
  });

  it('leaves https URLs to the application, to undeclared hosts only where the policy allows it', () => {
    const declared = sources({ services: [service('product')] }, { outboundTrafficPolicy: 'REGISTRY_ONLY' });
    expect(plan(declared, 'product', 80, 'https:')).toEqual({ kind: 'pass', declared: true, strips: false });
    expect(codeOf(plan(declared, 'elsewhere.example', 443, 'https:'))).toBe('ENMESH_OUTBOUND_UNDECLARED');
    expect(plan(sources({}), 'elsewhere.example', 443, 'https:')).toEqual({ kind: 'pass', declared: false, strips: true });
  });

  it('knows a declared host at another port by all its names, and says which ports it has', () => {
    const open = { services: [service('product')] };
    const sentence = 'no service declares product:8080: the host is declared with port 80';
    expect(plan(sources(open), 'product', 8080)).toMatchObject({ kind: 'pass', declared: false, undeclaredPort: sentence });
    const closed = plan(sources(open, { outboundTrafficPolicy: 'REGISTRY_ONLY' }), 'product.shop', 8080);
    expect(closed.kind === 'refused' && closed.error.message).toBe(
      `${sentence.replace('product', 'product.shop')}, and outboundTrafficPolicy is REGISTRY_ONLY`,
    );
    expect(plan(sources(open), 'elsewhere.example', 8080)).not.toHaveProperty('undeclaredPort');
  });

  it('strips identity headers on the way to external services', () => {
    const external = entry('api.example', { location: 'MESH_EXTERNAL', resolution: 'DNS' });
    expect(plan(sources({ serviceEntries: [external] }), 'api.example')).toMatchObject({
      strips: true,
      targets: [{ address: 'api.example', tls: 'DISABLE' }],
    });
  });

  it('is the same plan after a reload that changes nothing for it', () => {
    const first = plan(sources({ services: [service('product', {}, account)] }), 'product');
    const second = plan(sources({ services: [service('product', {}, account), service('other')] }), 'product');
    expect(first.kind === 'service' && second.kind === 'service' && first.key === second.key).toBe(true);
  });

  it('says which hosts are reached by mutual TLS alone', () => {
    const serviceEntries = [
      entry('idp.shop.svc.cluster.local', { endpoints: [{ address: '127.0.0.1', serviceAccount: 'idp' }] }),
      entry('mixed.example', { endpoints: [{ address: '127.0.0.1', serviceAccount: 'a' }, { address: '127.0.0.2' }] }),
    ];
    const from = sources({ serviceEntries });
    expect(['idp.shop', 'mixed.example', 'elsewhere.example'].map((host) => isReachedByMutualTls(from, host, 80))).toEqual([
      true,
      false,
      false,
    ]);
  });
});
