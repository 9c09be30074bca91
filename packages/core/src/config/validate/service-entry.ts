import type { ServiceEntrySpec, ServicePort } from '../registry.js';
import { placeAt, type Place } from '../place.js';
import { quote } from '../problem.js';
import { integer, invalidAt, listOf, oneOf, record, refined, text, type Shape } from '../shape.js';
import { checkEndpoint } from './endpoint.js';
import { exportTo } from './export-to.js';
import { isIstioLabel } from './labels.js';
import { matchLabels } from './selector.js';
import { isDnsName, isHostPattern, isIpBlock } from './values.js';
import { workloadEntrySpec } from './workload-entry.js';

const host = refined(text({ min: 1 }), (value, place) => {
  if (value === '*') invalidAt(place, 'a host cannot be * alone');
  else if (!isHostPattern(value)) invalidAt(place, `${quote(value)} is no host name`);
});

const address = refined(text({ min: 1, max: 64 }), (value, place) => {
  if (!isIpBlock(value)) invalidAt(place, `${quote(value)} is no IP address or CIDR range`);
});

const httpProtocols = ['http', 'http2', 'http_proxy', 'grpc', 'grpc-web'];
const tlsProtocols = ['https', 'tls'];
const protocols = new Set(['', ...httpProtocols, ...tlsProtocols, 'tcp', 'udp', 'mongo', 'redis', 'mysql']);

const portName = refined(text({ min: 1, max: 256 }), (value, place) => {
  if (!isIstioLabel(value)) invalidAt(place, `${quote(value)} is no name of a port`, 'letters, digits and "-"');
});

const protocol = refined(text({ max: 256 }), (value, place) => {
  if (!protocols.has(value.toLowerCase()))
    invalidAt(place, `${quote(value)} is no protocol that Istio knows`, 'such as HTTP, HTTPS, GRPC, TCP or TLS');
});

const port = record<ServicePort>(
  { number: integer(1, 65535), name: portName, protocol, targetPort: integer(1, 65535) },
  { required: ['number', 'name'] },
);

const fields = record<ServiceEntrySpec>(
  {
    hosts: listOf(host, { min: 1, max: 256 }),
    addresses: listOf(address, { max: 256 }),
    ports: listOf(port, { max: 256 }),
    location: oneOf('MESH_EXTERNAL', 'MESH_INTERNAL'),
    resolution: oneOf('NONE', 'STATIC', 'DNS', 'DNS_ROUND_ROBIN', 'DYNAMIC_DNS'),
    endpoints: listOf(workloadEntrySpec, { max: 4096 }),
    workloadSelector: record<{ labels?: Readonly<Record<string, string>> }>({ labels: matchLabels }),
    exportTo,
    subjectAltNames: listOf(text({ min: 1 })),
  },
  { required: ['hosts'] },
);

/** `spec` of ServiceEntry with Istio's validation of what enmesh reads: endpoints agree with `resolution`, ports are distinct. */
export const serviceEntrySpec: Shape<ServiceEntrySpec> = refined(fields, (spec, place) => {
  checkPorts(spec, place);
  checkProtocols(spec, place);
  checkEndpoints(spec, place);
  if (spec.resolution === 'DYNAMIC_DNS') checkDynamic(spec, place);
});

const protocolOf = ({ protocol: given = '' }: ServicePort): string => given.toLowerCase();

/** Plain TCP cannot tell hosts apart. */
function checkProtocols(spec: ServiceEntrySpec, place: Place): void {
  if (spec.hosts.length < 2 || (spec.resolution ?? 'NONE') === 'NONE') return;
  const index = (spec.ports ?? []).findIndex((one) => ![...httpProtocols, ...tlsProtocols].includes(protocolOf(one)));
  if (index !== -1)
    invalidAt(
      placeAt(place, 'ports', index),
      'several hosts need ports that speak HTTP or TLS, by which they are told apart',
      'tell the `protocol`, or write one ServiceEntry for each host',
    );
}

function checkDynamic(spec: ServiceEntrySpec, place: Place): void {
  spec.hosts.forEach((one, index) => {
    if (!one.startsWith('*')) invalidAt(placeAt(place, 'hosts', index), 'resolution DYNAMIC_DNS needs wildcard hosts');
  });
  for (const field of ['addresses', 'endpoints'] as const)
    if ((spec[field]?.length ?? 0) > 0) invalidAt(placeAt(place, field), 'resolution DYNAMIC_DNS allows none');
  spec.ports?.forEach((one, index) => {
    if (!['http', 'tls', 'grpc', 'http2'].includes(protocolOf(one)))
      invalidAt(placeAt(place, 'ports', index), 'resolution DYNAMIC_DNS is for HTTP, HTTP2, GRPC and TLS');
  });
}

function checkPorts(spec: ServiceEntrySpec, place: Place): void {
  for (const field of ['number', 'name'] as const) {
    const seen = new Set<unknown>();
    spec.ports?.forEach((one, index) => {
      const value = one[field];
      if (value !== undefined && seen.has(value))
        invalidAt(placeAt(place, 'ports', index, field), `another port has the same ${field}`);
      seen.add(value);
    });
  }
}

function checkEndpoints(spec: ServiceEntrySpec, place: Place): void {
  const endpoints = spec.endpoints ?? [];
  const resolution = spec.resolution ?? 'NONE';
  const at = placeAt(place, 'endpoints');
  if (endpoints.length > 0 && spec.workloadSelector !== undefined)
    invalidAt(at, 'only one of endpoints and workloadSelector can be set');
  if (endpoints.length > 0 && resolution === 'NONE')
    invalidAt(at, 'resolution NONE has no endpoints', 'an absent resolution is NONE; write STATIC or DNS');
  if (endpoints.length > 1 && resolution === 'DNS_ROUND_ROBIN')
    invalidAt(at, 'resolution DNS_ROUND_ROBIN has one endpoint at most');
  const hasRange = (spec.addresses ?? []).some((one) => one.includes('/'));
  if (hasRange && resolution !== 'NONE' && resolution !== 'STATIC') {
    invalidAt(placeAt(place, 'addresses'), `CIDR ranges are only for resolution NONE and STATIC, found ${resolution}`);
  }
  if (endpoints.length === 0 && resolution.startsWith('DNS')) {
    spec.hosts.forEach((one, index) => {
      if (!isDnsName(one))
        invalidAt(
          placeAt(place, 'hosts', index),
          `resolution ${resolution} needs endpoints, or hosts that are names of DNS without a wildcard`,
        );
    });
  }
  const names = new Set((spec.ports ?? []).map(({ name }) => name));
  endpoints.forEach((one, index) => checkEndpoint(one, resolution, names, placeAt(at, index)));
}
