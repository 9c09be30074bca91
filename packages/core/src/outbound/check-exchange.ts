import type { Dispatcher } from 'undici';
import type { CheckExchange } from '../custom/http-check.js';
import type { HeaderLine } from '../custom/contract.js';
import { EnmeshError } from '../errors.js';
import { runAsMesh } from '../propagation/context.js';

/**
 * Sends the checks of HTTP authorizers through a mesh's dispatcher: a service of the mesh is reached by mutual TLS as by any call.
 * Rejects with `ENMESH_CUSTOM_CHECK_FAILED` when the answer is too long, and with what the dispatcher says.
 */
export function createCheckExchange(dispatcher: () => Dispatcher): CheckExchange {
  return async ({ origin, method, path, headers, body, signal, maxBytes }) => {
    const send = {
      origin,
      method: method as Dispatcher.HttpMethod,
      path,
      headers: { ...headers },
      signal,
      ...(body !== undefined && { body }),
    };
    const answer = await runAsMesh(() => dispatcher().request(send));
    return { status: answer.statusCode, headers: linesOf(answer.headers), body: await readBody(answer.body, maxBytes) };
  };
}

function linesOf(headers: Dispatcher.ResponseData['headers']): HeaderLine[] {
  return Object.entries(headers).flatMap(([name, value]): HeaderLine[] =>
    value === undefined ? [] : [value].flat().map((one) => [name, asReceived(one)]),
  );
}

/** undici reads values as UTF-8, node:http byte by byte: what the handler gets is what a header sent to it would be. */
function asReceived(value: string): string {
  return /^[\x20-\x7e]*$/.test(value) ? value : Buffer.from(value, 'utf8').toString('latin1');
}

async function readBody(body: Dispatcher.ResponseData['body'], maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBytes)
        throw new EnmeshError('ENMESH_CUSTOM_CHECK_FAILED', `the authorizer answered with more than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    body.destroy();
    throw error;
  }
  return Buffer.concat(chunks);
}
