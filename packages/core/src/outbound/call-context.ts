import { AsyncResource } from 'node:async_hooks';
import type { Dispatcher } from 'undici';
import type { InContext } from '../propagation/context.js';
import type { CallTokens } from './call-tokens.js';
import { handlerAround } from './handler-around.js';

/**
 * The handler of a call that is told everything in the context in which the call is made. undici tells it in that of the connection, which another request may
 * have opened: what the application then does, a further call for instance, would be done for another user.
 */
export function inContext(handler: Dispatcher.DispatchHandler, tokens: CallTokens | undefined): Dispatcher.DispatchHandler {
  const within = tokens?.keepContext();
  return within === undefined ? handler : handlerAround(handler, (_name, _args, tell) => within(tell));
}

/** The context in which this is called, whole: for what grpc-js finds out later, in whatever context that happens. */
export function contextOfNow(): InContext {
  return AsyncResource.bind(<T>(act: () => T): T => act());
}

/**
 * Opens a connection that belongs to no request, because calls of others will use it: what it tells that is no call's own (the end of a WebSocket) comes without a
 * context, not in that of the user who was first. `callback` is told in the context of now, for the call that waits for it.
 */
export function openOutside<Told extends readonly unknown[]>(
  tokens: CallTokens | undefined,
  callback: (...told: Told) => void,
  open: (callback: (...told: Told) => void) => void,
): void {
  const within = tokens?.keepContext();
  if (tokens === undefined || within === undefined) return open(callback);
  tokens.outsideOfRequests(() => open((...told) => within(() => callback(...told))));
}
