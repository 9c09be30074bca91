import { createPrivateKey, sign as signOctets, type JsonWebKey, type KeyObject } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { serveIssuer, type IssuerServer } from './issuer-server.js';

export type { IssuerServer, Misbehaviour } from './issuer-server.js';

/** Signature algorithms of a test issuer. */
export type TestAlgorithm = 'RS256' | 'ES256' | 'EdDSA';

/** How one test token is signed; times are seconds. Without `expiresIn` a token lives 300 seconds; null leaves `exp` out. */
export interface SignOptions {
  readonly kid?: string | null;
  /** Further header parameters; they win over the usual ones. */
  readonly header?: Readonly<Record<string, unknown>>;
  readonly expiresIn?: number | null;
  /** When the token is issued, in ms since the epoch; default now. */
  readonly now?: number;
}

/** An identity provider for tests: its keys, tokens good and bad, and a JWKS server that misbehaves when told to. */
export interface TestIssuer {
  readonly issuer: string;
  /** The public keys in force, as an object and as the text to put into `jwks:`. */
  readonly jwks: { readonly keys: readonly JsonWebKey[] };
  readonly jwksText: string;
  /** Signs claims with the newest key. `iss`, `iat` and `exp` are added where the claims do not say otherwise. */
  sign(claims: Readonly<Record<string, unknown>>, options?: SignOptions): Promise<string>;
  /** Signs the very octets of a header and a payload, however wrong they are. */
  signText(header: string, payload: string): string;
  /** Puts a new key in the place of all others, or, with `keep`, before them. */
  rotate(options?: { readonly keep?: boolean }): Promise<void>;
  /** Serves the keys, and a discovery document, over http on 127.0.0.1. */
  serve(): Promise<IssuerServer>;
}

interface SigningKey {
  readonly kid: string;
  readonly publicJwk: JsonWebKey;
  readonly privateKey: KeyObject;
}

/** Creates an issuer with one fresh key. Default: `https://issuer.test`, RS256. */
export async function createTestIssuer({
  issuer = 'https://issuer.test',
  alg = 'RS256',
}: { readonly issuer?: string; readonly alg?: TestAlgorithm } = {}): Promise<TestIssuer> {
  let count = 1;
  let keys: readonly [SigningKey, ...SigningKey[]] = [await createSigningKey(alg, `key-${count}`)];
  const jwksText = (): string => JSON.stringify({ keys: keys.map((key) => key.publicJwk) });
  return {
    issuer,
    get jwks() {
      return { keys: keys.map((key) => key.publicJwk) };
    },
    get jwksText() {
      return jwksText();
    },
    async sign(claims, { kid = keys[0].kid, header = {}, expiresIn = 300, now = Date.now() } = {}) {
      const iat = Math.floor(now / 1000);
      const payload = { iss: issuer, iat, ...(expiresIn === null ? {} : { exp: iat + expiresIn }), ...claims };
      const names = { alg, typ: 'JWT', ...(kid === null ? {} : { kid }), ...header };
      return new SignJWT(payload).setProtectedHeader(names).sign(keys[0].privateKey);
    },
    signText(header, payload) {
      const input = [header, payload].map((part) => Buffer.from(part, 'utf8').toString('base64url')).join('.');
      const key = { key: keys[0].privateKey, dsaEncoding: 'ieee-p1363' as const };
      return `${input}.${signOctets(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), key).toString('base64url')}`;
    },
    async rotate({ keep = false } = {}) {
      const next = await createSigningKey(alg, `key-${++count}`);
      keys = keep ? [next, ...keys] : [next];
    },
    serve: () => serveIssuer(jwksText),
  };
}

async function createSigningKey(alg: TestAlgorithm, kid: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk = { ...((await exportJWK(publicKey)) as JsonWebKey), kid, alg, use: 'sig' };
  return { kid, publicJwk, privateKey: createPrivateKey({ key: (await exportJWK(privateKey)) as JsonWebKey, format: 'jwk' }) };
}
