import { EnmeshError } from '../errors.js';
import { currentContext, rawTokenOf, type RequestContext } from './context.js';
import { createTokenTraces, type TokenTraces } from './egress-traces.js';

/** What happens to a call that carries the token of the current request: `refuse` (default), `strip` it from the call, or nothing at all. */
export type EgressGuardMode = 'refuse' | 'strip' | 'off';

/** What is looked at of one call. `path` is the request target, or a whole URL. Values of headers are texts, or lists of them. */
export interface OutgoingCall {
  readonly path: string;
  readonly headers: Iterable<readonly [name: string, value: unknown]>;
}

/** What to do with a call: nothing, or to leave out these headers, write these cookies anew and use this path. */
export interface GuardedCall {
  /** Names in lower case. */
  readonly without: ReadonlySet<string>;
  /** The header `cookie` as it may go; undefined when it has nothing to lose or nothing left. */
  readonly cookie: string | undefined;
  readonly path: string;
}

/** Looks for the token of a request in outgoing calls: a seat belt against known forms of copying, not a boundary (docs/exchange.md names the forms that pass). */
export interface EgressGuard {
  /** The guard of calls that are made now; undefined where no token came in with the request being handled, or none is. */
  current(): CallGuard | undefined;
}

/** The guard of the calls of one request. */
export interface CallGuard {
  /**
   * Looks at one call; undefined when there is nothing to do. Throws `ENMESH_PROPAGATION_EGRESS` where the call must not be made: with `refuse`, and with
   * `strip` where the token stands in the path itself, which nothing can be taken out of.
   */
  inspect(call: OutgoingCall): GuardedCall | undefined;
  /** Judges the first {@link guardedBodyBytes} of a body: throws `ENMESH_PROPAGATION_EGRESS`. Undefined where bodies are not looked at. */
  readonly checkBody: ((start: Uint8Array | string) => void) | undefined;
}

/** So much of a body is looked at. */
export const guardedBodyBytes = 64 * 1024;

const traces = new WeakMap<object, TokenTraces>();

/** Made once per user of a request, when it makes its first call. */
function tracesOf(context: RequestContext): TokenTraces | undefined {
  const { user } = context;
  if (user === undefined) return undefined;
  let known = traces.get(user);
  if (known === undefined) {
    const raw = rawTokenOf(context);
    if (raw === undefined) return undefined;
    traces.set(user, (known = createTokenTraces(raw.text)));
  }
  return known;
}

/** Creates the guard of a mesh's clients; undefined when it is off. `bodies` has it look at the start of bodies too. */
export function createEgressGuard(options: {
  readonly mode: EgressGuardMode;
  readonly bodies: boolean;
}): EgressGuard | undefined {
  const { mode, bodies } = options;
  if (mode === 'off') return undefined;
  return {
    current() {
      const context = currentContext();
      const known = context === undefined ? undefined : tracesOf(context);
      if (known === undefined) return undefined;
      return {
        inspect: (call) => inspectCall(call, known, mode),
        checkBody: bodies ? (start) => checkStart(start, known) : undefined,
      };
    },
  };
}

function checkStart(start: Uint8Array | string, known: TokenTraces): void {
  const text = typeof start === 'string' ? start : latin1(start.subarray(0, guardedBodyBytes));
  const kind = known.find(text.slice(0, guardedBodyBytes));
  if (kind !== undefined) throw refusal(kind, 'its body');
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

function inspectCall(call: OutgoingCall, known: TokenTraces, mode: 'refuse' | 'strip'): GuardedCall | undefined {
  const without = new Set<string>();
  let cookie: string | undefined;
  for (const [name, value] of call.headers) {
    const kind = findIn(known, name) ?? findIn(known, value);
    if (kind === undefined) continue;
    // The name is the application's own word; one that holds a token or is no name is not repeated.
    const shown = /^[\w-]{1,64}$/.test(name) && findIn(known, name) === undefined ? name.toLowerCase() : 'with an unusual name';
    if (mode === 'refuse') throw refusal(kind, `its header ${shown}`);
    without.add(name.toLowerCase());
    if (name.toLowerCase() === 'cookie') cookie = cookiesWithout(known, value);
  }
  const path = pathOf(call.path, known, mode);
  if (without.size === 0 && path === call.path) return undefined;
  return { without, cookie, path };
}

function findIn(known: TokenTraces, value: unknown): ReturnType<TokenTraces['find']> {
  if (typeof value === 'string') return value.length < known.shortest ? undefined : known.find(value);
  if (Array.isArray(value)) return value.map((each) => findIn(known, each)).find((kind) => kind !== undefined);
  if (value instanceof Uint8Array) return findIn(known, latin1(value));
  return value === undefined || value === null ? undefined : findIn(known, String(value));
}

function cookiesWithout(known: TokenTraces, value: unknown): string | undefined {
  const pairs = (Array.isArray(value) ? value.join('; ') : String(value)).split(/;\s*/);
  const kept = pairs.filter((pair) => known.find(pair) === undefined).join('; ');
  return kept === '' || known.find(kept) !== undefined ? undefined : kept;
}

function pathOf(path: string, known: TokenTraces, mode: 'refuse' | 'strip'): string {
  const kind = findIn(known, path);
  if (kind === undefined) return path;
  if (mode === 'refuse') throw refusal(kind, 'its URL');
  const at = path.indexOf('?');
  const kept =
    at < 0
      ? ''
      : path
          .slice(at + 1)
          .split('&')
          .filter((piece) => known.find(piece) === undefined)
          .join('&');
  const rest = (at < 0 ? path : path.slice(0, at)) + (kept === '' ? '' : `?${kept}`);
  if (known.find(rest) !== undefined) throw refusal(kind, 'its path');
  return rest;
}

function refusal(kind: string, place: string): EnmeshError {
  return new EnmeshError('ENMESH_PROPAGATION_EGRESS', `the call carries the ${kind} of the user's token in ${place}`, {
    details: { part: kind },
  });
}
