import type { Dispatcher } from 'undici';

/** Every method that undici calls, in both forms of its handlers; which form one has is told by what is there. */
const handlerMethods = [
  ...['onRequestStart', 'onRequestUpgrade', 'onResponseStart', 'onResponseData', 'onResponseEnd', 'onResponseError'],
  ...[
    'onConnect',
    'onError',
    'onUpgrade',
    'onResponseStarted',
    'onHeaders',
    'onData',
    'onComplete',
    'onBodySent',
    'onRequestSent',
  ],
];

/** A handler of the same form, of whose methods `around` is told in their place: `tell` calls the handler's own. */
export function handlerAround(
  handler: Dispatcher.DispatchHandler,
  around: (name: string, args: readonly unknown[], tell: () => unknown) => unknown,
): Dispatcher.DispatchHandler {
  const given = handler as unknown as Readonly<Record<string, unknown>>;
  const made: Record<string, unknown> = {};
  for (const name of handlerMethods) {
    const method = given[name];
    if (typeof method === 'function')
      made[name] = (...args: unknown[]): unknown => around(name, args, () => method.apply(handler, args) as unknown);
  }
  return made as unknown as Dispatcher.DispatchHandler;
}
