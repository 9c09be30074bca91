import { describe, expect, it } from 'vitest';
import { formatProblem } from '../problem.js';
import { validateDocuments, type MeshResources } from '../validate.js';

const versions: Readonly<Record<string, string>> = {
  Service: 'v1',
  TokenPropagation: 'enmesh.dev/v1',
  PeerAuthentication: 'security.istio.io/v1',
};

function validate(
  kind: string,
  spec: unknown,
  annotations: Record<string, string> = {},
): { problems: string; resources: MeshResources | undefined } {
  const document = {
    apiVersion: versions[kind] ?? 'networking.istio.io/v1',
    kind,
    metadata: { name: 'x', namespace: 'shop', annotations },
    spec,
  };
  const { resources, problems } = validateDocuments([{ name: 'enmesh/x.yaml', text: JSON.stringify(document) }]);
  expect(resources === undefined).toBe(problems.some((problem) => problem.level === 'error'));
  return {
    resources,
    problems: problems.map((problem) => `${problem.level} ${problem.code} ${formatProblem(problem)}`).join('\n'),
  };
}

const entry = (fields: object): object => ({
  hosts: ['stock.shop.svc.cluster.local'],
  ports: [{ number: 80, name: 'http', protocol: 'HTTP' }],
  ...fields,
});
const http = { number: 80, name: 'http', protocol: 'HTTP' };
const severalHosts = (fields: object): object => entry({ hosts: ['a.example', 'b.example'], resolution: 'DNS', ...fields });
const fixed = (endpoint: object): object => entry({ resolution: 'STATIC', ports: [http], endpoints: [endpoint] });
const rule = (tls: object): object => ({ host: 'stock', trafficPolicy: { tls } });
const selected = (fields: object): object => ({ selector: { matchLabels: { app: 'x' } }, ...fields });

describe('kinds of the registry, PeerAuthentication and TokenPropagation', () => {
  it.each([
    ['PeerAuthentication', {}],
    ['PeerAuthentication', { mtls: {} }],
    ['PeerAuthentication', selected({ mtls: { mode: 'STRICT' }, portLevelMtls: { 8080: { mode: 'DISABLE' }, 1: {} } })],
    ['ServiceEntry', entry({})],
    [
      'ServiceEntry',
      entry({
        location: 'MESH_INTERNAL',
        resolution: 'STATIC',
        endpoints: [{ address: '127.0.0.1', ports: { http: 9080 }, serviceAccount: 'stock' }],
      }),
    ],
    ['ServiceEntry', entry({ resolution: 'DNS', exportTo: ['.', 'core'], subjectAltNames: ['spiffe://a/b'] })],
    ['ServiceEntry', entry({ hosts: ['*.example.com'], addresses: ['10.0.0.0/8'] })],
    ['ServiceEntry', entry({ resolution: 'STATIC', workloadSelector: { labels: { app: 'x' } } })],
    [
      'WorkloadEntry',
      { address: '10.0.0.1', labels: { app: 'x' }, serviceAccount: 'x', weight: 1, locality: 'a/b', network: 'n' },
    ],
    ['WorkloadEntry', { address: 'vm.example.com', ports: { http: 80 } }],
    ['WorkloadEntry', { address: 'unix:///run/x.sock' }],
    ['WorkloadEntry', { network: 'n' }],
    ['ServiceEntry', entry({ hosts: ['*peer.example.com'] })],
    ['ServiceEntry', entry({ exportTo: ['~'] })],
    ['ServiceEntry', severalHosts({ ports: [http, { number: 443, name: 'b', protocol: 'tls' }] })],
    ['ServiceEntry', severalHosts({ resolution: 'NONE', ports: [{ number: 5432, name: 'a', protocol: 'TCP' }] })],
    ['ServiceEntry', fixed({ address: 'unix:///run/x' })],
    ['DestinationRule', { host: 'a', trafficPolicy: { portLevelSettings: [{ port: {}, tls: {} }] } }],
    ['DestinationRule', { host: 'a', exportTo: ['.'], workloadSelector: { matchLabels: { a: 'b' } } }],
    ['DestinationRule', rule({ mode: 'MUTUAL', credentialName: 'c', insecureSkipVerify: true })],
    ['DestinationRule', { host: '*.shop.svc.cluster.local' }],
    ['DestinationRule', rule({ mode: 'ISTIO_MUTUAL', subjectAltNames: ['spiffe://a/b'], sni: 'x' })],
    ['DestinationRule', rule({ mode: 'MUTUAL', clientCertificate: 'c', privateKey: 'k', caCertificates: 'a' })],
    ['DestinationRule', rule({ mode: 'MUTUAL', credentialName: 'c' })],
    ['DestinationRule', rule({ mode: 'SIMPLE', insecureSkipVerify: true })],
    [
      'Service',
      { ports: [{ port: 80, targetPort: 'http', nodePort: 30080, appProtocol: 'http' }], selector: null, invented: true },
    ],
    ['Service', { type: 'ExternalName', externalName: 'example.com' }],
    ['TokenPropagation', { outbound: [{ hosts: ['*.example.com'], mode: 'NONE' }, { hosts: ['a'] }] }],
  ])('admits %s %j', (kind, spec) => {
    expect(validate(kind, spec).problems).toBe('');
  });

  it('passes over what it knows of a traffic policy without reading it', () => {
    const trafficPolicy = {
      loadBalancer: {
        consistentHash: { httpCookie: { name: 'a', ttl: '0s' }, ringHash: { minimumRingSize: 1 } },
        localityLbSetting: { enabled: true },
      },
      connectionPool: {
        tcp: { maxConnections: 1, tcpKeepalive: { time: '1s' } },
        http: { http2MaxRequests: 1, http2KeepAlive: { interval: '15s' } },
      },
      outlierDetection: { consecutive5xxErrors: 7, interval: '5m' },
      tunnel: { protocol: 'CONNECT', targetHost: 'a', targetPort: 1 },
      portLevelSettings: [
        { port: { number: 80 }, loadBalancer: { simple: 'PASSTHROUGH', warmup: { duration: '30s' } }, tls: { mode: 'DISABLE' } },
      ],
    };
    const { resources, problems } = validate('DestinationRule', {
      host: 'stock',
      subsets: [{ name: 'v1', labels: { version: 'v1' }, trafficPolicy }],
    });
    expect(problems).toBe('');
    expect(resources?.registry.destinationRules[0]?.spec.subsets?.[0]?.trafficPolicy).toEqual({
      connectionPool: { http: {} },
      loadBalancer: {},
      portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: 'PASSTHROUGH' }, tls: { mode: 'DISABLE' } }],
    });
  });

  it.each([
    ['PeerAuthentication', { mtls: null }, 'spec.mtls: must be a map, not null'],
    ['PeerAuthentication', { mtls: { mode: 'strict' } }, 'did you mean STRICT?'],
    [
      'PeerAuthentication',
      { mode: 'STRICT' },
      'there is no field "mode" here (it belongs to `mtls`, or the number of a port in `portLevelMtls`)',
    ],
    ['PeerAuthentication', { portLevelMtls: { 80: {} } }, 'portLevelMtls requires a selector with labels'],
    [
      'PeerAuthentication',
      { selector: { matchLabels: {} }, portLevelMtls: { 80: {} } },
      'portLevelMtls requires a selector with labels',
    ],
    ['PeerAuthentication', selected({ portLevelMtls: {} }), 'portLevelMtls: must not be empty'],
    ['PeerAuthentication', selected({ portLevelMtls: { 0: {} } }), '"0" is no port'],
    ['PeerAuthentication', selected({ portLevelMtls: { 65536: {} } }), '"65536" is no port'],
    ['PeerAuthentication', selected({ portLevelMtls: { http: {} } }), '"http" is no port'],
    ['PeerAuthentication', selected({ portLevelMtls: { 80: null } }), 'must be a map, not null'],
    ['ServiceEntry', {}, 'lacks "hosts"'],
    ['ServiceEntry', entry({ hosts: [] }), 'hosts: must not be empty'],
    ['ServiceEntry', entry({ hosts: ['*'] }), 'a host cannot be * alone'],
    ['ServiceEntry', entry({ hosts: ['a_b c'] }), 'is no host name'],
    [
      'ServiceEntry',
      entry({
        ports: [
          { number: 80, name: 'a' },
          { number: 80, name: 'a' },
        ],
      }),
      'ports[1].name: another port has the same name',
    ],
    ['ServiceEntry', entry({ ports: [{ number: 0, name: 'a' }] }), 'must be between 1 and 65535'],
    ['ServiceEntry', entry({ ports: [{ number: '80', name: 'a' }] }), 'must be a whole number, not a string (remove the quotes)'],
    ['ServiceEntry', entry({ resolution: 'static' }), 'did you mean STATIC?'],
    ['ServiceEntry', entry({ endpoints: [{ address: '1.2.3.4' }] }), 'resolution NONE has no endpoints'],
    [
      'ServiceEntry',
      entry({ resolution: 'STATIC', endpoints: [{ address: '1.2.3.4' }], workloadSelector: {} }),
      'only one of endpoints and workloadSelector',
    ],
    [
      'ServiceEntry',
      entry({ resolution: 'DNS_ROUND_ROBIN', endpoints: [{ address: 'a' }, { address: 'b' }] }),
      'has one endpoint at most',
    ],
    [
      'ServiceEntry',
      entry({ resolution: 'DNS', hosts: ['*.a'] }),
      'needs endpoints, or hosts that are names of DNS without a wildcard',
    ],
    ['ServiceEntry', entry({ resolution: 'DNS', hosts: ['5'] }), 'needs endpoints, or hosts that are names of DNS'],
    [
      'ServiceEntry',
      entry({ resolution: 'DNS', addresses: ['10.0.0.0/8'] }),
      'CIDR ranges are only for resolution NONE and STATIC',
    ],
    ['ServiceEntry', entry({ exportTo: ['A'] }), 'is neither a namespace nor one of'],
    ['ServiceEntry', entry({ exportTo: ['ops', 'ops'] }), '"ops" stands here twice'],
    ['ServiceEntry', entry({ exportTo: ['.', 'shop'] }), '"shop" stands here twice, or beside "." which means it'],
    ['ServiceEntry', entry({ exportTo: ['*', 'ops'] }), '"*" must stand alone'],
    ['ServiceEntry', entry({ exportTo: ['~', 'ops'] }), '"~" must stand alone'],
    ['DestinationRule', { host: 'a', exportTo: ['~'] }, '"~" is for ServiceEntries only'],
    ['DestinationRule', { host: 'a', exportTo: ['ops'], workloadSelector: { matchLabels: { a: 'b' } } }, 'to its own namespace'],
    ['ServiceEntry', entry({ hosts: ['1.2.3'] }), 'is no host name'],
    ['ServiceEntry', entry({ hosts: ['a_b'] }), 'is no host name'],
    ['ServiceEntry', entry({ hosts: [`${'a'.repeat(64)}.b`] }), 'is no host name'],
    ['ServiceEntry', entry({ ports: [{ number: 80, name: '*http' }] }), '"*http" is no name of a port'],
    ['ServiceEntry', entry({ ports: [{ number: 80, name: 'a', protocol: 'HTTPHTTP' }] }), 'is no protocol that Istio knows'],
    ['ServiceEntry', severalHosts({ ports: [{ number: 80, name: 'a' }] }), 'several hosts need ports that speak HTTP or TLS'],
    [
      'ServiceEntry',
      severalHosts({ ports: [http, { number: 90, name: 'b', protocol: 'TCP' }] }),
      'ports[1]: several hosts need ports that speak HTTP or TLS',
    ],
    ['ServiceEntry', fixed({ address: 'a.example' }), 'is no IP address, as resolution STATIC needs'],
    ['ServiceEntry', fixed({ address: '01.2.3.4' }), 'is no IP address, as resolution STATIC needs'],
    ['ServiceEntry', fixed({ address: '1.2.3.4', ports: { other: 1 } }), 'the ServiceEntry has no port "other"'],
    ['ServiceEntry', fixed({ address: '1.2.3.4', labels: { version: 'v1 ' } }), '"v1 " is no value of a label'],
    ['ServiceEntry', entry({ resolution: 'DNS', endpoints: [{ address: 'unix:///x' }] }), 'neither an IP address nor a DNS name'],
    ['ServiceEntry', entry({ resolution: 'DYNAMIC_DNS', hosts: ['a.b'] }), 'resolution DYNAMIC_DNS needs wildcard hosts'],
    ['ServiceEntry', entry({ resolution: 'DYNAMIC_DNS', hosts: ['*.b'], addresses: ['1.2.3.4'] }), 'DYNAMIC_DNS allows none'],
    ['WorkloadEntry', { address: '1.2.3.4', labels: { a: '*v' } }, '"*v" is no value of a label'],
    ['WorkloadEntry', { address: '1.2.3.4', labels: { 'a b': 'v' } }, '"a b" is no key of a label'],
    ['WorkloadEntry', { address: '80.0' }, 'is neither an IP address nor a DNS name'],
    ['WorkloadEntry', { address: '1.2.3.4', ports: { 'a b': 1 } }, '"a b" is no name of a port'],
    ['DestinationRule', { host: 'a', trafficPolicy: {} }, 'a traffic policy needs a field'],
    ['DestinationRule', { host: 'a', trafficPolicy: { portLevelSettings: [] } }, 'a traffic policy needs a field'],
    [
      'DestinationRule',
      { host: 'a', trafficPolicy: { portLevelSettings: [{ port: { number: 80 } }] } },
      'needs a field beside its port',
    ],
    ['DestinationRule', { host: 'a', subsets: [{ name: '*v2' }] }, '"*v2" is no name of a subset'],
    ['DestinationRule', { host: 'a', subsets: [{ name: 'v', labels: { a: '*' } }] }, '"*" is no value of a label'],
    [
      'DestinationRule',
      rule({ mode: 'SIMPLE', credentialName: 'configmap://other/a' }),
      'must be of the form configmap://shop/<name>',
    ],
    ['WorkloadEntry', {}, 'needs an `address`'],
    ['WorkloadEntry', { address: 'not a host' }, 'is neither an IP address nor a DNS name'],
    ['WorkloadEntry', { address: 'unix://run/x' }, 'needs an absolute path'],
    ['WorkloadEntry', { address: 'unix:///x', ports: { a: 1 } }, 'a unix address has no ports'],
    ['DestinationRule', {}, 'lacks "host"'],
    ['DestinationRule', rule({ mode: 'mutual' }), 'did you mean MUTUAL?'],
    ['DestinationRule', rule({ mode: 'MUTUAL' }), 'mode MUTUAL needs clientCertificate'],
    [
      'DestinationRule',
      rule({ mode: 'SIMPLE', credentialName: 'a', caCertificates: 'b' }),
      'cannot be combined with credentialName',
    ],
    [
      'DestinationRule',
      rule({ mode: 'SIMPLE', insecureSkipVerify: true, subjectAltNames: ['a'] }),
      'cannot be combined with insecureSkipVerify',
    ],
    ['DestinationRule', { host: 'a', trafficPolicy: { conectionPool: {} } }, 'did you mean "connectionPool"?'],
    [
      'DestinationRule',
      { host: 'a', trafficPolicy: { connectionPool: { tcp: { maxConection: 1 } } } },
      'did you mean "maxConnections"?',
    ],
    ['DestinationRule', { host: 'a', trafficPolicy: { portLevelSettings: [{ tls: {} }] } }, 'needs a port with a `number`'],
    [
      'DestinationRule',
      { host: 'a', trafficPolicy: { portLevelSettings: [{ port: { number: 80 }, portLevelSettings: [] }] } },
      'there is no field "portLevelSettings" here',
    ],
    ['DestinationRule', { host: 'a', subsets: [{ name: 'v' }, { name: 'v' }] }, 'another subset of this rule has the same name'],
    ['DestinationRule', { host: 'a', subsets: [{}] }, 'lacks "name"'],
    ['Service', { ports: [{ port: '80' }] }, 'must be a whole number, not a string'],
    ['Service', { selector: { app: 1 } }, 'must be a string, not a number'],
    ['TokenPropagation', { outbound: [{ hosts: ['a'], mode: 'hop' }] }, 'did you mean HOP?'],
    ['TokenPropagation', { outbound: [{ mode: 'NONE' }] }, 'lacks "hosts"'],
  ])('refuses %s %j', (kind, spec, expected) => {
    const { problems } = validate(kind, spec);
    expect(problems).toContain('error ');
    expect(problems).toContain(expected);
  });

  it.each([0, 65536])('warns of settings for a port %i, which Istio takes and never uses', (number) => {
    const { resources, problems } = validate('DestinationRule', {
      host: 'a',
      trafficPolicy: { portLevelSettings: [{ port: { number }, tls: { mode: 'DISABLE' } }] },
    });
    expect(problems).toMatch(/^warning ENMESH_CONFIG_DOUBTFUL .*portLevelSettings\[0\]\.port\.number: no service has a port/);
    expect(resources?.registry.destinationRules[0]?.spec.trafficPolicy?.portLevelSettings?.[0]?.port).toEqual({ number });
  });

  it.each([
    ['WorkloadEntry', { address: '10.0.0.1', labels: { app: 'x'.repeat(64) } }],
    ['DestinationRule', { host: 'a', subsets: [{ name: 'v', labels: { app: 'x'.repeat(64) } }] }],
  ])('warns of a label in %s that is longer than Kubernetes allows for pods, which Istio takes', (kind, spec) => {
    const { resources, problems } = validate(kind, spec);
    expect(resources).toBeDefined();
    expect(problems).toMatch(/^warning ENMESH_CONFIG_DOUBTFUL .*labels\.app: has more than 63 characters/);
  });

  it('warns of a selector that selects everything', () => {
    expect(validate('PeerAuthentication', { selector: {} }).problems).toContain('warning ENMESH_CONFIG_DOUBTFUL');
  });

  it.each(['PeerAuthentication', 'DestinationRule'])('refuses a dry run of %s, which would be in force', (kind) => {
    const { problems } = validate(kind, kind === 'DestinationRule' ? { host: 'a' } : {}, { 'istio.io/dry-run': 'true' });
    expect(problems).toContain('only an AuthorizationPolicy can be a dry run');
  });
});
