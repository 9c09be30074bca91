import type { KeyObject } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { EnmeshError, isEnmeshError } from '../errors.js';
import { guardedLookup, isForbiddenAddress } from '../jwt/addresses.js';

/** A token request that is ready to be sent. */
export interface TokenPost {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** `application/x-www-form-urlencoded`. Holds tokens and secrets. */
  readonly body: string;
  /** Whom to show in the TLS handshake: PEM chain, leaf first, and its key. */
  readonly certificate?: { readonly chain: string; readonly privateKey: KeyObject };
  /** PEM: the authorities that sign the endpoint's certificate, in place of the system's. */
  readonly ca?: string;
  readonly signal: AbortSignal;
}

/** What a token endpoint said. `contentType` is empty when absent. */
export interface TokenPostAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** Sends a token request. Rejects rather than answer with part of a body. */
export type SendTokenPost = (post: TokenPost) => Promise<TokenPostAnswer>;

/** Largest answer of a token endpoint that is read, in octets: room for a token of the largest size that enmesh accepts, twice. */
export const maxAnswerBytes = 64 * 1024;

const failed = (reason: string): EnmeshError => new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_FAILED', reason);
const forbidden = (): EnmeshError =>
  new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_SETTINGS', 'the token endpoint is at a link-local or metadata address');

/**
 * Sends a token request on a connection of its own: at most {@link maxAnswerBytes} of answer, no redirect (a credential is never sent on), never to a link-local or
 * metadata address, no decompression, TLS 1.2 or better with the server's certificate verified.
 * Rejects with `ENMESH_PROPAGATION_EXCHANGE_FAILED`, or `ENMESH_PROPAGATION_EXCHANGE_SETTINGS` for an address that is never asked.
 */
export const sendTokenPost: SendTokenPost = ({ url, headers, body, certificate, ca, signal }) => {
  const { protocol, hostname } = new URL(url);
  // Node resolves no literal address, so the guard at connect time would not see it.
  if (isForbiddenAddress(hostname)) return Promise.reject(forbidden());
  const options: RequestOptions = {
    method: 'POST',
    agent: false,
    headers: { ...headers, 'accept-encoding': 'identity', 'user-agent': 'enmesh', 'content-length': Buffer.byteLength(body) },
    lookup: guardedLookup,
    signal,
  };
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage): void =>
      void readAnswer(answer).then(resolve, (e: unknown) => reject(reasonOf(e)));
    const secure = {
      ...options,
      // Explicit, because the environment can turn the verification of certificates off for a whole process.
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2' as const,
      ...(ca !== undefined && { ca }),
      ...(certificate !== undefined && {
        cert: certificate.chain,
        key: certificate.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      }),
    };
    const request = protocol === 'https:' ? httpsRequest(url, secure, onAnswer) : httpRequest(url, options, onAnswer);
    request.on('error', (error) => reject(reasonOf(error)));
    request.end(body);
  });
};

async function readAnswer(answer: IncomingMessage): Promise<TokenPostAnswer> {
  try {
    const { 'content-type': contentType = '', 'content-encoding': encoding = 'identity' } = answer.headers;
    if (encoding !== 'identity') throw failed('the token endpoint answers compressed');
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxAnswerBytes) throw failed(`the token endpoint answers with more than ${maxAnswerBytes / 1024} KiB`);
      chunks.push(chunk);
    }
    return { status: answer.statusCode ?? 0, contentType, body: Buffer.concat(chunks).toString('utf8') };
  } finally {
    answer.destroy();
  }
}

/** Node's messages name addresses at most, but what they may quote one day is not ours to know: only their code is told. */
function reasonOf(error: unknown): EnmeshError {
  if (isEnmeshError(error, 'ENMESH_JWT_FETCH_REFUSED')) return forbidden();
  if (isEnmeshError(error)) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return failed(`the token endpoint gives no answer (${typeof code === 'string' ? code : 'no code'})`);
}
