import { judgeIn, type ReadWorld, type ReferenceRequest, type ReferenceVerdict } from './linear.js';
import type { ReferenceConnection } from './peer-authentication.js';
import type { Document } from './world.js';

/** What an authorizer answers, before anybody has read it. HTTP by its lines, gRPC by the fields of a CheckResponse; `fails` for one that is not heard. */
export type CustomAnswer =
  | { readonly fails: true }
  | {
      readonly http: { readonly status: number; readonly headers: readonly (readonly [string, string])[]; readonly body: string };
    }
  | {
      readonly grpc: {
        readonly code: number;
        readonly denied?: { readonly status: number; readonly body: string };
        readonly isError?: boolean;
        readonly set: readonly { readonly name: string; readonly value: string; readonly appends: boolean }[];
        readonly remove: readonly string[];
      };
    };

/** What MeshConfig says of the one provider that policies name. */
export interface CustomProvider {
  readonly failOpen: boolean;
  readonly statusOnError: number;
  /** Names, `p*` or `*s`, in lower case. */
  readonly toUpstream: readonly string[];
}

interface Policy {
  readonly action?: string;
  readonly provider?: { readonly name?: string };
}

const isListed = (name: string, list: readonly string[]): boolean =>
  list.some((one) =>
    one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one.startsWith('*') ? name.endsWith(one.slice(1)) : name === one,
  );

type Lines = [string, string][];

/** The request as the authorizer leaves it (3.13): its lines in the place of the client's or behind them, then what it takes away. */
function changed(request: ReferenceRequest, answer: CustomAnswer, { toUpstream }: CustomProvider): ReferenceRequest {
  let headers: Lines = request.headers.map(([name, value]) => [name, value]);
  const of = (name: string): string[] => headers.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value);
  const put = (name: string, value: string): void => {
    headers = [...headers.filter(([one]) => one.toLowerCase() !== name), [name, value]];
  };
  let gone: readonly string[] = [];
  if ('http' in answer) {
    const lines = answer.http.headers;
    gone = lines.filter(([name]) => name === 'x-envoy-auth-headers-to-remove').flatMap(([, value]) => value.split(','));
    for (const name of new Set(lines.map(([one]) => one)))
      if (isListed(name, toUpstream) && name !== 'x-envoy-auth-headers-to-remove')
        put(name, lines.flatMap(([one, value]) => (one === name ? [value] : [])).join(', '));
  } else if ('grpc' in answer) {
    gone = answer.grpc.remove;
    for (const { name, value, appends } of answer.grpc.set) if (!appends) put(name, value);
    for (const { name, value, appends } of answer.grpc.set)
      if (appends && of(name).length > 0) put(name, [...of(name), value].join(','));
  }
  const away = new Set(gone.map((name) => name.trim().toLowerCase()));
  return { ...request, headers: headers.filter(([name]) => !away.has(name.toLowerCase())) };
}

/**
 * Judges a request in a world with CUSTOM policies of one provider: whether one of them matches, what becomes of its answer, and what the other
 * policies say of the request that it leaves. `provider` is undefined where no provider of the name is configured.
 */
export function judgeWithCustom(
  world: ReadWorld,
  connection: ReferenceConnection,
  request: ReferenceRequest,
  asked: { readonly provider: CustomProvider | undefined; readonly answer: CustomAnswer },
): ReferenceVerdict {
  const isCustom = ({ spec }: Document<never>): boolean => (spec as Policy).action === 'CUSTOM';
  const rest = world.documents.filter((document) => !isCustom(document));
  const now = Date.now();
  const policies = world.documents
    .filter(isCustom)
    .map((one) => ({ ...one, spec: { ...(one.spec as object), action: 'DENY' } as never }));
  const modes = rest.filter(({ kind }) => kind === 'PeerAuthentication');
  const match = judgeIn({ ...world, documents: [...modes, ...policies] }, connection, request, now, true);
  const others = (left: ReferenceRequest): ReferenceVerdict =>
    judgeIn({ ...world, documents: rest }, connection, left, now, true);
  if (match.outcome === 'allowed') return others(request);
  if (match.status !== 403) return match;
  const { provider, answer } = asked;
  const denial = (status: number, body: string): ReferenceVerdict => {
    const { policy, rule } = match;
    return { outcome: 'denied', status, body, ...(policy !== undefined && { policy }), ...(rule !== undefined && { rule }) };
  };
  if (provider === undefined) return denial(403, 'RBAC: access denied');
  const failed =
    'fails' in answer || ('http' in answer && answer.http.status >= 500) || ('grpc' in answer && answer.grpc.isError === true);
  if (failed) return provider.failOpen ? others(request) : denial(provider.statusOnError, '');
  if ('http' in answer && answer.http.status !== 200) return denial(answer.http.status, answer.http.body);
  if ('grpc' in answer && answer.grpc.code !== 0)
    return denial(answer.grpc.denied?.status ?? 403, answer.grpc.denied?.body ?? '');
  return others(changed(request, answer, provider));
}
