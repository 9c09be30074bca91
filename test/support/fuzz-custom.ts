import type { CustomAuthorizer } from '@enmesh/core/custom';
import { createHttpAuthorizer } from '../../packages/core/src/custom/http-check.js';
import { outcomeOf } from '../../packages/ext-authz/src/outcome.js';
import type { CheckResponse, HeaderValueOption } from '../../packages/ext-authz/src/messages.js';
import type { CustomAnswer, CustomProvider } from '../reference/custom.js';
import type { Dice } from '../reference/random-values.js';
import type { RawDocument } from './fuzz-world.js';

/** A world with CUSTOM policies: the provider as MeshConfig has it, and what the reference must know of it. */
export interface CustomWorld {
  readonly kind: 'http' | 'grpc';
  readonly mesh: object;
  readonly documents: readonly RawDocument[];
  /** Undefined where policies name another provider than MeshConfig does. */
  readonly provider: CustomProvider | undefined;
}

const names = ['x-a', 'x-b', 'x-ab', 'y'];
const values = ['1', '2', 'one', ''];

const aRule = (dice: Dice): object => {
  const to = dice.isOneIn(2) ? { to: [{ operation: { paths: [dice.pick(['/a*', '/b', '*/c', '/'])] } }] } : {};
  const method = dice.isOneIn(4) ? { to: [{ operation: { methods: [dice.pick(['GET', 'POST'])] } }] } : {};
  const key = `request.headers[${dice.pick(names)}]`;
  const when = dice.isOneIn(2)
    ? { when: [{ key, [dice.isOneIn(3) ? 'notValues' : 'values']: [dice.pick(['1', '2', 'on*', '*', '*2'])] }] }
    : {};
  return { ...to, ...method, ...when };
};

/** A world of one to three CUSTOM policies among ALLOW and DENY, and one provider. */
export function makeCustomWorld(dice: Dice): CustomWorld {
  const kind = dice.pick(['http', 'grpc'] as const);
  const isKnown = !dice.isOneIn(8);
  const provider = {
    failOpen: dice.isOneIn(3),
    statusOnError: dice.pick([403, 403, 503, 404]),
    toUpstream: kind === 'http' ? dice.list(0, 3, () => dice.pick(['x-a', 'x-*', '*b', 'y', 'x-ab'])) : [],
  };
  const common = {
    ...{ service: 'authz.shop.svc.cluster.local', port: 9000, failOpen: provider.failOpen },
    ...(provider.statusOnError === 403 && dice.isOneIn(2) ? {} : { statusOnError: String(provider.statusOnError) }),
  };
  const fields =
    kind === 'http'
      ? { envoyExtAuthzHttp: { ...common, headersToUpstreamOnAllow: provider.toUpstream } }
      : { envoyExtAuthzGrpc: common };
  const policy = (action: string, index: number): RawDocument => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `${action.toLowerCase()}-${index}`, namespace: dice.isOneIn(4) ? 'istio-system' : 'shop' },
    spec: {
      action,
      ...(action === 'CUSTOM' && { provider: { name: isKnown ? 'authz' : 'another' } }),
      rules: dice.list(1, 2, () => aRule(dice)),
    },
  });
  const documents = [
    ...Array.from({ length: 1 + dice.below(3) }, (_, index) => policy('CUSTOM', index)),
    ...Array.from({ length: dice.below(3) }, (_, index) => policy(dice.pick(['ALLOW', 'DENY']), index + 10)),
  ];
  return {
    kind,
    mesh: { extensionProviders: [{ name: 'authz', ...fields }] },
    documents,
    provider: isKnown ? provider : undefined,
  };
}

/** What the authorizer of a world says: allows, denies, changes headers, errs, or is not heard. */
export function makeAnswer(dice: Dice, kind: 'http' | 'grpc'): CustomAnswer {
  if (dice.isOneIn(6)) return { fails: true };
  const name = (): string => dice.pick(names);
  if (kind === 'http') {
    const headers = dice.list(0, 3, () => [name(), dice.pick(values)] as const);
    const remove = dice.isOneIn(3) ? [['x-envoy-auth-headers-to-remove', dice.list(1, 2, name).join(' , ')] as const] : [];
    const status = dice.pick([200, 200, 200, 401, 403, 302, 404, 500, 503]);
    return { http: { status, headers: [...headers, ...remove], body: status === 200 ? '' : dice.pick(['', 'no', 'é']) } };
  }
  const code = dice.pick([0, 0, 0, 7, 16]);
  return {
    grpc: {
      code,
      ...(code !== 0 && dice.isOneIn(2) && { denied: { status: dice.pick([401, 403, 429]), body: dice.pick(['', 'no']) } }),
      ...(code !== 0 && dice.isOneIn(5) && { isError: true }),
      set: dice.list(0, 3, () => ({ name: name(), value: dice.pick(['1', '2', 'one']), appends: dice.isOneIn(2) })),
      remove: dice.isOneIn(3) ? dice.list(1, 2, name) : [],
    },
  };
}

const option = (name: string, value: string, appends: boolean): HeaderValueOption => ({
  header: { key: name, value, raw_value: Buffer.of() },
  append: { value: appends },
  append_action: 0,
});

/** The authorizer that the door asks: what it says goes through the readers of HTTP and gRPC answers that the packages have. */
export function authorizerSaying(answer: CustomAnswer, provider: { readonly kind: string }): CustomAuthorizer {
  const check = async (): Promise<ReturnType<typeof outcomeOf>> => {
    if (!('grpc' in answer)) throw new Error('not heard');
    const { code, denied, isError, set, remove } = answer.grpc;
    const response: CheckResponse = {
      status: { code },
      denied_response: denied ? { status: { code: denied.status }, headers: [], body: denied.body } : null,
      error_response: isError === true ? { status: null, headers: [], body: '' } : null,
      ok_response: {
        headers: set.map(({ name, value, appends }) => option(name, value, appends)),
        headers_to_remove: remove,
        response_headers_to_add: [],
        query_parameters_to_set: [],
        query_parameters_to_remove: [],
      },
    };
    return outcomeOf(response);
  };
  if (provider.kind !== 'http') return { check, close() {} };
  return createHttpAuthorizer(provider as never, async () => {
    if (!('http' in answer)) throw new Error('not heard');
    const { status, headers, body } = answer.http;
    return { status, headers, body: Buffer.from(body) };
  });
}
