import { AsyncLocalStorage } from 'node:async_hooks';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';

/** On whose behalf code runs: what the door knows of the request that is being handled. */
export interface RequestContext {
  readonly peer: PeerIdentity | undefined;
  readonly user: RequestIdentity | undefined;
}

const storage = new AsyncLocalStorage<RequestContext>();

/**
 * Runs a request's handler so that outgoing calls know the request. Only ever `run`, never `enterWith`: on Node 20 the latter leaves the
 * identity behind for the next request of a keep-alive connection.
 */
export function runInContext<T>(context: RequestContext, handle: () => T): T {
  return storage.run(context, handle);
}

/** The request being handled, or undefined in background work: then a call goes as the service alone, never as the last user seen. */
export function currentContext(): RequestContext | undefined {
  return storage.getStore();
}
