import type { MaterialFiles } from './authority.js';

/** One listener of an Envoy that stands for the sidecar of a server, with the chains that Istio makes for an HTTP port. */
export interface InboundListener {
  readonly port: number;
  readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
  readonly files: MaterialFiles;
  /** The trust domains whose peers it takes. */
  readonly trustDomains: readonly string[];
  /** `TLSv1_2` or `TLSv1_3` only; both without. */
  readonly only?: 'TLSv1_2' | 'TLSv1_3';
  /** Before `h2, http/1.1` in what the server answers: metadata exchange, as on ports whose protocol is not known. */
  readonly isPeerExchange?: boolean;
}

/** One cluster of an Envoy that stands for the sidecar of a client. */
export interface OutboundCluster {
  readonly name: string;
  readonly port: number;
  /** Connections are used again; else each request has a handshake of its own. */
  readonly isKept?: boolean;
  /** Absent: plaintext. */
  readonly tls?: {
    /** Absent: no client certificate. */
    readonly files?: MaterialFiles;
    readonly roots: string;
    /** Identities that the service may have. */
    readonly expected: readonly string[];
    readonly alpn: readonly string[];
    readonly sni: string;
    readonly only?: 'TLSv1_2' | 'TLSv1_3';
  };
}

const type = (name: string): { '@type': string } => ({ '@type': `type.googleapis.com/${name}` });
const transportSocket = 'envoy.extensions.transport_sockets.tls.v3';
const address = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } });
const istioAlpn = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'];
const certificates = (files: MaterialFiles | undefined): object =>
  files === undefined
    ? {}
    : { tls_certificates: [{ certificate_chain: { filename: files.cert }, private_key: { filename: files.key } }] };
const version = (only: string | undefined): object => ({
  tls_params: { tls_minimum_protocol_version: only ?? 'TLSv1_2', tls_maximum_protocol_version: only ?? 'TLSv1_3' },
});
const uriSan = (matcher: object): object => ({ san_type: 'URI', matcher });

/** A bootstrap: inbound listeners in front of `applicationPort`, one outbound listener whose header `x-cluster` chooses the cluster. */
export function envoyBootstrap(o: {
  readonly inbound: readonly InboundListener[];
  readonly applicationPort: number;
  readonly outboundPort: number;
  readonly clusters: readonly OutboundCluster[];
}): object {
  return {
    admin: { address: address(0) },
    static_resources: {
      listeners: [...o.inbound.map(inboundListener), outboundListener(o.outboundPort)],
      clusters: [{ name: 'application', ...clusterBase(o.applicationPort, 'application') }, ...o.clusters.map(outboundCluster)],
    },
  };
}

function inboundListener(listener: InboundListener): object {
  const { mode, port } = listener;
  const tlsMatch = { transport_protocol: 'tls', ...(mode === 'PERMISSIVE' ? { application_protocols: istioAlpn } : {}) };
  const http = [connectionManager('inbound', { cluster: 'application' }, { forward_client_cert_details: 'APPEND_FORWARD' })];
  return {
    name: `inbound-${port}`,
    address: address(port),
    listener_filters: [
      {
        name: 'envoy.filters.listener.tls_inspector',
        typed_config: type('envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector'),
      },
    ],
    filter_chains: [
      ...(mode === 'DISABLE'
        ? []
        : [{ name: 'tls', filter_chain_match: tlsMatch, filters: http, transport_socket: downstreamTls(listener) }]),
      ...(mode === 'STRICT' ? [] : [{ name: 'plain', filter_chain_match: { transport_protocol: 'raw_buffer' }, filters: http }]),
    ],
  };
}

function downstreamTls({ files, trustDomains, only, isPeerExchange }: InboundListener): object {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      ...type(`${transportSocket}.DownstreamTlsContext`),
      require_client_certificate: true,
      common_tls_context: {
        ...certificates(files),
        ...version(only),
        alpn_protocols: [...(isPeerExchange === true ? ['istio-peer-exchange'] : []), 'h2', 'http/1.1'],
        validation_context: {
          trusted_ca: { filename: files.roots },
          match_typed_subject_alt_names: trustDomains.map((name) => uriSan({ prefix: `spiffe://${name}/` })),
        },
      },
    },
  };
}

function outboundListener(port: number): object {
  return {
    name: 'outbound',
    address: address(port),
    filter_chains: [{ filters: [connectionManager('outbound', { cluster_header: 'x-cluster' }, {})] }],
  };
}

function connectionManager(name: string, route: object, more: object): object {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      ...type('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
      stat_prefix: name,
      ...more,
      ...('forward_client_cert_details' in more
        ? { set_current_client_cert_details: { subject: true, uri: true, dns: true } }
        : {}),
      route_config: { virtual_hosts: [{ name, domains: ['*'], routes: [{ match: { prefix: '/' }, route }] }] },
      http_filters: [{ name: 'envoy.filters.http.router', typed_config: type('envoy.extensions.filters.http.router.v3.Router') }],
    },
  };
}

const clusterBase = (port: number, name: string): object => ({
  type: 'STATIC',
  connect_timeout: '5s',
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: address(port) } }] }] },
});

function outboundCluster({ name, port, tls, isKept = false }: OutboundCluster): object {
  const base = { name, ...clusterBase(port, name) };
  if (tls === undefined) return base;
  return {
    ...base,
    typed_extension_protocol_options: protocolOptions(
      tls.alpn.at(-1) === 'h2' ? 'http2_protocol_options' : 'http_protocol_options',
      isKept,
    ),
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        ...type(`${transportSocket}.UpstreamTlsContext`),
        sni: tls.sni,
        common_tls_context: {
          ...certificates(tls.files),
          ...version(tls.only),
          alpn_protocols: tls.alpn,
          validation_context: {
            trusted_ca: { filename: tls.roots },
            match_typed_subject_alt_names: tls.expected.map((exact) => uriSan({ exact })),
          },
        },
      },
    },
  };
}

const protocolOptions = (protocol: string, isKept: boolean): object => ({
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    ...type('envoy.extensions.upstreams.http.v3.HttpProtocolOptions'),
    explicit_http_config: { [protocol]: {} },
    ...(isKept ? {} : { common_http_protocol_options: { max_requests_per_connection: 1 } }),
  },
});
