import { DecoratorHandler, type Dispatcher } from 'undici';

/** An option of one call of `mesh.fetch` or `mesh.request`. */
export interface RetryOption {
  /**
   * Asks for another attempt, up to `attempts` in all (5 at most), when the connection breaks before anything of the answer has arrived. Only for
   * GET, HEAD, OPTIONS, TRACE, PUT and DELETE, and only with no body or one that can be sent again (a string or a buffer): any other call is made once.
   * An answer, a timeout and a refusal of the mesh are never tried again. Each attempt is resolved and verified anew.
   */
  readonly retry?: { readonly attempts: number };
}

/** RFC 9110 section 9.2.2: twice is the same as once. */
const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** How a connection that stood tells of its end. */
const broken: ReadonlySet<unknown> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

const mostAttempts = 5;
const pauseMs = 25;

/** The interceptor of undici that tries again as {@link RetryOption} says. Throws `TypeError` for a number of attempts that is none. */
export function createRetry(attempts: number): Dispatcher.DispatcherComposeInterceptor {
  if (!Number.isInteger(attempts) || attempts < 1 || attempts > mostAttempts)
    throw new TypeError(`retry.attempts is a whole number from 1 to ${mostAttempts}`);
  return (dispatch) => (options, handler) => {
    if (!idempotent.has(options.method) || !isReplayable(options.body)) return dispatch(options, handler);
    return dispatch(options, new RetryHandler({ dispatch, options, handler, left: attempts - 1, pauseMs: 0 }));
  };
}

function isReplayable(body: unknown): boolean {
  return body === null || body === undefined || typeof body === 'string' || ArrayBuffer.isView(body);
}

interface Attempt {
  readonly dispatch: Dispatcher.Dispatch;
  readonly options: Dispatcher.DispatchOptions;
  readonly handler: Dispatcher.DispatchHandler;
  readonly left: number;
  readonly pauseMs: number;
}

type Told<Name extends keyof Dispatcher.DispatchHandler> = Parameters<NonNullable<Dispatcher.DispatchHandler[Name]>>;

/** What undici's types leave out of its class: each method passes on to the handler, in whichever of undici's two forms that is written. */
interface PassingOn {
  onRequestUpgrade(...told: Told<'onRequestUpgrade'>): void;
  onResponseStart(...told: Told<'onResponseStart'>): void;
  onResponseError(...told: Told<'onResponseError'>): void;
}
const Decorator = DecoratorHandler as unknown as new (handler: Dispatcher.DispatchHandler) => PassingOn;

/** The handler of one attempt: begins the next one instead of telling of an end before the beginning. */
class RetryHandler extends Decorator {
  readonly #attempt: Attempt;
  #hasBegun = false;

  constructor(attempt: Attempt) {
    super(attempt.handler);
    this.#attempt = attempt;
  }

  override onRequestUpgrade(...told: Told<'onRequestUpgrade'>): void {
    this.#hasBegun = true;
    super.onRequestUpgrade(...told);
  }

  override onResponseStart(...told: Told<'onResponseStart'>): void {
    this.#hasBegun = true;
    super.onResponseStart(...told);
  }

  override onResponseError(...told: Told<'onResponseError'>): void {
    const [controller, error] = told;
    const { dispatch, options, handler, left, pauseMs: pause } = this.#attempt;
    const isBroken = broken.has((error as { code?: unknown }).code);
    if (this.#hasBegun || !isBroken || left === 0 || controller?.aborted === true) return super.onResponseError(...told);
    const next = { dispatch, options, handler, left: left - 1, pauseMs: pause === 0 ? pauseMs : 2 * pause };
    // A caller who gives up meanwhile is asked by undici when the next attempt starts, before anything is sent.
    setTimeout(() => {
      try {
        dispatch(options, new RetryHandler(next));
      } catch (reason) {
        super.onResponseError(controller, reason as Error);
      }
    }, pause);
  }
}
