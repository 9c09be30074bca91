import { describe, expect, it } from 'vitest';
import { validateDocuments } from '../config/validate.js';
import { resolveDestination, type Destination } from './destination.js';

const client = { namespace: 'shop', serviceAccount: 'gateway', labels: {} };
const passthrough = 'loadBalancer: {simple: PASSTHROUGH}';

interface Given {
  readonly resolution?: string;
  readonly endpoints?: string;
  readonly policy?: string;
  readonly subset?: string;
  readonly asked?: string;
  readonly peerAuthentication?: string;
  readonly protocol?: string;
  readonly mesh?: 'UPGRADE';
}

function destinationOf(o: Given): Destination {
  const text = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.example]
  location: MESH_INTERNAL
  resolution: ${o.resolution ?? 'STATIC'}
  ports: [{number: 80, name: http, protocol: ${o.protocol ?? 'HTTP'}}]
  endpoints: ${o.endpoints ?? '[{address: 127.0.0.1, serviceAccount: a, labels: {version: v1}}]'}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a.example
  trafficPolicy: {${o.policy ?? passthrough}}
  subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {${o.subset ?? 'loadBalancer: {simple: RANDOM}'}}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: ${o.peerAuthentication ?? 'PERMISSIVE'}}}
`;
  const { resources, problems } = validateDocuments([{ name: 'a.yaml', text }]);
  expect(problems.filter(({ level }) => level === 'error')).toEqual([]);
  if (resources === undefined) throw new Error('not valid');
  const sources = { ...resources, mesh: { ...resources.mesh, ...(o.mesh && { h2UpgradePolicy: o.mesh }) } };
  return resolveDestination(sources, { client, host: 'a.example', port: 80, subset: o.asked });
}

// As Istio's cluster generator answers.
describe('a destination whose rule passes through', () => {
  it('is its original address, for subsets that balance otherwise too', () => {
    expect(destinationOf({})).toMatchObject({ discovery: 'ORIGINAL_DST' });
    expect(destinationOf({ asked: 'v1' })).toMatchObject({ discovery: 'ORIGINAL_DST' });
    expect(destinationOf({ policy: 'loadBalancer: {simple: RANDOM}', asked: 'v1' })).toMatchObject({ discovery: 'EDS' });
  });

  it('speaks mutual TLS on its own account only when no endpoint of the port is without', () => {
    const mixed = '[{address: 127.0.0.1, serviceAccount: a, labels: {version: v1}}, {address: 127.0.0.2, labels: {version: v2}}]';
    expect(destinationOf({})).toMatchObject({ tls: 'ISTIO_MUTUAL' });
    expect(destinationOf({ endpoints: mixed })).toMatchObject({ tls: 'DISABLE' });
    expect(destinationOf({ endpoints: mixed, subset: passthrough, asked: 'v1' })).toMatchObject({ tls: 'DISABLE' });
    // A subset that says nothing of passing through is not asked endpoint by endpoint.
    expect(destinationOf({ endpoints: mixed, asked: 'v1' })).toMatchObject({ tls: 'ISTIO_MUTUAL' });
    expect(destinationOf({ peerAuthentication: 'DISABLE' })).toMatchObject({ tls: 'DISABLE' });
  });

  it('needs no endpoints of a subset that resolves by DNS', () => {
    const others = '[{address: b.example, labels: {version: v2}}]';
    const asked = { resolution: 'DNS', endpoints: others, asked: 'v1' };
    expect(destinationOf(asked)).toMatchObject({ discovery: 'ORIGINAL_DST' });
    expect(destinationOf({ ...asked, policy: 'loadBalancer: {simple: RANDOM}' })).toMatchObject({ unreachable: true });
  });
});

describe('the HTTP/2 that a sidecar would offer', () => {
  const upgrade = 'connectionPool: {http: {h2UpgradePolicy: UPGRADE}}';
  const offered = (o: Given): boolean | undefined => destinationOf({ policy: 'outlierDetection: {}', ...o }).alpn?.includes('h2');
  it('is asked for by a rule, by the mesh for ports that declare HTTP, and not against the client', () => {
    expect(offered({})).toBe(false);
    expect(offered({ policy: upgrade })).toBe(true);
    expect(offered({ mesh: 'UPGRADE' })).toBe(true);
    expect(offered({ mesh: 'UPGRADE', policy: 'connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}' })).toBe(false);
    expect(offered({ mesh: 'UPGRADE', policy: 'connectionPool: {http: {useClientProtocol: true}}' })).toBe(false);
    expect(offered({ mesh: 'UPGRADE', protocol: 'TCP' })).toBe(false);
    expect(offered({ policy: upgrade, protocol: 'TCP' })).toBe(true);
    expect(offered({ policy: upgrade, mesh: 'UPGRADE', protocol: '""' })).toBe(false);
  });
});

describe('a destination that is known and not reached', () => {
  const entry = (name: string, ports: string, resolution: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec: {hosts: [a.example], location: MESH_INTERNAL, resolution: ${resolution}, ports: [${ports}], endpoints: [{address: 127.0.0.1}]}
`;
  const ask = (text: string, port: number): Destination => {
    const { resources } = validateDocuments([{ name: 'a.yaml', text }]);
    if (resources === undefined) throw new Error('not valid');
    return resolveDestination(resources, { client, host: 'a.example', port });
  };

  it('has its port in a document that another one of the host stands before', () => {
    const first = entry('a', '{number: 80, name: http, protocol: HTTP}', 'STATIC');
    const second = entry('b', '{number: 81, name: http-b, protocol: HTTP}', 'DNS');
    expect(ask(`${first}---${second}`, 80)).toMatchObject({ known: true, discovery: 'EDS' });
    expect(ask(`${first}---${second}`, 81)).toEqual({ known: true, host: 'a.example', namespace: 'shop', unreachable: true });
  });

  it('speaks UDP', () => {
    expect(ask(entry('a', '{number: 53, name: dns, protocol: UDP}', 'STATIC'), 53)).toMatchObject({
      known: true,
      unreachable: true,
    });
  });
});
