import type { Dispatcher } from 'undici';
import { EnmeshError, isEnmeshError } from '../errors.js';
import {
  maxAnswerBytes,
  sendTokenPost,
  type SendTokenPost,
  type TokenPost,
  type TokenPostAnswer,
} from '../propagation/exchange-post.js';
import type { OutboundOptions } from './options.js';
import { isReachedByMutualTls } from './plan.js';

/** How tokens are exchanged by a mesh: at its own services as a call would go, anywhere else as any client. */
export interface TokenFetch {
  readonly fetchToken: SendTokenPost;
  /** Whether every endpoint of this host is reached by mutual TLS, so that `http://` is secure and the SVID is shown. */
  readonly isMeshHost: (host: string, port: number) => boolean;
}

/** Creates the sending of token requests through a mesh's dispatcher where the endpoint is a service that is reached by mutual TLS. */
export function createTokenFetch(options: Pick<OutboundOptions, 'snapshot'>, dispatcher: () => Dispatcher): TokenFetch {
  const isMeshHost = (host: string, port: number): boolean => isReachedByMutualTls(options.snapshot(), host, port);
  return {
    isMeshHost,
    fetchToken(post) {
      const { protocol, hostname, port } = new URL(post.url);
      const isMesh = protocol === 'http:' && isMeshHost(hostname, port === '' ? 80 : Number(port));
      return isMesh ? postThrough(dispatcher(), post) : sendTokenPost(post);
    },
  };
}

/** One POST through the mesh, with the limits of every token request: size, no redirect, no compression; its signal bounds the time. */
async function postThrough(dispatcher: Dispatcher, { url, headers, body: form, signal }: TokenPost): Promise<TokenPostAnswer> {
  const { origin, pathname, search } = new URL(url);
  const failed = (reason: string): EnmeshError =>
    new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_FAILED', `the token endpoint answers ${reason}`);
  const sent = { ...headers, 'accept-encoding': 'identity', 'user-agent': 'enmesh' };
  const asked = dispatcher.request({ origin, path: pathname + search, method: 'POST', headers: sent, body: form, signal });
  const answer = await asked.catch((error: unknown) => {
    throw isEnmeshError(error) ? error : failed('not at all');
  });
  const { statusCode: status, body } = answer;
  try {
    if (answer.headers['content-encoding'] !== undefined) throw failed('compressed');
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxAnswerBytes) throw failed(`with more than ${maxAnswerBytes / 1024} KiB`);
      chunks.push(chunk);
    }
    return { status, contentType: String(answer.headers['content-type'] ?? ''), body: Buffer.concat(chunks).toString('utf8') };
  } catch (error) {
    body.destroy();
    throw isEnmeshError(error) ? error : failed('not to its end');
  }
}
