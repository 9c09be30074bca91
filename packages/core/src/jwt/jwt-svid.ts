import { EnmeshError, isEnmeshError } from '../errors.js';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
import { decodeBase64url } from './base64url.js';
import { keySetMembers, parseKeySet, type JwtKey } from './jwk.js';
import { own, parseObject } from './jws.js';
import { checkSignature } from './signature.js';
import { isJsonObject } from './strict-json.js';
import { parseToken, type Token } from './token.js';

/** The public keys that sign the JWT-SVIDs of one trust domain. */
export interface JwtBundle {
  readonly trustDomain: string;
  readonly keys: readonly JwtKey[];
}

/** JWT bundles by trust domain name. A token is checked only with the bundle of its subject's trust domain. */
export type JwtBundleSet = ReadonlyMap<string, JwtBundle>;

/** What a JWT-SVID says (JWT-SVID section 3). `expiresAt` is milliseconds since the epoch. */
export interface JwtSvid {
  readonly spiffeId: SpiffeId;
  readonly audiences: readonly string[];
  readonly expiresAt: number;
  /** Frozen. */
  readonly claims: Readonly<Record<string, unknown>>;
}

const skew = 60_000;
const maxAudiences = 100;

/**
 * Reads the JWT bundle of a trust domain from a JSON Web Key Set: keys for JWT-SVIDs by their `use`, or without any unless `isUseRequired`, as in the
 * SPIFFE bundle format. Every such key has a `kid` (JWT-SVID section 6); those that no signature can be verified with are left out, and an empty set is a bundle that signs nothing.
 * Throws `ENMESH_JWT_KEY_SET_INVALID`.
 */
export function parseJwtBundle(
  trustDomain: string,
  text: Uint8Array | string,
  options: { readonly isUseRequired?: boolean } = {},
): JwtBundle {
  const members = keySetMembers(text)
    .filter(isJsonObject)
    .filter(({ use }) => use === 'jwt-svid' || (use === undefined && options.isUseRequired !== true));
  if (members.some(({ kid }) => typeof kid !== 'string' || kid === ''))
    throw new EnmeshError('ENMESH_JWT_KEY_SET_INVALID', `a key of the JWT bundle of ${trustDomain} has no kid`);
  // The value of `use` is SPIFFE's own; to a reader of key sets these are keys for signatures.
  const keys = members.map((member) => ({ ...member, use: 'sig' }));
  return { trustDomain, keys: parseKeySet(JSON.stringify({ keys })).keys };
}

/**
 * Verifies a JWT-SVID for one audience (JWT-SVID sections 2 to 5): RS, PS or ES with SHA-2 as its key allows, `typ` JWT, JOSE or none, `kid`, a SPIFFE ID
 * as `sub`, `aud` with this audience, `exp` ahead, and a signature by the bundle of its own trust domain. `now` is milliseconds since the epoch.
 * Throws `ENMESH_JWT_SVID_INVALID`; neither message nor details hold the token or a claim.
 */
export function verifyJwtSvid(options: {
  readonly token: string;
  readonly audience: string;
  readonly bundles: JwtBundleSet;
  readonly now: number;
}): JwtSvid {
  const { audience, bundles, now } = options;
  const { token, svid } = read(options.token);
  if (audience === '' || !svid.audiences.includes(audience)) throw invalid('it is for another audience');
  if (now >= svid.expiresAt) throw invalid('it has expired');
  if (typeof svid.claims['nbf'] === 'number' && now + skew < svid.claims['nbf'] * 1000) throw invalid('it is not valid yet');
  const bundle = bundles.get(svid.spiffeId.trustDomain);
  if (bundle === undefined) throw invalid("no JWT bundle is held for its subject's trust domain");
  // Every key of a bundle has a kid, and so has the token: no other key is tried.
  const refusal = checkSignature(token, bundle.keys);
  if (refusal !== undefined) throw invalid("no key of its trust domain's JWT bundle signs it");
  return svid;
}

/**
 * What a JWT-SVID says of itself, without its signature, audience or end having been looked at: for the workload that it was issued to.
 * Throws `ENMESH_JWT_SVID_INVALID`.
 */
export function readJwtSvid(token: string): JwtSvid {
  return read(token).svid;
}

function read(text: string): { readonly token: Token; readonly svid: JwtSvid } {
  const token = parseToken(text);
  if (!token.ok) throw invalid('it is no JWT that can be read strictly');
  const { payload: claims, subject, audiences } = token.claims;
  const expiry = own(claims, 'exp');
  if (!/^(RS|PS|ES)(256|384|512)$/.test(token.alg)) throw invalid('its algorithm is not one of JWT-SVIDs');
  if (token.kid === '') throw invalid('it names no key');
  if (!isTypeAllowed(text)) throw invalid('its typ is neither JWT nor JOSE');
  if (audiences.length === 0 || audiences.length > maxAudiences) throw invalid('it has no audience, or too many');
  if (typeof expiry !== 'number') throw invalid('it has no end');
  return { token, svid: { spiffeId: subjectOf(subject), audiences, expiresAt: expiry * 1000, claims: Object.freeze(claims) } };
}

function isTypeAllowed(text: string): boolean {
  const header = parseObject(decodeBase64url(text.slice(0, text.indexOf('.'))) ?? Buffer.alloc(0));
  const typ = header ? own(header, 'typ') : null;
  return typ === undefined || typ === 'JWT' || typ === 'JOSE';
}

function subjectOf(subject: string | undefined): SpiffeId {
  try {
    return parseSpiffeId(subject ?? '');
  } catch (error) {
    if (!isEnmeshError(error)) throw error;
    throw invalid('its subject is no SPIFFE ID');
  }
}

function invalid(reason: string): EnmeshError {
  return new EnmeshError('ENMESH_JWT_SVID_INVALID', `The JWT-SVID is not accepted: ${reason}`);
}
