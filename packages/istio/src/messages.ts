import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';

const field = (type: string, id: number): object => ({ type, id });

const auth = {
  IstioCertificateService: {
    methods: { CreateCertificate: { requestType: 'IstioCertificateRequest', responseType: 'IstioCertificateResponse' } },
  },
  IstioCertificateRequest: {
    fields: { csr: field('string', 1), validity_duration: field('int64', 3), metadata: field('.google.protobuf.Struct', 4) },
  },
  IstioCertificateResponse: { fields: { cert_chain: { rule: 'repeated', type: 'string', id: 1 } } },
};

/** Of google.protobuf.Struct only text values are ever sent. */
const protobuf = {
  Struct: { fields: { fields: { keyType: 'string', type: 'Value', id: 1 } } },
  Value: { fields: { string_value: field('string', 3) } },
};

const descriptor = {
  nested: {
    istio: { nested: { v1: { nested: { auth: { nested: auth } } } } },
    google: { nested: { protobuf: { nested: protobuf } } },
  },
};

/** What is asked for: a CSR in PEM, for so many seconds (0 leaves it to the CA). */
export interface CertificateRequest {
  readonly csr: string;
  readonly validity_duration: number;
  readonly metadata?: { readonly fields: Readonly<Record<string, { readonly string_value: string }>> };
}

/** PEM texts: the leaf, intermediates, and the roots in the last. */
export interface CertificateResponse {
  readonly cert_chain: readonly string[];
}

// keepCase: otherwise a field in snake_case would be dropped without a word.
const definition = fromJSON(descriptor as unknown as Parameters<typeof fromJSON>[0], {
  keepCase: true,
  longs: Number,
  defaults: true,
  arrays: true,
});

/** `istio.v1.auth.IstioCertificateService`, by which a test can also serve it. */
export const certificateService = definition['istio.v1.auth.IstioCertificateService'] as ServiceDefinition;

/** `/istio.v1.auth.IstioCertificateService/CreateCertificate` with its serializers. */
export const createCertificateMethod = certificateService['CreateCertificate']!;
