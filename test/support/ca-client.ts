import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { createCsr } from '../../packages/core/dist/x509/index.js';

// gRPC is a dependency of the packages, not of the tests' own directory.
const require = createRequire(resolve(import.meta.dirname, '../../packages/ca/package.json'));
const grpc = require('@grpc/grpc-js') as typeof import('@grpc/grpc-js');
const { fromJSON } = require('@grpc/proto-loader') as typeof import('@grpc/proto-loader');

/** gRPC's status codes. */
export const { status } = grpc;

const field = (type: string, id: number): object => ({ type, id });
const definition = fromJSON(
  {
    nested: {
      Service: { methods: { CreateCertificate: { requestType: 'Request', responseType: 'Response' } } },
      Request: {
        fields: { csr: field('string', 1), validity_duration: field('int64', 3), metadata: field('Struct', 4) },
      },
      Struct: { fields: { fields: { keyType: 'string', type: 'Value', id: 1 } } },
      Value: { fields: { string_value: field('string', 3) } },
      Response: { fields: { cert_chain: { rule: 'repeated', type: 'string', id: 1 } } },
    },
  } as unknown as Parameters<typeof fromJSON>[0],
  { keepCase: true, longs: Number, defaults: true, arrays: true },
);
const method = (
  definition['Service'] as unknown as Record<string, import('@grpc/grpc-js').MethodDefinition<object, { cert_chain: string[] }>>
)['CreateCertificate']!;

const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate';

/** One call of CreateCertificate. */
export interface CaCall {
  readonly port: number;
  /** PEM of the roots that the server is believed by. */
  readonly roots: string;
  readonly token?: string;
  /** A client certificate with its key. */
  readonly certificate?: { readonly chain: string; readonly key: KeyObject };
  /** Default: a good request for `uriSan` with a new key. */
  readonly csr?: string;
  readonly uriSan?: string;
  readonly key?: KeyObject;
  readonly validitySeconds?: number;
  readonly impersonate?: string;
  readonly serverName?: string;
}

/** What a call came to: a chain with the key that was asked for, or gRPC's code and details. */
export interface CaAnswer {
  readonly code: number;
  readonly details: string;
  readonly chain: readonly string[];
  readonly key: KeyObject;
}

/** Calls CreateCertificate once, on a connection of its own, without any retry. */
export async function callCa(o: CaCall): Promise<CaAnswer> {
  const key = o.key ?? generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const csr = o.csr ?? (await createCsr({ key, uriSan: o.uriSan ?? 'spiffe://cluster.local/ns/shop/sa/gateway' }));
  const pair = o.certificate && {
    key: Buffer.from(o.certificate.key.export({ type: 'pkcs8', format: 'pem' })),
    chain: Buffer.from(o.certificate.chain),
  };
  const credentials = grpc.credentials.createSsl(Buffer.from(o.roots), pair?.key ?? null, pair?.chain ?? null);
  const client = new grpc.Client(`127.0.0.1:${o.port}`, credentials, {
    'grpc.ssl_target_name_override': o.serverName ?? 'istiod.istio-system.svc',
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': 0,
  });
  const metadata = new grpc.Metadata();
  if (o.token !== undefined) metadata.set('authorization', `Bearer ${o.token}`);
  const fields = o.impersonate === undefined ? {} : { ImpersonatedIdentity: { string_value: o.impersonate } };
  const request = { csr, validity_duration: o.validitySeconds ?? 0, metadata: { fields } };
  try {
    return await new Promise((done) => {
      client.makeUnaryRequest(
        path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadata,
        { deadline: Date.now() + 40_000 },
        (error, response) =>
          done({ code: error?.code ?? 0, details: error?.details ?? '', chain: response?.cert_chain ?? [], key }),
      );
    });
  } finally {
    client.close();
  }
}
