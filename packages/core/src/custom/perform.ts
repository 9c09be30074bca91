import { EnmeshError, isEnmeshError } from '../errors.js';
import type { ExtensionProvider } from '../policy/provider.js';
import { isHeaderLine, type CheckOutcome, type CheckRequest, type CustomAuthorizer } from './contract.js';

/** A check that came to nothing: `code` is an error's own where it is one of ours; the reason holds no text of the authorizer. */
export interface CheckFailure {
  readonly failed: true;
  readonly reason: string;
}

/**
 * Asks the authorizer of a provider, within the provider's timeout. Never rejects: whatever throws, rejects or is late is a {@link CheckFailure}.
 * The check is cancelled by its deadline and by `client`, the signal that the caller went away.
 */
export async function performCheck(
  provider: ExtensionProvider,
  authorizer: () => CustomAuthorizer,
  request: CheckRequest,
  client: AbortSignal,
): Promise<CheckOutcome | CheckFailure> {
  const deadline = new AbortController();
  const late = `no answer within ${provider.timeoutMs} ms`;
  let timer: NodeJS.Timeout | undefined;
  let onGone: (() => void) | undefined;
  try {
    const ended = new Promise<never>((_done, fail) => {
      const end = (reason: string): void => {
        const error = new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', reason);
        deadline.abort(error);
        // Not left to the authorizer: one that ignores its signal must not hold the request.
        fail(error);
      };
      timer = setTimeout(() => end(late), provider.timeoutMs);
      onGone = () => end('the client went away');
      client.addEventListener('abort', onGone, { once: true });
      if (client.aborted) onGone();
    });
    ended.catch(() => {});
    if (deadline.signal.aborted) return await ended;
    return sound(await Promise.race([authorizer().check(request, deadline.signal), ended]));
  } catch (error) {
    return { failed: true, reason: `the check of ${provider.name} failed: ${reasonOf(error)}` };
  } finally {
    clearTimeout(timer);
    if (onGone !== undefined) client.removeEventListener('abort', onGone);
  }
}

/** An answer that cannot be carried out as it is, a status or a header that is none, is no answer. */
function sound(outcome: CheckOutcome): CheckOutcome {
  const lines = outcome.allowed
    ? [...outcome.changes.responseHeaders, ...outcome.changes.setHeaders.map(({ name, value }) => [name, value] as const)]
    : outcome.headers;
  if (!lines.every(([name, value]) => isHeaderLine(name, value)))
    throw new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', 'the answer has a header that is none');
  if (!outcome.allowed && !(Number.isInteger(outcome.status) && outcome.status >= 200 && outcome.status <= 599))
    throw new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', 'the answer has a status that is none');
  return outcome;
}

/** A foreign error's text may quote what it choked on; its code or kind does not. */
function reasonOf(error: unknown): string {
  if (isEnmeshError(error)) return error.message;
  if (!(error instanceof Error)) return typeof error;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' || typeof code === 'number' ? String(code) : error.name;
}
