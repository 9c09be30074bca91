import { request } from 'node:https';
import { EnmeshError, fileProblem, readSmallFile } from '@enmesh/core/issuance';
import { unproved } from './callers.js';
import { codeOf } from './durable.js';
import { parseServiceAccount } from './jwt-callers.js';
import type { TokenReviewSettings } from './settings.js';

/** Asks a Kubernetes API server whose token it is. */
export interface TokenReviewer {
  /** Rejects with `ENMESH_CA_UNPROVED` for any answer but a clear yes. */
  review(token: string): Promise<{ readonly namespace: string; readonly serviceAccount: string }>;
}

const timeoutMs = 5000;
const maxAnswerBytes = 1 << 18;
const maxTokenLength = 16_384;
const maxFileBytes = 1 << 20;

/**
 * Proves callers by the TokenReview API (authentication.k8s.io/v1). The server must say that the token is authenticated, for one of the audiences
 * that were asked about, and that it is a service account's. Nothing is cached: a token that Kubernetes has revoked is refused at once.
 * Rejects with `ENMESH_CA_SETTINGS` when the files that it needs cannot be read now.
 */
export async function openTokenReviewer(settings: TokenReviewSettings): Promise<TokenReviewer> {
  const { problem } = await readFiles(settings);
  if (problem !== undefined) throw new EnmeshError('ENMESH_CA_SETTINGS', `tokenReview: ${problem}`);
  return {
    async review(token) {
      if (token === '' || token.length > maxTokenLength) throw unproved('the token has no length that a token has');
      const answer = await ask(settings, token);
      return accountOf(answer, settings.audiences);
    },
  };
}

function accountOf(
  answer: unknown,
  audiences: readonly string[],
): { readonly namespace: string; readonly serviceAccount: string } {
  const status = memberOf(answer, 'status');
  if (memberOf(status, 'authenticated') !== true) throw unproved('the API server does not know the token');
  const granted = memberOf(status, 'audiences');
  // A server that knows nothing of audiences says yes to tokens for anybody.
  if (!Array.isArray(granted) || !audiences.some((audience) => granted.includes(audience)))
    throw unproved('the API server does not say that the token is for this authority');
  const name = memberOf(memberOf(status, 'user'), 'username');
  const account = typeof name === 'string' ? parseServiceAccount(name) : undefined;
  if (account === undefined) throw unproved('the token is no service account’s');
  return account;
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

async function ask(settings: TokenReviewSettings, token: string): Promise<unknown> {
  const { url, audiences } = settings;
  const { ca, own, problem } = await readFiles(settings);
  if (problem !== undefined) throw unproved(`the API server could not be asked: ${problem}`);
  try {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences } };
    return await post(url, ca, own.trim(), JSON.stringify(review));
  } catch (error) {
    throw unproved(`the API server could not be asked (${codeOf(error)})`);
  }
}

/** Its roots and our own token, anew each time, for both are replaced underneath; or what is wrong with the first that cannot be read. */
async function readFiles(settings: TokenReviewSettings): Promise<{ ca: string; own: string; problem?: string }> {
  const texts: string[] = [];
  for (const path of [settings.ca, settings.tokenFile]) {
    try {
      texts.push((await readSmallFile(path, maxFileBytes)).text);
    } catch (error) {
      return { ca: '', own: '', problem: `${path}: ${fileProblem(error)}` };
    }
  }
  const [ca = '', own = ''] = texts;
  return { ca, own };
}

function post(url: string, ca: string, ownToken: string, body: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (code: string): void => reject(Object.assign(new Error('no answer'), { code }));
    const headers = {
      authorization: `Bearer ${ownToken}`,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    };
    // An API server speaks TLS with a certificate for the host of `url`; nothing else is believed, and no proxy is asked.
    const options = { method: 'POST', headers, ca, agent: false, rejectUnauthorized: true, minVersion: 'TLSv1.2' as const };
    const call = request(`${url}/apis/authentication.k8s.io/v1/tokenreviews`, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxAnswerBytes) call.destroy(Object.assign(new Error('too long'), { code: 'TOO_LONG' }));
        chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('aborted', () => fail('ECONNRESET'));
      response.on('end', () => {
        if (response.statusCode !== 201 && response.statusCode !== 200) return fail(`HTTP ${response.statusCode}`);
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
        } catch {
          fail('NO_JSON');
        }
      });
    });
    const deadline = setTimeout(() => call.destroy(Object.assign(new Error('late'), { code: 'ETIMEDOUT' })), timeoutMs);
    call.on('close', () => clearTimeout(deadline));
    call.on('error', reject);
    call.end(body);
  });
}
