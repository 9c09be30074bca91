import { describe, expect, it } from 'vitest';
import { defaultMeshSettings, type MeshSettings } from '../config/mesh-config.js';
import type { Registry } from '../config/registry.js';
import type { ResourceMeta } from '../identity/workload.js';
import { compileServiceIndex, findService, type FoundService } from './services.js';

const meta = (kind: string, name: string, more: Partial<ResourceMeta> = {}): ResourceMeta => {
  const [namespace = '', short = ''] = name.split('/');
  return {
    ...{ kind, namespace, name: short, creationTimestamp: 0, labels: {}, annotations: {} },
    source: { file: 'mesh.yaml', line: 1, column: 1 },
    ...more,
  };
};
const host = 'product.shop.svc.cluster.local';
type Entry = Registry['serviceEntries'][number];
const entry = (name: string, spec: Partial<Entry['spec']> = {}, more: Partial<ResourceMeta> = {}): Entry => ({
  meta: meta('ServiceEntry', name, more),
  spec: {
    hosts: [host],
    location: 'MESH_INTERNAL',
    resolution: 'STATIC',
    ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
    ...spec,
  },
});
const service = (
  name: string,
  annotations: Record<string, string> = {},
  creationTimestamp = 0,
): Registry['services'][number] => ({
  meta: meta('Service', name, { annotations, creationTimestamp }),
  spec: { clusterIP: '10.0.0.1', ports: [{ number: 80, name: 'http', targetPort: 8080 }], selector: { app: 'product' } },
});

function find(
  registry: Partial<Registry>,
  client: string,
  name = host,
  port = 80,
  mesh: Partial<MeshSettings> = {},
): FoundService | undefined {
  const none = { services: [], serviceEntries: [], workloadEntries: [], destinationRules: [], peerAuthentications: [] };
  return findService(compileServiceIndex({ ...none, ...registry }, { ...defaultMeshSettings, ...mesh }), client, name, port);
}
const owner = (found: FoundService | undefined): string | undefined =>
  found && `${found.service.meta.kind} ${found.service.meta.namespace}/${found.service.meta.name}`;

describe('the service of a host', () => {
  it('belongs to the namespace of the client, else to a Kubernetes Service, else to the oldest', () => {
    const serviceEntries = [
      entry('ops/late', {}, { creationTimestamp: 2 }),
      entry('billing/early', {}, { creationTimestamp: 1 }),
    ];
    const services = [service('shop/product', {}, 3)];
    expect(owner(find({ serviceEntries, services }, 'ops'))).toBe('ServiceEntry ops/late');
    expect(owner(find({ serviceEntries, services }, 'elsewhere'))).toBe('Service shop/product');
    expect(owner(find({ serviceEntries }, 'elsewhere'))).toBe('ServiceEntry billing/early');
  });

  it('belongs to one that names the client in exportTo before public ones, and to none that is not for it', () => {
    const named = entry('ops/named', { exportTo: ['elsewhere'] }, { creationTimestamp: 5 });
    expect(owner(find({ serviceEntries: [entry('billing/public'), named] }, 'elsewhere'))).toBe('ServiceEntry ops/named');
    expect(owner(find({ serviceEntries: [named] }, 'shop'))).toBeUndefined();
    expect(owner(find({ serviceEntries: [entry('ops/own', { exportTo: ['.'] })] }, 'shop'))).toBeUndefined();
    expect(owner(find({ serviceEntries: [entry('ops/none', { exportTo: ['~'] })] }, 'ops'))).toBeUndefined();
  });

  it('is for whom the mesh says where its document names nobody', () => {
    const mesh = { defaultServiceExportTo: ['.', 'ops'] };
    const seenBy = (client: string, registry: Partial<Registry>): boolean => find(registry, client, host, 80, mesh) !== undefined;
    const clients = ['shop', 'ops', 'billing'];
    for (const registry of [{ serviceEntries: [entry('shop/a')] }, { services: [service('shop/product')] }])
      expect(clients.map((client) => seenBy(client, registry))).toEqual([true, true, false]);
    expect(seenBy('billing', { serviceEntries: [entry('shop/a', { exportTo: ['*'] })] })).toBe(true);
  });

  it('is for nobody when its annotation has nothing but blanks, and for whom it names beside them', () => {
    const exportedTo = (list: string): FoundService | undefined =>
      find({ services: [service('shop/product', { 'networking.istio.io/exportTo': list })] }, 'ops');
    expect([' ', 'shop,', ', ops', ''].map((list) => exportedTo(list) !== undefined)).toEqual([false, false, true, true]);
  });

  it('is not another one because that has the port', () => {
    const other = entry('billing/other', { ports: [{ number: 8080, name: 'alt', protocol: 'HTTP' }] });
    expect(find({ serviceEntries: [entry('shop/own'), other] }, 'shop', host, 8080)).toBeUndefined();
  });

  it('has the ports of all equal ServiceEntries of its namespace, not of different ones', () => {
    const alt = { ports: [{ number: 8080, name: 'alt', protocol: 'HTTP' }] };
    const equal = [entry('shop/a'), entry('shop/b', alt)];
    expect(find({ serviceEntries: equal }, 'ops', host, 8080)?.port.name).toBe('alt');
    const different = [entry('shop/a'), entry('shop/b', { ...alt, resolution: 'DNS' })];
    expect(find({ serviceEntries: different }, 'ops', host, 8080)?.hidden).toBe(true);
    const tcp = { ports: [{ number: 5432, name: 'db', protocol: 'TCP' }], resolution: 'DNS' as const };
    expect(find({ serviceEntries: [entry('shop/a'), entry('shop/b', tcp)] }, 'ops', host, 5432)).toBeUndefined();
  });

  it('has one endpoint for a port when it is asked for by DNS_ROUND_ROBIN', () => {
    const from = (address: string, more: Partial<Entry['spec']> = {}): Partial<Entry['spec']> => ({
      resolution: 'DNS_ROUND_ROBIN',
      endpoints: [{ address }],
      ...more,
    });
    const alt = { ports: [80, 8080].map((number) => ({ number, name: `http-${number}`, protocol: 'HTTP' })) };
    const serviceEntries = [entry('shop/a', from('one.example')), entry('shop/b', from('two.example', alt))];
    const { endpoints = [] } = find({ serviceEntries }, 'ops')?.service ?? {};
    expect(endpoints.map(({ address, port }) => `${address}:${port}`)).toEqual(['one.example:80', 'two.example:8080']);
  });

  it('is a headless Kubernetes Service by the names of its pods, full and short, and no other kind of service', () => {
    const plain = service('shop/product');
    const headless = { ...plain, spec: { ...plain.spec, clusterIP: 'None' } };
    for (const name of [`pod-0.${host}`, `a.b.${host}`, 'pod-0.product', 'pod-0.product.shop', 'pod-0.product.shop.svc'])
      expect(owner(find({ services: [headless] }, 'shop', name)), name).toBe('Service shop/product');
    expect(find({ services: [headless] }, 'ops', 'pod-0.product')).toBeUndefined();
    expect(find({ services: [headless] }, 'shop', `pod-0.${host}`, 8080)).toBeUndefined();
    expect(find({ services: [plain] }, 'shop', `pod-0.${host}`)).toBeUndefined();
    const closer = entry('shop/pods', { hosts: [`*.pod-0.${host}`] });
    expect(owner(find({ services: [headless], serviceEntries: [closer] }, 'shop', `x.pod-0.${host}`))).toBe(
      'ServiceEntry shop/pods',
    );
    const wider = entry('shop/all', { hosts: ['*.cluster.local'] });
    expect(owner(find({ services: [headless], serviceEntries: [wider] }, 'shop', `pod-0.${host}`))).toBe('Service shop/product');
  });

  it('expects the accounts of the endpoints of all documents, and the names that the newest document gives', () => {
    const serviceEntries = [
      entry('shop/a', {
        endpoints: [{ address: '127.0.0.1', serviceAccount: 'a' }],
        subjectAltNames: ['spiffe://old/ns/x/sa/old'],
      }),
      entry(
        'shop/b',
        { endpoints: [{ address: '127.0.0.2', serviceAccount: 'b' }], subjectAltNames: ['new.example'] },
        { creationTimestamp: 1 },
      ),
    ];
    const found = find({ serviceEntries }, 'ops');
    expect(found?.service.expected).toEqual([
      'new.example',
      'spiffe://cluster.local/ns/shop/sa/a',
      'spiffe://cluster.local/ns/shop/sa/b',
    ]);
    expect(found?.service.endpoints.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.2']);
  });

  it('takes whole identities and service accounts from the annotations of a Kubernetes Service', () => {
    const annotations = {
      'alpha.istio.io/canonical-serviceaccounts': 'spiffe://other/ns/x/sa/y',
      'alpha.istio.io/kubernetes-serviceaccounts': 'product, blank',
    };
    const found = find({ services: [service('shop/product', annotations)] }, 'shop', 'product');
    expect(found?.service.expected).toEqual([
      'spiffe://cluster.local/ns/shop/sa/ blank',
      'spiffe://cluster.local/ns/shop/sa/product',
      'spiffe://other/ns/x/sa/y',
    ]);
  });

  it('has the WorkloadEntries its selector picks, at a named target port only those that know the name', () => {
    const workload = (name: string, ports?: Record<string, number>): Registry['workloadEntries'][number] => ({
      meta: meta('WorkloadEntry', `shop/${name}`, { labels: { app: 'product' } }),
      spec: { address: `127.0.0.${name}`, serviceAccount: name, ...(ports && { ports }) },
    });
    const named = {
      ...service('shop/product'),
      spec: { ...service('shop/product').spec, ports: [{ number: 80, name: 'http', targetPort: 'web' }] },
    };
    const workloadEntries = [workload('1', { web: 9000 }), workload('2')];
    const endpoints = find({ services: [named], workloadEntries }, 'shop')?.service.endpoints;
    expect(endpoints?.map(({ address, port }) => [address, port])).toEqual([['127.0.0.1', 9000]]);
    expect(
      find({ services: [service('shop/product')], workloadEntries }, 'shop')?.service.endpoints.map(({ port }) => port),
    ).toEqual([8080, 8080]);
  });

  it('is also meant by its addresses, at the ports it has', () => {
    const registry = {
      services: [service('shop/product')],
      serviceEntries: [
        entry('shop/a', { hosts: ['a.example'], addresses: ['10.0.0.1', '10.5.0.0/16', '10.6.0.1/32', 'FD00:0::1'] }),
        entry('shop/b', { hosts: ['b.example'], addresses: ['10.6.0.1'], ports: [{ number: 81, name: 'http' }] }),
      ],
    };
    const named = (address: string, port = 80): string | undefined => find(registry, 'ops', address, port)?.service.host;
    expect(named('10.0.0.1')).toBe('a.example');
    expect([named('10.6.0.1'), named('10.6.0.1', 81), named('10.6.0.1', 82)]).toEqual(['a.example', 'b.example', undefined]);
    expect([named('[fd00::1]'), named('10.5.0.0'), named('None')]).toEqual(['a.example', undefined, undefined]);
    expect(find({ services: registry.services }, 'ops', '10.0.0.1')?.service.host).toBe(host);
  });

  it('is meant by every alias that ends at it, whatever ports the alias has and whoever may see it', () => {
    const alias = (name: string, externalName: string): Registry['services'][number] => ({
      meta: meta('Service', name, { annotations: { 'networking.istio.io/exportTo': '~' } }),
      spec: { type: 'ExternalName', externalName },
    });
    const services = [
      service('shop/product'),
      alias('ops/short', 'longer.ops.svc.cluster.local'),
      alias('ops/longer', `${host}.`),
      alias('ops/loop', 'loop2.ops.svc.cluster.local'),
      alias('ops/loop2', 'loop.ops.svc.cluster.local'),
      alias('ops/outside', 'elsewhere.example'),
    ];
    const named = (name: string): string | undefined => find({ services }, 'ops', name)?.service.host;
    expect(['short', 'longer.ops', 'short.ops.svc.cluster.local'].map(named)).toEqual([host, host, host]);
    expect(['loop', 'loop2', 'outside'].map(named)).toEqual([undefined, undefined, undefined]);
  });

  it.each([
    ['http', {}, true, false],
    ['https-x', {}, false, false],
    ['grpc-webx', {}, true, true],
    ['hbone', {}, true, false],
    ['anything', { number: 3306 }, false, false],
    ['http', { number: 3306 }, true, false],
    ['tcp', { appProtocol: 'kubernetes.io/h2c' }, true, true],
    ['http', { appProtocol: 'kubernetes.io/wss' }, false, false],
    ['tcp', { appProtocol: 'HTTP-custom' }, true, false],
    ['http', { appProtocol: 'unknown', number: 25 }, false, false],
  ])('speaks at the Kubernetes port %s %j what its appProtocol says, or its name, or its number', (name, port, http, http2) => {
    const one = service('shop/product');
    const ports = [{ number: 80, name, ...port }];
    const found = find({ services: [{ ...one, spec: { ...one.spec, ports } }] }, 'shop', host, ports[0]?.number);
    expect(found?.port).toMatchObject({ http, http2 });
  });

  it('is the longest wildcard where no name fits, and has no short form for ports without HTTP', () => {
    const wild = [entry('shop/a', { hosts: ['*.example'] }), entry('shop/b', { hosts: ['*.cdn.example'] })];
    expect(find({ serviceEntries: wild }, 'ops', 'a.cdn.example')?.service.host).toBe('*.cdn.example');
    expect(find({ serviceEntries: wild }, 'ops', 'cdn.example')?.service.host).toBe('*.example');
    const tcp = [entry('shop/db', { ports: [{ number: 5432, name: 'db', protocol: 'TCP' }] })];
    expect(
      [find({ serviceEntries: tcp }, 'shop', host, 5432), find({ serviceEntries: tcp }, 'shop', 'product', 5432)].map(Boolean),
    ).toEqual([true, false]);
  });
});
