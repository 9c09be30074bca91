import { AsyncLocalStorage } from 'node:async_hooks';
import type { PeerIdentity, RequestIdentity } from '../identity/caller.js';
import { tokenTextOf } from '../jwt/outputs.js';

/** On whose behalf code runs: what the door knows of the request that is being handled. */
export interface RequestContext {
  readonly peer: PeerIdentity | undefined;
  readonly user: RequestIdentity | undefined;
  /** The SPIFFE IDs of the services that carried the user here, the caller first; empty where the user came with a token of their own. */
  readonly actors: readonly string[];
}

/** Stands in the storage where the mesh itself calls: never for a user, whoever's request set it off. */
const meshItself = Symbol('enmesh itself');

const storage = new AsyncLocalStorage<RequestContext | typeof meshItself | undefined>();
/** Contexts that a door made. One that was written down and read again, in a job of a queue, may say anything. */
const genuine = new WeakSet<object>();
let isUsed = false;

/**
 * Runs a request's handler so that outgoing calls know the request. Only ever `run`, never `enterWith`: on Node 20 the latter leaves the
 * identity behind for the next request of a keep-alive connection.
 */
export function runInContext<T>(context: RequestContext, handle: () => T): T {
  genuine.add(context);
  isUsed = true;
  return storage.run(context, handle);
}

/** Runs something at once, in one context or in none. */
export type InContext = <T>(act: () => T) => T;

/**
 * The context of now, for what is told of a call later: a connection that several calls use tells in the context of whoever opened it. Undefined while no
 * request has had one, so that there is none to be mixed up.
 */
export function keepContext(): InContext | undefined {
  if (!isUsed) return undefined;
  const context = storage.getStore();
  return (act) => storage.run(context, act);
}

/** Runs what no request may stand behind: a connection that is opened for one call is used by calls of others after it. */
export const outsideOfRequests: InContext = (act) => storage.run(undefined, act);

/** Runs what the mesh does for itself, such as fetching keys: it calls as the service alone and nobody wonders why. */
export function runAsMesh<T>(act: () => T): T {
  return storage.run(meshItself, act);
}

/** Runs `act` for the request of a context that `mesh.context()` gave. Throws a `TypeError` for any other object: a context cannot be made up. */
export function runAs<T>(context: RequestContext, act: () => T): T {
  if (typeof context !== 'object' || context === null || !genuine.has(context))
    throw new TypeError('mesh.runAs takes what mesh.context() returned in this process, and nothing read or made elsewhere');
  return storage.run(context, act);
}

/** The request being handled, or undefined in background work: then a call goes as the service alone, never as the last user seen. */
export function currentContext(): RequestContext | undefined {
  const context = storage.getStore();
  return context === meshItself ? undefined : context;
}

/** Whether the mesh itself is at work, so that there is no request to know. */
export function isMeshItself(): boolean {
  return storage.getStore() === meshItself;
}

/**
 * The token that the user of this request came with, exactly as it stood there; `expiresAt` in milliseconds, Infinity without an end. Undefined where the
 * user came by a hop token or not at all. Never to be logged, and no property of anything.
 */
export function rawTokenOf(context: RequestContext): { readonly text: string; readonly expiresAt: number } | undefined {
  const { user } = context;
  const text = user === undefined ? undefined : tokenTextOf(user);
  return user === undefined || text === undefined ? undefined : { text, expiresAt: user.expiresAt };
}
