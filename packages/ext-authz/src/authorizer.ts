import type { CheckRequest, CustomAuthorizer, GrpcAuthorizerOptions, GrpcRoute } from '@enmesh/core/custom';
import { Client, Metadata, type ChannelOptions } from '@grpc/grpc-js';
import { checkMessageOf } from './check-message.js';
import { checkMethod, type CheckResponse } from './messages.js';
import { outcomeOf } from './outcome.js';
import { RouteCredentials, targetOf } from './route-credentials.js';

/** What an authorizer may answer with, as the HTTP form. */
const maxAnswerBytes = 1024 * 1024;

const channelOptions: ChannelOptions = {
  // Neither a proxy nor a DNS record has a say in how an authorizer is reached.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // A retried check could be asked twice of an authorizer that counts.
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': maxAnswerBytes,
  // An authorizer that comes back is found soon: until then every request is refused.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
};

/**
 * The check of `envoyExtAuthzGrpc` (istio-semantics 3.13): `envoy.service.auth.v3.Authorization/Check` with the provider's timeout as deadline.
 * Its connections live until configuration or identity change; those of before then finish what they carry.
 */
export function createGrpcAuthorizer({ provider, route }: GrpcAuthorizerOptions): CustomAuthorizer {
  let current: { readonly route: GrpcRoute; readonly client: Client } | undefined;
  const clientOf = (): Client => {
    const now = route();
    if (current?.route === now) return current.client;
    current?.client.close();
    const host = provider.service.slice(provider.service.indexOf('/') + 1);
    const options = { ...channelOptions, 'grpc.default_authority': `${host}:${provider.port}` };
    current = { route: now, client: new Client(targetOf(now), new RouteCredentials(now), options) };
    return current.client;
  };
  return {
    check: (request, signal) => ask(clientOf(), request, provider, signal).then(outcomeOf),
    close() {
      current?.client.close();
      current = undefined;
    },
  };
}

function ask(
  client: Client,
  request: CheckRequest,
  provider: GrpcAuthorizerOptions['provider'],
  signal: AbortSignal,
): Promise<CheckResponse> {
  return new Promise((done, fail) => {
    const { path, requestSerialize, responseDeserialize } = checkMethod;
    const call = client.makeUnaryRequest(
      path,
      requestSerialize as (message: object) => Buffer,
      responseDeserialize as (bytes: Buffer) => CheckResponse,
      checkMessageOf(request, provider),
      new Metadata(),
      { deadline: Date.now() + provider.timeoutMs },
      (error, response) => {
        signal.removeEventListener('abort', onAbort);
        if (error !== null) fail(error);
        else if (response === undefined) fail(new Error('no response'));
        else done(response);
      },
    );
    const onAbort = (): void => call.cancel();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
