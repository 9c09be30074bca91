import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';

const field = (type: string, id: number): object => ({ type, id });

/** Istio's certificate service (security/v1alpha1/ca.proto), by name and number; of a Struct's values only texts are read. */
const descriptor = {
  nested: {
    istio: {
      nested: {
        v1: {
          nested: {
            auth: {
              nested: {
                IstioCertificateService: {
                  methods: {
                    CreateCertificate: { requestType: 'IstioCertificateRequest', responseType: 'IstioCertificateResponse' },
                  },
                },
                IstioCertificateRequest: {
                  fields: {
                    csr: field('string', 1),
                    validity_duration: field('int64', 3),
                    metadata: field('.google.protobuf.Struct', 4),
                  },
                },
                IstioCertificateResponse: { fields: { cert_chain: { rule: 'repeated', type: 'string', id: 1 } } },
              },
            },
          },
        },
      },
    },
    google: {
      nested: {
        protobuf: {
          nested: {
            Struct: { fields: { fields: { keyType: 'string', type: 'Value', id: 1 } } },
            Value: { fields: { string_value: field('string', 3) } },
          },
        },
      },
    },
  },
};

/** istio.v1.auth.IstioCertificateRequest as decoded; what is not on the wire is empty, 0 or null. */
export interface CertificateRequestMessage {
  readonly csr: string;
  /** Seconds. */
  readonly validity_duration: number;
  readonly metadata: { readonly fields: Readonly<Record<string, { readonly string_value: string }>> } | null;
}

/** istio.v1.auth.IstioCertificateResponse: the leaf first, the trusted roots in the last element. */
export interface CertificateResponseMessage {
  readonly cert_chain: readonly string[];
}

const definition = fromJSON(descriptor as unknown as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  defaults: true,
  arrays: true,
  objects: true,
});

/** `istio.v1.auth.IstioCertificateService` with its one method. */
export const certificateService = definition['istio.v1.auth.IstioCertificateService'] as ServiceDefinition;
