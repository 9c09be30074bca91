import type { CheckRequest, CustomAuthorizer, GrpcAuthorizerOptions } from '@enmesh/core/custom';
import { createRouteConnection } from '@enmesh/core/grpc';
import * as grpc from '@grpc/grpc-js';
import { checkMessageOf } from './check-message.js';
import { checkMethod, type CheckResponse } from './messages.js';
import { outcomeOf } from './outcome.js';

/** What an authorizer may answer with, as the HTTP form. */
const maxAnswerBytes = 1024 * 1024;

const channelOptions: grpc.ChannelOptions = {
  // A retried check could be asked twice of an authorizer that counts.
  'grpc.enable_retries': 0,
  'grpc.max_receive_message_length': maxAnswerBytes,
  // An authorizer that comes back is found soon: until then every request is refused.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
};

/**
 * The check of `envoyExtAuthzGrpc` (istio-semantics 3.13): `envoy.service.auth.v3.Authorization/Check` with the provider's timeout as deadline.
 * Its connections live until configuration, identity or trust bundles change, or the certificate of the authorizer ends; those of before then finish what they
 * carry, for 15 s at most where the authorizer is no longer trusted.
 */
export function createGrpcAuthorizer({ provider, route, watch }: GrpcAuthorizerOptions): CustomAuthorizer {
  const host = provider.service.slice(provider.service.indexOf('/') + 1);
  const { target, credentials, options } = createRouteConnection(grpc, `${host}:${provider.port}`, route, watch);
  const client = new grpc.Client(target, credentials, { ...channelOptions, ...options });
  return {
    check: (request, signal) => ask(client, request, provider, signal).then(outcomeOf),
    close: () => client.close(),
  };
}

function ask(
  client: grpc.Client,
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
      new grpc.Metadata(),
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
