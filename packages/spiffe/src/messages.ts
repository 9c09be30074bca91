import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';

const field = (type: string, id: number): object => ({ type, id });
const listOf = (type: string, id: number): object => ({ rule: 'repeated', type, id });
const mapOf = (type: string, id: number): object => ({ keyType: 'string', type, id });

/** The SPIFFE Workload API by name and number (it has no proto package); fields left out are passed over by the decoder. */
const descriptor = {
  nested: {
    SpiffeWorkloadAPI: {
      methods: {
        FetchX509SVID: { requestType: 'X509SVIDRequest', responseType: 'X509SVIDResponse', responseStream: true },
        FetchJWTSVID: { requestType: 'JWTSVIDRequest', responseType: 'JWTSVIDResponse' },
        FetchJWTBundles: { requestType: 'JWTBundlesRequest', responseType: 'JWTBundlesResponse', responseStream: true },
        ValidateJWTSVID: { requestType: 'ValidateJWTSVIDRequest', responseType: 'ValidateJWTSVIDResponse' },
      },
    },
    X509SVIDRequest: { fields: {} },
    X509SVIDResponse: {
      fields: { svids: listOf('X509SVID', 1), crl: listOf('bytes', 2), federated_bundles: mapOf('bytes', 3) },
    },
    X509SVID: {
      fields: {
        spiffe_id: field('string', 1),
        x509_svid: field('bytes', 2),
        x509_svid_key: field('bytes', 3),
        bundle: field('bytes', 4),
        hint: field('string', 5),
      },
    },
    JWTSVIDRequest: { fields: { audience: listOf('string', 1), spiffe_id: field('string', 2) } },
    JWTSVIDResponse: { fields: { svids: listOf('JWTSVID', 1) } },
    JWTSVID: { fields: { spiffe_id: field('string', 1), svid: field('string', 2), hint: field('string', 3) } },
    JWTBundlesRequest: { fields: {} },
    JWTBundlesResponse: { fields: { bundles: mapOf('bytes', 1) } },
    ValidateJWTSVIDRequest: { fields: { audience: field('string', 1), svid: field('string', 2) } },
    ValidateJWTSVIDResponse: { fields: { spiffe_id: field('string', 1), claims: field('google.protobuf.Struct', 2) } },
    google: {
      nested: {
        protobuf: {
          nested: {
            Struct: { fields: { fields: mapOf('Value', 1) } },
            Value: {
              oneofs: {
                kind: { oneof: ['null_value', 'number_value', 'string_value', 'bool_value', 'struct_value', 'list_value'] },
              },
              fields: {
                null_value: field('int32', 1),
                number_value: field('double', 2),
                string_value: field('string', 3),
                bool_value: field('bool', 4),
                struct_value: field('Struct', 5),
                list_value: field('ListValue', 6),
              },
            },
            ListValue: { fields: { values: listOf('Value', 1) } },
          },
        },
      },
    },
  },
};

/** One identity of the workload as the Workload API sends it; what is not on the wire is empty. */
export interface X509SvidMessage {
  readonly spiffe_id: string;
  /** Concatenated DER, leaf first. */
  readonly x509_svid: Buffer;
  /** PKCS #8 in DER. */
  readonly x509_svid_key: Buffer;
  /** Concatenated DER. */
  readonly bundle: Buffer;
  readonly hint: string;
}

/** The full state of a workload's X.509 identities. */
export interface X509SvidResponse {
  readonly svids: readonly X509SvidMessage[];
  readonly crl: readonly Buffer[];
  readonly federated_bundles: Readonly<Record<string, Buffer>>;
}

/** Tokens for one audience, one for each identity asked for. */
export interface JwtSvidResponse {
  readonly svids: readonly { readonly spiffe_id: string; readonly svid: string; readonly hint: string }[];
}

/** The full state of the keys of JWT-SVIDs: JSON Web Key Sets by trust domain. */
export interface JwtBundlesResponse {
  readonly bundles: Readonly<Record<string, Buffer>>;
}

/** google.protobuf.Value; the member `kind` names the one that is set. */
export interface ValueMessage {
  readonly kind?: 'null_value' | 'number_value' | 'string_value' | 'bool_value' | 'struct_value' | 'list_value';
  readonly number_value?: number;
  readonly string_value?: string;
  readonly bool_value?: boolean;
  readonly struct_value?: StructMessage | null;
  readonly list_value?: { readonly values: readonly ValueMessage[] } | null;
}

/** google.protobuf.Struct. */
export interface StructMessage {
  readonly fields: Readonly<Record<string, ValueMessage>>;
}

/** What the agent read out of a token that it has validated. */
export interface ValidateJwtSvidResponse {
  readonly spiffe_id: string;
  readonly claims: StructMessage | null;
}

// Without keepCase a field in snake_case would be dropped in silence from what is sent.
const definition = fromJSON(descriptor as unknown as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  defaults: true,
  arrays: true,
  objects: true,
  oneofs: true,
});

/** The methods of `SpiffeWorkloadAPI` with their serializers. */
export const workloadService = definition['SpiffeWorkloadAPI'] as ServiceDefinition;
