import { createHash, sign, X509Certificate } from 'node:crypto';
import type { X509Svid } from '@enmesh/core';

/** Parts of a hop token to be other than right: members that are undefined are left out, further ones are added. */
export interface Forgery {
  readonly header?: object;
  readonly claims?: object;
  /** Whose key signs; the maker's by default. */
  readonly signer?: X509Svid;
  /** The payload as text in the place of the claims. */
  readonly payload?: string;
}

const segment = (text: string): string => Buffer.from(text).toString('base64url');

/** Makes a hop token as the documents describe it, by nothing of enmesh's own, from an ECDSA P-256 SVID for one audience. */
export function forgeHop(maker: X509Svid, audience: string, issuer: string, forgery: Forgery = {}): string {
  const leaf = new X509Certificate(maker.chain).raw;
  const header = {
    alg: 'ES256',
    typ: 'hop+jwt',
    'x5t#S256': createHash('sha256').update(leaf).digest('base64url'),
    ...forgery.header,
  };
  const iat = Math.floor(Date.now() / 1000);
  const claims = {
    iss: maker.id.uri,
    aud: [audience],
    sub: 'jane',
    user: { iss: issuer, groups: ['admin'] },
    user_exp: iat + 300,
    act: { sub: maker.id.uri },
    iat,
    exp: iat + 60,
    jti: 'a',
    ...forgery.claims,
  };
  const input = `${segment(JSON.stringify(header))}.${segment(forgery.payload ?? JSON.stringify(claims))}`;
  const key = (forgery.signer ?? maker).privateKey;
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

/** A token with one more claim value and the signature of before. */
export function alterClaims(token: string, change: (claims: Record<string, unknown>) => void): string {
  const [header, payload = '', signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  change(claims);
  return [header, segment(JSON.stringify(claims)), signature].join('.');
}
