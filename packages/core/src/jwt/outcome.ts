import type { ErrorCode } from '../errors.js';
import type { RequestIdentity } from '../identity/caller.js';

/**
 * What an accepted token does to the request (istio-semantics 2.7). `removeHeaders` are whole headers (lower case), `removeParams` names of
 * query parameters as the policy writes them (compare with decoded ones), `setHeaders` lines to append (lower-case names; one name may stand several times).
 */
export interface JwtEffects {
  readonly removeHeaders: readonly string[];
  readonly removeParams: readonly string[];
  readonly setHeaders: readonly (readonly [name: string, value: string])[];
}

/** The request may go on to the policies: with a verified user, or without any token. Without anything to do, `effects` is undefined. */
export interface JwtAccepted {
  readonly ok: true;
  readonly user: RequestIdentity | undefined;
  readonly effects: JwtEffects | undefined;
}

/** The request is refused. `body` is Istio's own; `invalidToken` says that www-authenticate gets `error="invalid_token"`; `reason` is for operators. */
export interface JwtRefusal {
  readonly ok: false;
  readonly status: 401 | 403;
  readonly body: string;
  readonly code: ErrorCode;
  readonly invalidToken: boolean;
  readonly reason: string;
}

/** What became of the tokens of one request. Outcomes are shared between requests, and nobody changes them. */
export type JwtOutcome = JwtAccepted | JwtRefusal;

const refuse = (code: ErrorCode, body: string, reason: string, status: 401 | 403 = 401): JwtRefusal =>
  Object.freeze({ ok: false, status, body, code, invalidToken: true, reason });

const malformed = (body: string, reason: string = body): JwtRefusal => refuse('ENMESH_JWT_MALFORMED', body, reason);
const claim = (name: string, problem: string): JwtRefusal => malformed(`Jwt payload [${name}] field is ${problem}`);

const form = 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections';
const signatureFails = 'Jwt verification fails';
const keyUnknown = "Jwks doesn't have key to match kid or alg from Jwt";

/** Every refusal there is, with Istio's status and body (istio-semantics 2.6; Envoy's jwt_verify_lib status texts). */
export const refusals = {
  tooLong: malformed(form, 'the token is longer than 16 KiB'),
  form: malformed(form),
  headerBase64: malformed('Jwt header is an invalid Base64url encoded'),
  headerJson: malformed('Jwt header is an invalid JSON'),
  algMissing: refuse(
    'ENMESH_JWT_HEADER',
    'Jwt header [alg] field is required and must be a string',
    'the token header has no alg',
  ),
  algUnsupported: refuse('ENMESH_JWT_HEADER', 'Jwt header [alg] is not supported', 'the alg of the token is not on the list'),
  kidType: malformed('Jwt header [kid] field is not a string'),
  headerMember: refuse('ENMESH_JWT_HEADER', signatureFails, 'the token header has one of crit, b64, jku, x5u, jwk, zip, enc'),
  payloadBase64: malformed('Jwt payload is an invalid Base64url encoded'),
  payloadJson: malformed('Jwt payload is an invalid JSON'),
  issType: claim('iss', 'not a string'),
  subType: claim('sub', 'not a string'),
  jtiType: claim('jti', 'not a string'),
  iatType: claim('iat', 'not an integer'),
  nbfType: claim('nbf', 'not an integer'),
  expType: claim('exp', 'not an integer'),
  iatRange: claim('iat', 'not a positive 64 bit integer'),
  nbfRange: claim('nbf', 'not a positive 64 bit integer'),
  expRange: claim('exp', 'not a positive 64 bit integer'),
  audType: claim('aud', 'not a string or string list'),
  signatureBase64: malformed('Jwt signature is an invalid Base64url encoded'),
  issuer: refuse('ENMESH_JWT_ISSUER', 'Jwt issuer is not configured', 'no rule for this place names the issuer of the token'),
  notYetValid: refuse('ENMESH_JWT_NOT_YET_VALID', 'Jwt not yet valid', 'nbf lies in the future'),
  expired: refuse('ENMESH_JWT_EXPIRED', 'Jwt is expired', 'exp lies in the past'),
  audience: refuse('ENMESH_JWT_AUDIENCE', 'Audiences in Jwt are not allowed', 'no audience of the token is one of the rule', 403),
  signature: refuse('ENMESH_JWT_SIGNATURE', signatureFails, 'no key of the issuer verifies the signature'),
  ed25519Length: refuse('ENMESH_JWT_SIGNATURE', 'Jwt ED25519 signature is wrong length', 'an Ed25519 signature has 64 octets'),
  keyUnknown: refuse('ENMESH_JWT_KEY_UNKNOWN', keyUnknown, 'the key set has no key for the kid and alg of the token'),
  // Istio gives Envoy a key set with one key that nobody holds, so the answer depends on whether the token names a key.
  noKeysKid: refuse('ENMESH_JWT_KEYS_UNAVAILABLE', keyUnknown, 'the key set of the issuer is not available'),
  noKeys: refuse('ENMESH_JWT_KEYS_UNAVAILABLE', signatureFails, 'the key set of the issuer is not available'),
  noUsableKey: refuse(
    'ENMESH_JWT_KEYS_UNAVAILABLE',
    "Jwks doesn't have any valid public key",
    'the key set of the issuer has no usable key',
  ),
  output: refuse('ENMESH_JWT_OUTPUT_HEADER', signatureFails, 'an output header has an impossible name or value'),
  unchecked: refuse('ENMESH_JWT_UNCHECKED', signatureFails, 'the verification itself failed'),
} as const satisfies Record<string, JwtRefusal>;

/** The outcome of a request that brings no token: it passes, without a user. */
export const noToken: JwtAccepted = Object.freeze({ ok: true, user: undefined, effects: undefined });
