import { Agent, type ClientRequest } from 'node:http';
import { getGlobalDispatcher, setGlobalDispatcher, type Dispatcher } from 'undici';
import type { Stop } from '../identity/source.js';
import { isEnmeshError } from '../errors.js';
import type { CallGuard, EgressGuard } from '../propagation/egress-guard.js';
import { heardGuard, noteCall } from './audit.js';
import { refuseRequest } from './agent-request.js';
import { isHeard } from './carry.js';
import { fail } from './dispatcher.js';
import { checkDispatch } from './guard-dispatch.js';
import { checkRequest, guardsItself } from './guard-request.js';
import type { OutboundOptions } from './options.js';
import { reportCall } from './report.js';

interface UntypedAgent {
  addRequest(this: object, request: ClientRequest, options: { headers?: unknown }, ...rest: unknown[]): void;
}

/**
 * Puts the egress guard before all calls of this process by node:http and node:https with any agent that asks the base class, and by undici and the global fetch with the global
 * dispatcher. The mesh's own clients guard themselves. What it sees no call of: agents with an `addRequest` of their own, `createConnection` without an agent, other dispatchers, node:http2, sockets.
 */
export function guardProcess(guard: EgressGuard, options: Auditing = {}): Stop {
  const stops = [guardAgents(guard, options), guardDispatchers(guard, options)];
  return () => stops.forEach((stop) => stop());
}

type Auditing = Pick<OutboundOptions, 'audit' | 'tokens'>;

function guardAgents(guard: EgressGuard, auditing: Auditing): Stop {
  const prototype = Agent.prototype as unknown as UntypedAgent;
  const original = prototype.addRequest;
  let isActive = true;
  const guarded: UntypedAgent['addRequest'] = function (request, options, ...rest) {
    const current = isActive && !(guardsItself in this) ? guard.current() : undefined;
    if (current !== undefined) {
      const { method, path, protocol, host } = request;
      const call = { method, path, origin: `${protocol}//${host}` };
      try {
        checkRequest({ guard: heard(current, auditing, request, call), passing: undefined }, request, options.headers);
      } catch (error) {
        return refuseRequest(request, error as Error);
      }
    }
    return original.call(this, request, options, ...rest);
  };
  prototype.addRequest = guarded;
  return () => {
    isActive = false;
    // Whoever patched it after us keeps ours, which now does nothing.
    if (prototype.addRequest === guarded) prototype.addRequest = original;
  };
}

function guardDispatchers(guard: EgressGuard, auditing: Auditing): Stop {
  const before = getGlobalDispatcher();
  let isActive = true;
  const after: Dispatcher = before.compose((dispatch) => (options, handler) => {
    const current = isActive ? guard.current() : undefined;
    if (current === undefined) return dispatch(options, handler);
    try {
      const { method, path, origin } = options;
      const looking = heard(current, auditing, handler, { method, path, origin: String(origin ?? '') });
      return dispatch(checkDispatch({ guard: looking, passing: undefined }, options), handler);
    } catch (error) {
      return fail(handler, error as Error);
    }
  });
  setGlobalDispatcher(after);
  return () => {
    isActive = false;
    if (getGlobalDispatcher() === after) setGlobalDispatcher(before);
  };
}

/** The guard of a call of somebody else's client: what it keeps back is told as of one by the mesh's own. */
function heard(
  guard: CallGuard,
  auditing: Auditing,
  subject: object,
  call: { readonly method: unknown; readonly path: unknown; readonly origin: string },
): CallGuard | undefined {
  if (!isHeard()) return guard;
  noteCall(auditing, subject, { ...call, headers: () => undefined });
  return heardGuard(guard, undefined, (error) => {
    if (isEnmeshError(error)) reportCall({ kind: 'refused', error }, call.origin, subject);
  });
}
