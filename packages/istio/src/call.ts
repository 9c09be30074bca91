import { ChannelCredentials, Client, Metadata, type ChannelOptions } from '@grpc/grpc-js';
import { createCertificateMethod, type CertificateRequest, type CertificateResponse } from './messages.js';
import type { Proof } from './proofs.js';
import type { IstioSettings } from './settings.js';

/** One call of CreateCertificate. */
export interface CaCall {
  readonly settings: IstioSettings;
  readonly request: CertificateRequest;
  readonly proof: Proof;
  /** PEM; undefined for the roots of the system. */
  readonly roots: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

const channelOptions: ChannelOptions = {
  // Neither a proxy nor a DNS record has a say in who signs our identity, and a call that is made again is made again by us.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': 256 * 1024,
  'grpc.max_send_message_length': 64 * 1024,
};

/**
 * Asks the CA for a certificate over a connection of its own, so that each call sees the present roots and proof, and a connection that failed is never
 * used again. Rejects with grpc-js' ServiceError.
 */
export function callCa(call: CaCall): Promise<readonly string[]> {
  const { settings, proof, signal } = call;
  const { key, chain } = proof.certificate ?? {};
  const credentials = ChannelCredentials.createSsl(
    call.roots === undefined ? null : Buffer.from(call.roots),
    key === undefined ? null : Buffer.from(key.export({ type: 'pkcs8', format: 'pem' })),
    chain === undefined ? null : Buffer.from(chain),
    { rejectUnauthorized: true },
  );
  const client = new Client(targetOf(settings), credentials, { ...channelOptions, ...nameOptions(settings) });
  return new Promise<CertificateResponse>((done, fail) => {
    const { path, requestSerialize, responseDeserialize } = createCertificateMethod;
    const pending = client.makeUnaryRequest(
      path,
      requestSerialize as (message: CertificateRequest) => Buffer,
      responseDeserialize as (bytes: Buffer) => CertificateResponse,
      call.request,
      metadataOf(settings, proof),
      { deadline: Date.now() + call.timeoutMs },
      (error, response) => {
        signal.removeEventListener('abort', onAbort);
        if (error !== null) fail(error);
        else if (response === undefined) fail(new Error('no response'));
        else done(response);
      },
    );
    const onAbort = (): void => pending.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  })
    .then(({ cert_chain: chain }) => chain)
    .finally(() => client.close());
}

function metadataOf({ headers }: IstioSettings, { token }: Proof): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

function targetOf({ host, port }: IstioSettings): string {
  return host.includes(':') ? `ipv6:[${host}]:${port}` : `dns:///${host}:${port}`;
}

/** The name to be proved, where it is another than the one that is dialled. */
function nameOptions({ serverName, host, port }: IstioSettings): ChannelOptions {
  return serverName === host
    ? {}
    : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': `${serverName}:${port}` };
}
