import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';

const field = (type: string, id: number): object => ({ type, id });
const listOf = (type: string, id: number): object => ({ rule: 'repeated', type, id });
const mapOf = (type: string, id: number): object => ({ keyType: 'string', type, id });
const headerValueOption = '.envoy.config.core.v3.HeaderValueOption';
const httpStatus = '.envoy.type.v3.HttpStatus';

/** What of envoy.service.auth.v3 a check needs, by name and number as Envoy defines them; fields left out are passed over by the decoder. */
const auth = {
  Authorization: { methods: { Check: { requestType: 'CheckRequest', responseType: 'CheckResponse' } } },
  CheckRequest: { fields: { attributes: field('AttributeContext', 1) } },
  AttributeContext: {
    fields: {
      source: field('Peer', 1),
      destination: field('Peer', 2),
      request: field('Request', 4),
      tls_session: field('TLSSession', 12),
    },
    nested: {
      Peer: { fields: { address: field('.envoy.config.core.v3.Address', 1), principal: field('string', 4) } },
      Request: { fields: { time: field('.google.protobuf.Timestamp', 1), http: field('HttpRequest', 2) } },
      TLSSession: { fields: { sni: field('string', 1) } },
      HttpRequest: {
        fields: {
          id: field('string', 1),
          method: field('string', 2),
          headers: mapOf('string', 3),
          path: field('string', 4),
          host: field('string', 5),
          scheme: field('string', 6),
          size: field('int64', 9),
          protocol: field('string', 10),
          body: field('string', 11),
          raw_body: field('bytes', 12),
        },
      },
    },
  },
  CheckResponse: {
    oneofs: { http_response: { oneof: ['denied_response', 'ok_response', 'error_response'] } },
    fields: {
      status: field('.google.rpc.Status', 1),
      denied_response: field('DeniedHttpResponse', 2),
      ok_response: field('OkHttpResponse', 3),
      error_response: field('DeniedHttpResponse', 5),
    },
  },
  DeniedHttpResponse: {
    fields: { status: field(httpStatus, 1), headers: listOf(headerValueOption, 2), body: field('string', 3) },
  },
  OkHttpResponse: {
    fields: {
      headers: listOf(headerValueOption, 2),
      headers_to_remove: listOf('string', 5),
      response_headers_to_add: listOf(headerValueOption, 6),
      query_parameters_to_set: listOf('.envoy.config.core.v3.QueryParameter', 7),
      query_parameters_to_remove: listOf('string', 8),
    },
  },
};

const core = {
  Address: { fields: { socket_address: field('SocketAddress', 1) } },
  SocketAddress: { fields: { address: field('string', 2), port_value: field('uint32', 3) } },
  HeaderValue: { fields: { key: field('string', 1), value: field('string', 2), raw_value: field('bytes', 3) } },
  HeaderValueOption: {
    fields: {
      header: field('HeaderValue', 1),
      append: field('.google.protobuf.BoolValue', 2),
      append_action: field('int32', 3),
    },
  },
  QueryParameter: { fields: { key: field('string', 1), value: field('string', 2) } },
};

const under = (path: string, nested: object): object =>
  path
    .split('.')
    .reverse()
    .reduce((inner, name) => ({ [name]: { nested: inner } }), nested);

const descriptor = {
  nested: {
    envoy: {
      nested: {
        ...under('service.auth.v3', auth),
        ...under('config.core.v3', core),
        ...under('type.v3', { HttpStatus: { fields: { code: field('int32', 1) } } }),
      },
    },
    google: {
      nested: {
        rpc: { nested: { Status: { fields: { code: field('int32', 1), message: field('string', 2) } } } },
        protobuf: {
          nested: {
            BoolValue: { fields: { value: field('bool', 1) } },
            Timestamp: { fields: { seconds: field('int64', 1), nanos: field('int32', 2) } },
          },
        },
      },
    },
  },
};

/** A header as an authorizer sends it. `append` decides how it is written, as in Envoy; `append_action` is read by nobody. */
export interface HeaderValueOption {
  readonly header: { readonly key: string; readonly value: string; readonly raw_value: Buffer } | null;
  readonly append: { readonly value: boolean } | null;
  readonly append_action: number;
}

/** A denial, or an error, in the terms of HTTP. */
export interface DeniedResponse {
  readonly status: { readonly code: number } | null;
  readonly headers: readonly HeaderValueOption[];
  readonly body: string;
}

/** envoy.service.auth.v3.CheckResponse as decoded; what is not on the wire is null, empty or 0. */
export interface CheckResponse {
  readonly status: { readonly code: number } | null;
  readonly denied_response?: DeniedResponse | null;
  readonly error_response?: DeniedResponse | null;
  readonly ok_response?: {
    readonly headers: readonly HeaderValueOption[];
    readonly headers_to_remove: readonly string[];
    readonly response_headers_to_add: readonly HeaderValueOption[];
    readonly query_parameters_to_set: readonly { readonly key: string; readonly value: string }[];
    readonly query_parameters_to_remove: readonly string[];
  } | null;
}

const definition = fromJSON(descriptor as unknown as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  defaults: true,
  arrays: true,
  oneofs: false,
});

/** `/envoy.service.auth.v3.Authorization/Check` with its serializers. */
export const checkMethod = (definition['envoy.service.auth.v3.Authorization'] as ServiceDefinition)['Check']!;
