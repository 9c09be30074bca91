import type { KeyObject } from 'node:crypto';

/** The header a hop token travels in. */
export const hopHeader = 'enmesh-hop-token';

/** `typ` of a hop token (RFC 8725 section 3.11): no other token has it, so none can be taken for one. */
export const hopType = 'hop+jwt';

/** Bounds that both ends keep: seconds from `iat` to `exp`, characters, identities in `aud`, services in `act`. */
export const hopLimits = { lifeSeconds: 60, length: 8 * 1024, audiences: 16, actors: 16 } as const;

/** How an SVID key signs. The key decides, and a receiver expects what its peer's key decides. */
export interface HopAlgorithm {
  readonly alg: 'ES256' | 'ES384' | 'ES512' | 'RS256' | 'EdDSA';
  readonly hash: string | undefined;
}

const curves: Readonly<Record<string, HopAlgorithm>> = {
  prime256v1: { alg: 'ES256', hash: 'sha256' },
  secp384r1: { alg: 'ES384', hash: 'sha384' },
  secp521r1: { alg: 'ES512', hash: 'sha512' },
};
const rsa: HopAlgorithm = { alg: 'RS256', hash: 'sha256' };
const ed25519: HopAlgorithm = { alg: 'EdDSA', hash: undefined };

/** The algorithm of a key, private or public; undefined for a kind that no hop token is signed with. */
export function hopAlgorithmOf(key: KeyObject): HopAlgorithm | undefined {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return curves[key.asymmetricKeyDetails?.namedCurve ?? ''];
    case 'rsa':
      return rsa;
    case 'ed25519':
      return ed25519;
    default:
      return undefined;
  }
}

/** Actors as claim `act` writes them (RFC 8693 section 4.1): the last one outside, those before it inside. */
export interface ActClaim {
  readonly sub: string;
  readonly act?: ActClaim;
}

/** The chain as a claim; `actors` has at least one, the last to act first. */
export function actClaim(actors: readonly string[]): ActClaim | undefined {
  let claim: ActClaim | undefined;
  for (let i = actors.length - 1; i >= 0; i--) claim = { sub: actors[i] as string, ...(claim !== undefined && { act: claim }) };
  return claim;
}

/** The chain of a claim, or undefined when it is none or longer than {@link hopLimits} allows. */
export function parseActClaim(value: unknown): readonly string[] | undefined {
  const actors: string[] = [];
  for (let claim = value; claim !== undefined;) {
    if (typeof claim !== 'object' || claim === null || actors.length === hopLimits.actors) return undefined;
    const { sub, act } = claim as { sub?: unknown; act?: unknown };
    if (typeof sub !== 'string' || sub === '') return undefined;
    actors.push(sub);
    claim = act;
  }
  return actors.length === 0 ? undefined : Object.freeze(actors);
}
