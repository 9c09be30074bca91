import { createHash, randomBytes, sign, type KeyObject } from 'node:crypto';
import { EnmeshError } from '../errors.js';
import type { RequestIdentity } from '../identity/caller.js';
import type { X509Svid } from '../identity/svid.js';
import type { TokenNote } from './token-note.js';
import { parsePem } from '../x509/pem.js';
import { actClaim, hopAlgorithmOf, hopLimits, hopType, type HopAlgorithm } from './hop-token.js';

/** One call that is to carry its user: in whose name, for whom, and by which SVID. */
export interface HopCall {
  /** The SVID that the connections of this call show: only its holder can use the token. */
  readonly svid: X509Svid;
  /** SPIFFE IDs the destination may have; the same list object for the same destination. */
  readonly audience: readonly string[];
  readonly user: RequestIdentity;
  /** Who carried the user to us, the last first. */
  readonly actors: readonly string[];
  /** Top-level claims that travel; the same list object for the same entry. */
  readonly claims: readonly string[];
}

/** Makes hop tokens. */
export interface HopMinter {
  /** The token for a call, one made in the last 30 s where there is one; `note` gets which it was. Throws an `ENMESH_PROPAGATION_` code when there can be none. */
  tokenFor(call: HopCall, note?: TokenNote): string;
}

/** A token is sent again for the first half of its life, so that it arrives with the other half in front of it. */
const reuseMs = 30_000;

/** Destinations of one user that are remembered; a user calls few. */
const mostKept = 32;

interface Minted {
  readonly svid: X509Svid;
  readonly claims: readonly string[];
  readonly actors: readonly string[];
  readonly token: string;
  readonly usableUntil: number;
}

/**
 * Creates the maker of hop tokens. What it remembers hangs on the user's identity object, which lives as long as the verified token is kept, so it is
 * bounded by that cache; `clock` is in milliseconds.
 */
export function createHopMinter({ clock }: { readonly clock: () => number }): HopMinter {
  const byUser = new WeakMap<RequestIdentity, Map<readonly string[], Minted>>();
  return {
    tokenFor(call, note) {
      const now = clock();
      let kept = byUser.get(call.user);
      const known = kept?.get(call.audience);
      if (known !== undefined && isFor(known, call) && now < known.usableUntil && now >= known.usableUntil - reuseMs) {
        if (note !== undefined) note.token = 'reused';
        return known.token;
      }
      const minted = mint(call, now);
      if (note !== undefined) note.token = 'minted';
      if (kept === undefined) byUser.set(call.user, (kept = new Map()));
      if (kept.size >= mostKept) kept.clear();
      kept.set(call.audience, minted);
      return minted.token;
    },
  };
}

const isFor = (known: Minted, { svid, claims, actors }: HopCall): boolean =>
  known.svid === svid && known.claims === claims && known.actors === actors;

function mint({ svid, audience, user, actors, claims }: HopCall, now: number): Minted {
  const { issuer, subject, expiresAt } = user;
  if (issuer === undefined || subject === undefined)
    throw new EnmeshError('ENMESH_PROPAGATION_NO_SUBJECT', 'the token of the user has no issuer or no subject');
  if (audience.length === 0 || audience.length > hopLimits.audiences)
    throw new EnmeshError(
      'ENMESH_PROPAGATION_AUDIENCE',
      `the destination may have ${audience.length} identities; a hop token is for 1 to ${hopLimits.audiences}`,
    );
  const iat = Math.floor(now / 1000);
  const exp = Math.min(iat + hopLimits.lifeSeconds, Math.floor(expiresAt / 1000));
  // Written so that a clock that is no number refuses.
  if (!(exp * 1000 > now)) throw new EnmeshError('ENMESH_PROPAGATION_USER_EXPIRED', 'the token of the user has expired');
  if (actors.length >= hopLimits.actors)
    throw new EnmeshError('ENMESH_PROPAGATION_TOO_LARGE', `${actors.length} services have carried the user already`);
  const payload = {
    iss: svid.id.uri,
    aud: audience,
    sub: subject,
    user: { ...listed(user.claims, claims), iss: issuer },
    ...(expiresAt !== Infinity && { user_exp: Math.floor(expiresAt / 1000) }),
    act: actClaim([svid.id.uri, ...actors]),
    iat,
    exp,
    jti: randomBytes(16).toString('base64url'),
  };
  const input = `${signerOf(svid).header}.${segment(payload)}`;
  const token = `${input}.${signature(svid, input)}`;
  if (token.length > hopLimits.length)
    throw new EnmeshError('ENMESH_PROPAGATION_TOO_LARGE', `the hop token would have ${token.length} characters`);
  return { svid, claims, actors, token, usableUntil: Math.min(now + reuseMs, exp * 1000) };
}

function listed(claims: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const chosen: Record<string, unknown> = {};
  for (const name of names) if (Object.hasOwn(claims, name)) chosen[name] = claims[name];
  return chosen;
}

interface Signer {
  readonly header: string;
  readonly algorithm: HopAlgorithm;
  readonly key: KeyObject;
}

const signers = new WeakMap<X509Svid, Signer>();

function signerOf(svid: X509Svid): Signer {
  let signer = signers.get(svid);
  if (signer === undefined) {
    const algorithm = hopAlgorithmOf(svid.privateKey);
    const [leaf] = parsePem(svid.chain, 'CERTIFICATE');
    if (algorithm === undefined || leaf === undefined)
      throw new EnmeshError('ENMESH_PROPAGATION_KEY', 'hop tokens cannot be signed with the key of this SVID');
    const thumbprint = createHash('sha256').update(leaf).digest('base64url');
    const header = segment({ alg: algorithm.alg, typ: hopType, 'x5t#S256': thumbprint });
    signers.set(svid, (signer = { header, algorithm, key: svid.privateKey }));
  }
  return signer;
}

function signature(svid: X509Svid, input: string): string {
  const { algorithm, key } = signerOf(svid);
  return sign(algorithm.hash, Buffer.from(input, 'latin1'), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}

const segment = (value: object): string => Buffer.from(JSON.stringify(value), 'utf8').toString('base64url');
