import { EnmeshError } from '../errors.js';
import type { RequestIdentity } from '../identity/caller.js';
import type { MeshIdentity } from '../identity/source.js';
import type { X509Svid } from '../identity/svid.js';
import {
  currentContext,
  isMeshItself,
  keepContext,
  outsideOfRequests,
  rawTokenOf,
  type InContext,
  type RequestContext,
} from '../propagation/context.js';
import type { TokenExchange } from '../propagation/exchange.js';
import { createHopMinter } from '../propagation/hop-mint.js';
import { hopHeader } from '../propagation/hop-token.js';
import { withSilenceRemembered } from '../propagation/jwt-svid-source.js';
import type { CarriedToken, PropagationPlan } from '../propagation/plan.js';
import type { ExchangeSpec } from '../propagation/resource.js';
import type { TokenNote } from '../propagation/token-note.js';
import { transactionTokenHeader } from '../propagation/transaction-token.js';
import { noticeEvents } from '../telemetry/events.js';
import { createRateLimit } from '../telemetry/rate-limit.js';
import type { HeaderLine } from './call-headers.js';
import type { Carriage } from './carriage.js';
import type { TokenFetch } from './token-fetch.js';

/** Gives calls what they carry of the user whose request is being handled. */
export interface CallTokens {
  /** The request being handled. Asked here, where the door's own copy of the storage is known, and not by the clients, which are loaded later. */
  context(): RequestContext | undefined;
  /** That request again, for what a connection tells of its call later; undefined while no request has had a context. */
  keepContext(): InContext | undefined;
  /** No request, for opening connections that calls of several use. */
  readonly outsideOfRequests: InContext;
  /**
   * The header lines of one call: none where it goes as the service alone. `svid` is the one its connections show. A promise only where an identity provider
   * is asked. Throws, or rejects with, the `ENMESH_PROPAGATION_` code of a call that cannot carry what it should: it must not be made.
   */
  headersFor(
    carriage: Carriage,
    svid: X509Svid | undefined,
    context: RequestContext | undefined,
    note?: TokenNote,
  ): readonly HeaderLine[] | Promise<readonly HeaderLine[]>;
  /** Ends the exchanges that a new configuration no longer names. */
  use(propagation: PropagationPlan): void;
  close(): void;
}

/** What {@link createCallTokens} is made of. `openExchange` is asked once per distinct `exchange` entry. */
export interface CallTokensOptions {
  readonly clock: () => number;
  readonly openExchange: (spec: ExchangeSpec) => Promise<TokenExchange>;
}

/** The usual {@link CallTokensOptions.openExchange}; its module, and oauth4webapi with it, is loaded by the first call that needs it. */
export function exchangeOpener(o: {
  readonly identity: MeshIdentity;
  readonly clock: () => number;
  readonly tokenFetch?: TokenFetch;
}): CallTokensOptions['openExchange'] {
  const { tokenFetch, clock } = o;
  // One memory for all entries: it is the same source.
  const identity = withSilenceRemembered(o.identity, { clock });
  return async (spec) => {
    const { createTokenExchange } = await import('../propagation/exchange.js');
    return createTokenExchange({ spec, identity, clock, ...tokenFetch });
  };
}

const none: readonly HeaderLine[] = [];
const noClaims: readonly string[] = [];

/** Creates what gives the calls of a mesh their tokens. */
export function createCallTokens({ clock, openExchange }: CallTokensOptions): CallTokens {
  const minter = createHopMinter({ clock });
  const exchanges = new Map<string, Promise<TokenExchange>>();
  const lonely = createRateLimit({ perSecond: 1 / 60, burst: 1, clock });
  const end = (key: string): void => {
    void exchanges.get(key)?.then(
      (exchange) => exchange.close(),
      () => {},
    );
    exchanges.delete(key);
  };
  const exchangeOf = (spec: ExchangeSpec): Promise<TokenExchange> => {
    const key = JSON.stringify(spec);
    let exchange = exchanges.get(key);
    if (exchange === undefined) {
      exchanges.set(key, (exchange = openExchange(spec)));
      // One that could not be opened is tried again by the next call.
      exchange.catch(() => exchanges.delete(key));
    }
    return exchange;
  };
  const carry = (
    carriage: Carriage,
    svid: X509Svid | undefined,
    user: RequestIdentity,
    context: RequestContext,
    note: TokenNote | undefined,
  ): HeaderLines => {
    const { audience, entry } = carriage;
    switch (entry.mode) {
      case 'HOP': {
        if (svid === undefined)
          throw new EnmeshError('ENMESH_PROPAGATION_NOT_MUTUAL', 'the connection of this call shows no SVID');
        const { claims = noClaims } = entry.spec;
        return [[hopHeader, minter.tokenFor({ svid, audience, user, actors: context.actors, claims }, note)]];
      }
      case 'FORWARD':
        if (note !== undefined) note.token = 'forwarded';
        return [['authorization', `Bearer ${livingToken(context, clock()).text}`]];
      case 'EXCHANGE':
        return exchanged(entry, livingToken(context, clock()), exchangeOf, note);
      default:
        return none;
    }
  };
  return {
    context: currentContext,
    keepContext,
    outsideOfRequests,
    headersFor(carriage, svid, context, note) {
      if (carriage.entry.mode === 'NONE') return none;
      if (context?.user === undefined) {
        if (context === undefined && !isMeshItself() && lonely.take()) tellLonely(carriage);
        return none;
      }
      if (carriage.objection !== undefined) throw carriage.objection;
      return carry(carriage, svid, context.user, context, note);
    },
    use({ outbound }) {
      const named = new Set(outbound.map(({ spec }) => JSON.stringify(spec.exchange)));
      for (const key of [...exchanges.keys()]) if (!named.has(key)) end(key);
    },
    close() {
      for (const key of [...exchanges.keys()]) end(key);
    },
  };
}

type HeaderLines = readonly HeaderLine[] | Promise<readonly HeaderLine[]>;

function livingToken(context: RequestContext, now: number): { readonly text: string; readonly expiresAt: number } {
  const raw = rawTokenOf(context);
  if (raw === undefined)
    throw new EnmeshError(
      'ENMESH_PROPAGATION_NO_TOKEN',
      'the user of this request came by a hop token, so there is no token to send',
    );
  if (!(now < raw.expiresAt)) throw new EnmeshError('ENMESH_PROPAGATION_USER_EXPIRED', 'the token of the user has expired');
  return raw;
}

/** The name of the header in which calls of an entry carry their user, lower case; undefined where they carry none. */
export function carriedHeader({ mode, spec: { exchange } }: CarriedToken): string | undefined {
  if (mode === 'HOP') return hopHeader;
  if (mode === 'FORWARD') return 'authorization';
  if (mode !== 'EXCHANGE') return undefined;
  return exchange?.header ?? (exchange?.requestedTokenType === 'txn_token' ? transactionTokenHeader : 'authorization');
}

async function exchanged(
  entry: CarriedToken,
  raw: { readonly text: string; readonly expiresAt: number },
  exchangeOf: (spec: ExchangeSpec) => Promise<TokenExchange>,
  note: TokenNote | undefined,
): Promise<readonly HeaderLine[]> {
  const { exchange: spec } = entry.spec;
  if (spec === undefined) throw new EnmeshError('ENMESH_PROPAGATION_NO_TOKEN', 'the entry says nothing of an exchange');
  const exchange = await exchangeOf(spec);
  const token = await exchange.tokenFor(raw, note);
  const header = carriedHeader(entry) ?? 'authorization';
  return [[header, header === 'authorization' ? `Bearer ${token}` : token]];
}

function tellLonely({ entry }: Carriage): void {
  noticeEvents.publish({
    kind: 'call-without-context',
    level: 'info',
    message:
      `a call that TokenPropagation ${entry.policy} gives mode ${entry.mode} was made outside of any request, so it went as the service alone; ` +
      'a job that works for a user runs in mesh.runAs(context, job)',
    details: { policy: entry.policy, mode: entry.mode },
  });
}
