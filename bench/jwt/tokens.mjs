import { generateKeyPairSync, sign } from 'node:crypto';

/** Of all benchmarks of this folder: whom the tokens are from and for. */
export const names = { issuer: 'https://idp.example/realms/shop', audience: 'shop' };

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** An issuer with one key that signs tokens of the size that identity providers give: about 700 characters with RS256. */
export function createIssuer(alg) {
  const { publicKey, privateKey } =
    alg === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'key-1', alg, use: 'sig' };
  const signed = (header, claims) => {
    const input = `${encode(header)}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${input}.${signature.toString('base64url')}`;
  };
  const seconds = Math.floor(Date.now() / 1000);
  const claims = (index) => ({
    iss: names.issuer,
    sub: `user-${index}`,
    aud: [names.audience, 'account'],
    iat: seconds - 5,
    exp: seconds + 7200,
    jti: `b6f1c0e2-4a1d-4c8b-9f00-${String(index).padStart(12, '0')}`,
    scope: 'openid profile email',
    groups: ['staff', 'buyers'],
    realm_access: { roles: ['offline_access', 'user'] },
  });
  const good = (index) => signed({ alg, typ: 'JWT', kid: 'key-1' }, claims(index));
  const bad = () => {
    const [head, payload, signature] = good(0).split('.');
    return {
      expired: signed({ alg, typ: 'JWT', kid: 'key-1' }, { ...claims(0), exp: seconds - 120 }),
      'wrong audience': signed({ alg, typ: 'JWT', kid: 'key-1' }, { ...claims(0), aud: 'other' }),
      'wrong kid': signed({ alg, typ: 'JWT', kid: 'key-2' }, claims(0)),
      'no algorithm': `${encode({ alg: 'none', typ: 'JWT' })}.${payload}.AAAA`,
      tampered: `${head}.${encode({ ...claims(0), sub: 'admin' })}.${signature}`,
    };
  };
  return { alg, publicKey, privateKey, jwks: { keys: [jwk] }, good, bad };
}

/** The same text as a string of its own, as a parser makes one for each request: neither hashed nor shared. */
export const fresh = (text) => Buffer.from(text, 'latin1').toString('latin1');
