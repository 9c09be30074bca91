// The entry `@enmesh/core/jwt`: verification of tokens that prove a caller, for packages that give identities.
export type { RequestIdentity } from '../identity/caller.js';
export { createBearerVerifier, type BearerIssuer, type BearerVerifier } from './bearer.js';
export type { JwtRefusal } from './outcome.js';
export { parseJwtBundle, readJwtSvid, verifyJwtSvid, type JwtBundle, type JwtBundleSet, type JwtSvid } from './jwt-svid.js';
