import { EnmeshError } from '@enmesh/core';
import { noChanges, type CheckOutcome, type HeaderLine } from '@enmesh/core/custom';
import type { CheckResponse, DeniedResponse, HeaderValueOption } from './messages.js';

/**
 * What a CheckResponse says. Status code 0 allows; any other denies, with 403 where it names no status. Throws, which is a failed check, for a
 * response without `status` (Envoy would allow; here what says nothing allows nothing) and for an `error_response`.
 * A header takes the place of the client's unless `append` is true. `append_action` is not looked at: Envoy 1.40 ignores it for headers of requests
 * (measured), and what an authorizer sets must not stand behind what a client made up.
 */
export function outcomeOf({
  status,
  denied_response: denied,
  error_response: failed,
  ok_response: ok,
}: CheckResponse): CheckOutcome {
  if (status === null) throw failure('the response has no status');
  if (status.code !== 0) {
    if (failed) throw failure('the authorizer answered with an error');
    return denial(denied ?? undefined);
  }
  if (!ok) return { allowed: true, changes: noChanges };
  return {
    allowed: true,
    changes: {
      setHeaders: ok.headers.map((option) => {
        const [name, value] = lineOf(option);
        return { name, value, action: option.append?.value === true ? 'append' : 'overwrite', isListed: false };
      }),
      removeHeaders: ok.headers_to_remove.map((name) => name.toLowerCase()),
      responseHeaders: ok.response_headers_to_add.map(lineOf),
      setQuery: ok.query_parameters_to_set.map(({ key, value }) => [key, value] as const),
      removeQuery: ok.query_parameters_to_remove,
    },
  };
}

const failure = (reason: string): EnmeshError => new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', reason);

function denial(response: DeniedResponse | undefined): CheckOutcome {
  const code = response?.status?.code ?? 0;
  return {
    allowed: false,
    // Envoy's validation lets any number pass; an answer has three digits and ends the request.
    status: code === 0 ? 403 : Math.min(599, Math.max(200, code)),
    headers: (response?.headers ?? []).map(lineOf),
    body: Buffer.from(response?.body ?? '', 'utf8'),
  };
}

/** A header line with the bytes that a client would have sent, one character each, as node:http shows them. */
function lineOf({ header }: HeaderValueOption): HeaderLine {
  const bytes = header === null ? Buffer.of() : header.value === '' ? header.raw_value : Buffer.from(header.value, 'utf8');
  return [(header?.key ?? '').toLowerCase(), bytes.toString('latin1')];
}
