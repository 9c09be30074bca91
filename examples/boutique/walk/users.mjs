// The users' identity provider, as far as a walk needs one: a key, its public half as a key set, and tokens, good and bad.
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export const issuer = 'https://accounts.boutique.example';

/** `keySet` is text for `jwks:`; `token(claims, {expiresIn, key})` signs, by default a good one of alice for an hour. */
export async function createUsers() {
  const own = await generateKeyPair('ES256');
  const others = await generateKeyPair('ES256');
  const sign = (claims, { expiresIn = 3600, key = own.privateKey } = {}) => {
    const now = Math.floor(Date.now() / 1000);
    const user = { sub: 'alice', email: 'alice@boutique.example', group: 'customer' };
    return new SignJWT({ iss: issuer, aud: 'boutique', iat: now - 3600, exp: now + expiresIn, ...user, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid: 'boutique-1', typ: 'JWT' })
      .sign(key);
  };
  return {
    keySet: JSON.stringify({ keys: [{ ...(await exportJWK(own.publicKey)), kid: 'boutique-1', alg: 'ES256', use: 'sig' }] }),
    token: sign,
    /** Says what a good one would say, under the same key name, signed with a key of the forger's. */
    forged: (claims) => sign(claims, { key: others.privateKey }),
  };
}
