import {
  allowInsecureRequests,
  customFetch,
  genericTokenEndpointRequest,
  processGenericTokenEndpointResponse,
  type Client,
} from 'oauth4webapi';
import { EnmeshError, isEnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { isJsonObject, parseStrictJson } from '../jwt/strict-json.js';
import { readExchangedToken, tokenTypeUrn, type ExchangedToken, type TokenAnswer } from './exchange-answer.js';
import { createClientProof, fetchSvid, type ClientProof } from './exchange-client.js';
import type { SendTokenPost, TokenPost, TokenPostAnswer } from './exchange-post.js';
import type { ExchangeSpec } from './resource.js';

/** One exchange of one token. */
export interface ExchangeRequest {
  readonly spec: ExchangeSpec;
  readonly subject: string;
  readonly identity: MeshIdentity | undefined;
  readonly post: SendTokenPost;
  /** The authorities of the endpoint; undefined for the system's. */
  readonly authorities: (() => Promise<string>) | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

const grantType = 'urn:ietf:params:oauth:grant-type:token-exchange';

/**
 * Asks a token endpoint once (RFC 8693 section 2) and judges the answer. Rejects with an `ENMESH_PROPAGATION_EXCHANGE_` code or `ENMESH_IDENTITY_NONE`; no error has a cause,
 * because what oauth4webapi throws holds the answer.
 */
export async function requestExchange(request: ExchangeRequest): Promise<ExchangedToken> {
  const { spec } = request;
  const sources = { ...request, audience: spec.clientAuth.audience ?? spec.tokenEndpoint };
  const proof = await createClientProof(spec.clientAuth, sources);
  const ca = await request.authorities?.();
  const parameters = parametersOf(spec, request.subject);
  if (spec.actorToken === 'svid-jwt') {
    parameters.set('actor_token', await fetchSvid(sources));
    parameters.set('actor_token_type', tokenTypeUrn('jwt'));
  }
  // The endpoint stands for its issuer, which is asked for in no place where it counts: assertions name their audience themselves.
  const server = { issuer: spec.tokenEndpoint, token_endpoint: spec.tokenEndpoint };
  const client: Client = { client_id: spec.clientAuth.clientId ?? request.identity?.svid.current().id.uri ?? '' };
  const options = { [customFetch]: fetchBy(request, proof, ca), [allowInsecureRequests]: true, signal: request.signal };
  try {
    const response = await genericTokenEndpointRequest(server, client, proof.clientAuth, grantType, parameters, options);
    // Whether N_A is right is decided with the rest of the answer.
    const recognizedTokenTypes = { n_a: () => {} };
    const answer = await processGenericTokenEndpointResponse(server, client, response, { recognizedTokenTypes });
    return readExchangedToken(answer as TokenAnswer, spec, request.subject, request.now());
  } catch (error) {
    throw isEnmeshError(error) ? error : answerError('it is no token response');
  }
}

function parametersOf(spec: ExchangeSpec, subject: string): URLSearchParams {
  const type = spec.requestedTokenType ?? 'access_token';
  const parameters = new URLSearchParams({
    subject_token: subject,
    subject_token_type: tokenTypeUrn('access_token'),
    requested_token_type: tokenTypeUrn(type),
  });
  for (const audience of spec.audience ?? []) parameters.append('audience', audience);
  for (const resource of spec.resource ?? []) parameters.append('resource', resource);
  if (spec.scope !== undefined && spec.scope.length > 0) parameters.set('scope', spec.scope.join(' '));
  return parameters;
}

interface FetchInit {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { toString(): string };
}

/** What oauth4webapi calls in place of fetch: bounded, and with only those members of the answer that are looked at. */
function fetchBy({ post, signal }: ExchangeRequest, { certificate }: ClientProof, ca: string | undefined) {
  return async (url: string, { headers, body }: FetchInit): Promise<Response> => {
    const sent: TokenPost = {
      url,
      headers,
      body: body.toString(),
      signal,
      ...(certificate !== undefined && { certificate }),
      ...(ca !== undefined && { ca }),
    };
    const answer = await post(sent);
    if (answer.status === 200) return Response.json(membersOf(answer));
    throw refusalOf(answer);
  };
}

const answerError = (reason: string): EnmeshError =>
  new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_ANSWER', `the answer of the token endpoint is not used: ${reason}`);

function membersOf(answer: TokenPostAnswer): Record<string, unknown> {
  const { access_token, token_type, issued_token_type, expires_in } = parseAnswer(answer);
  if (expires_in !== undefined && !isSeconds(expires_in)) throw answerError('its expires_in is no number of seconds');
  return { access_token, token_type, issued_token_type, expires_in };
}

/** Some providers write the number as a text. */
const isSeconds = (value: unknown): boolean =>
  typeof value === 'number' ? Number.isFinite(value) && value > 0 : typeof value === 'string' && /^[1-9]\d{0,9}$/.test(value);

function parseAnswer({ contentType, body }: TokenPostAnswer): Record<string, unknown> {
  if (!/^application\/json\s*(;|$)/i.test(contentType)) throw answerError('it is not JSON by its content-type');
  let value: unknown;
  try {
    value = parseStrictJson(body);
  } catch {
    throw answerError('it cannot be read strictly as JSON');
  }
  if (!isJsonObject(value)) throw answerError('it is no JSON object');
  return value;
}

/** RFC 6749 section 5.2, RFC 8693 section 2.2.2, and the words that Keycloak and others add. Anything else a provider says is not repeated: it may quote a token. */
const knownErrors: ReadonlySet<unknown> = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'invalid_target',
  'access_denied',
  'server_error',
  'temporarily_unavailable',
]);

function refusalOf(answer: TokenPostAnswer): EnmeshError {
  const { status } = answer;
  if (status >= 300 && status < 400)
    return new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_FAILED', 'the token endpoint redirects, and credentials are not sent on');
  if (status < 400 || status >= 500 || status === 429)
    return new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_FAILED', `the token endpoint answers with status ${status}`);
  let error: unknown;
  try {
    error = parseAnswer(answer)['error'];
  } catch {
    error = undefined;
  }
  const said = knownErrors.has(error) ? String(error) : 'no error that is known';
  const message = `the token endpoint refuses the exchange with status ${status} and ${said}`;
  return new EnmeshError('ENMESH_PROPAGATION_EXCHANGE_REFUSED', message, { details: { status, error: said } });
}
