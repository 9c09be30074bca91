import { Agent, type ClientRequest } from 'node:http';
import { getGlobalDispatcher, setGlobalDispatcher, type Dispatcher } from 'undici';
import type { Stop } from '../identity/source.js';
import type { EgressGuard } from '../propagation/egress-guard.js';
import { refuseRequest } from './agent-request.js';
import { fail } from './dispatcher.js';
import { checkDispatch } from './guard-dispatch.js';
import { checkRequest, guardsItself } from './guard-request.js';

interface UntypedAgent {
  addRequest(this: object, request: ClientRequest, options: { headers?: unknown }, ...rest: unknown[]): void;
}

/**
 * Puts the egress guard before all calls of this process by node:http and node:https with any agent that asks the base class, and by undici and the global fetch with the global
 * dispatcher. The mesh's own clients guard themselves. What it sees no call of: agents with an `addRequest` of their own, `createConnection` without an agent, other dispatchers, node:http2, sockets.
 */
export function guardProcess(guard: EgressGuard): Stop {
  const stops = [guardAgents(guard), guardDispatchers(guard)];
  return () => stops.forEach((stop) => stop());
}

function guardAgents(guard: EgressGuard): Stop {
  const prototype = Agent.prototype as unknown as UntypedAgent;
  const original = prototype.addRequest;
  let isActive = true;
  const guarded: UntypedAgent['addRequest'] = function (request, options, ...rest) {
    const current = isActive && !(guardsItself in this) ? guard.current() : undefined;
    if (current !== undefined) {
      try {
        checkRequest({ guard: current, passing: undefined }, request, options.headers);
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

function guardDispatchers(guard: EgressGuard): Stop {
  const before = getGlobalDispatcher();
  let isActive = true;
  const after: Dispatcher = before.compose((dispatch) => (options, handler) => {
    const current = isActive ? guard.current() : undefined;
    if (current === undefined) return dispatch(options, handler);
    try {
      return dispatch(checkDispatch({ guard: current, passing: undefined }, options), handler);
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
