import { request, type RequestOptions } from 'node:https';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { guardedLookup } from '../jwt/addresses.js';
import { httpsUrlFault } from '../jwt/https-url.js';
import { serverCertificates } from '../tls/peer-certificate.js';
import { verifySvidChain } from '../x509/svid-verify.js';

/** How the server of a bundle endpoint is known: by its name and public or given roots, or by its SPIFFE ID and the bundle of its trust domain. */
export type EndpointProof =
  { readonly roots: string | undefined } | { readonly spiffeId: string; readonly bundles: TrustBundleSet; readonly now: number };

type ServerCertificate = Parameters<typeof serverCertificates>[0];

/** What is read of an answer of node:https. */
interface Answer extends AsyncIterable<Buffer> {
  readonly statusCode?: number | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  destroy(): unknown;
}

const maxRedirects = 3;

/**
 * Reads a URL of a bundle endpoint (SPIFFE Federation section 5.2): https, no user, no link-local or metadata address. Throws `ENMESH_ISSUANCE_BUNDLE`.
 */
export function parseEndpointUrl(text: string, base?: URL): URL {
  const fault = httpsUrlFault(text, base);
  if (fault !== undefined) throw failed(`its address ${fault}`);
  return new URL(text, base);
}

/**
 * GETs a bundle on a connection of its own, following up to three redirects to other such URLs with the same proof asked of each server.
 * Rejects with `ENMESH_ISSUANCE_BUNDLE`, also when the whole takes longer than `timeoutMs` or the answer is larger than `maxBytes`.
 */
export async function fetchBundle(
  url: URL,
  proof: EndpointProof,
  limits: { readonly timeoutMs: number; readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<Buffer> {
  const timeout = AbortSignal.timeout(limits.timeoutMs);
  const signal = AbortSignal.any([limits.signal, timeout]);
  let target = url;
  try {
    for (let hop = 0; hop <= maxRedirects; hop++) {
      const answer = await get(target, { ...connectionOptions(proof), signal }, limits.maxBytes);
      if (Buffer.isBuffer(answer)) return answer;
      target = parseEndpointUrl(answer.location, target);
    }
  } catch (error) {
    if (timeout.aborted) throw failed(`no answer within ${limits.timeoutMs} ms`);
    throw isEnmeshError(error) ? error : failed(codeOf(error));
  }
  throw failed(`more than ${maxRedirects} redirects`);
}

function connectionOptions(proof: EndpointProof): RequestOptions {
  const options: RequestOptions = {
    agent: false,
    lookup: guardedLookup,
    // Explicit, because the environment can turn the verification of certificates off for a whole process.
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'enmesh' },
  };
  if ('roots' in proof) return proof.roots === undefined ? options : { ...options, ca: proof.roots };
  const roots = [...proof.bundles.values()].flatMap((bundle) => bundle.roots);
  // An absent or empty `ca` would make OpenSSL trust the public authorities.
  if (roots.length === 0) throw failed("no root of the endpoint's trust domain is held");
  return { ...options, ca: roots, checkServerIdentity: (_, certificate) => objectionTo(certificate as ServerCertificate, proof) };
}

/** Never throws: what is thrown here would end the process. */
function objectionTo(certificate: ServerCertificate, proof: Exclude<EndpointProof, { roots: unknown }>): Error | undefined {
  try {
    const { uri } = verifySvidChain({ ...serverCertificates(certificate), ...proof });
    return uri === proof.spiffeId ? undefined : failed(`its server is ${uri}, and ${proof.spiffeId} is expected`);
  } catch (error) {
    return isEnmeshError(error)
      ? failed(`its server has no such SVID: ${error.message}`)
      : failed('its server cannot be verified');
  }
}

function get(url: URL, options: RequestOptions, maxBytes: number): Promise<Buffer | { readonly location: string }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (response) => {
      readAnswer(response, maxBytes).then(resolve, reject);
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function readAnswer(response: Answer, maxBytes: number): Promise<Buffer | { readonly location: string }> {
  const { statusCode = 0, headers } = response;
  try {
    const { location } = headers;
    if (statusCode >= 300 && statusCode < 400 && typeof location === 'string') return { location };
    if (statusCode !== 200) throw failed(`its answer has status ${statusCode}`);
    if ((headers['content-encoding'] ?? 'identity') !== 'identity') throw failed('its answer is compressed');
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response) {
      size += chunk.length;
      if (size > maxBytes) throw failed(`its answer is larger than ${maxBytes} octets`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } finally {
    response.destroy();
  }
}

/** OpenSSL's and Node's messages may quote what came; their codes do not. */
function codeOf(error: unknown): string {
  const { code, name } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return `it cannot be reached (${code ?? name ?? 'unknown error'})`;
}

function failed(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_ISSUANCE_BUNDLE', `The bundle endpoint cannot be used: ${reason}`);
}
