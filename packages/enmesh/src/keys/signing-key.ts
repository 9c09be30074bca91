import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { MisuseError } from '../output.js';

/** The signature algorithms that RequestAuthentication takes and a key file can make. */
export const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;

/** One of {@link algorithms}. */
export type Algorithm = (typeof algorithms)[number];

/** A private key for signing development tokens, with the algorithm and the key id that its public half is published under. */
export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly alg: Algorithm;
  readonly kid: string;
}

const curves: Readonly<Record<string, Algorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' };

/** How to read a key; `create` makes a P-256 key (file mode 0600) when there is no such file. */
export interface KeyOptions {
  readonly path: string;
  readonly alg?: string;
  readonly kid?: string;
  readonly create?: boolean;
}

/** Reads a private key from PEM (PKCS#8, PKCS#1, SEC1) or JWK. `kid` is its RFC 7638 thumbprint unless given. Everything wrong is a `MisuseError`. */
export async function readSigningKey(o: KeyOptions): Promise<SigningKey> {
  const text = await readText(o);
  const { key, declared } = parseKey(text, o.path);
  const alg = algorithmOf(key, o.alg ?? declared.alg, o.path);
  return { privateKey: key, alg, kid: o.kid ?? declared.kid ?? thumbprint(key) };
}

async function readText({ path, create }: KeyOptions): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT') throw new MisuseError(`${path} cannot be read: ${code ?? 'unknown reason'}`);
    if (create !== true) throw new MisuseError(`${path} does not exist; enmesh token --create makes a key for development there`);
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writeFile(path, pem, { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    throw new MisuseError(`${path} cannot be written: ${error.code ?? 'unknown reason'}`);
  });
  return pem;
}

function parseKey(text: string, path: string): { key: KeyObject; declared: { alg?: string; kid?: string } } {
  try {
    if (!text.trimStart().startsWith('{')) return { key: createPrivateKey(text), declared: {} };
    const jwk = JSON.parse(text) as JsonWebKey & { alg?: unknown; kid?: unknown };
    const declared = {
      ...(typeof jwk.alg === 'string' ? { alg: jwk.alg } : {}),
      ...(typeof jwk.kid === 'string' ? { kid: jwk.kid } : {}),
    };
    return { key: createPrivateKey({ key: jwk, format: 'jwk' }), declared };
  } catch {
    // OpenSSL's own sentence may quote the file.
    throw new MisuseError(`${path} holds no private key that can be read (PEM without passphrase, or JWK)`);
  }
}

function algorithmOf(key: KeyObject, wanted: string | undefined, path: string): Algorithm {
  const possible = possibleAlgorithms(key);
  if (possible.length === 0)
    throw new MisuseError(`${path} holds a key that signs no token: RSA, P-256, P-384, P-521 or Ed25519 is needed`);
  const alg = possible.find((one) => one === (wanted ?? possible[0]));
  if (alg === undefined) throw new MisuseError(`the key of ${path} signs ${possible.join(', ')}, not what was asked for`);
  return alg;
}

function possibleAlgorithms(key: KeyObject): readonly Algorithm[] {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') return (details?.modulusLength ?? 0) >= 2048 ? algorithms.filter((one) => /^[RP]S/.test(one)) : [];
  if (type === 'ed25519') return ['EdDSA'];
  const curve = type === 'ec' ? curves[details?.namedCurve ?? ''] : undefined;
  return curve === undefined ? [] : [curve];
}

/** The public half as a JWK with `kid`, `alg` and `use`: what a verifier may know. */
export function publicJwk({ privateKey, alg, kid }: SigningKey): Readonly<Record<string, unknown>> {
  return { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid, alg, use: 'sig' };
}

function thumbprint(key: KeyObject): string {
  const { crv, e, kty, n, x, y } = createPublicKey(key).export({ format: 'jwk' });
  const required = { crv, e, kty, n, x, y };
  return createHash('sha256').update(JSON.stringify(required)).digest('base64url');
}

/** Claims as a signed JWT (JWS compact form), its header `alg`, `kid` and `typ`. */
export function signToken(key: SigningKey, claims: Readonly<Record<string, unknown>>): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${encode({ alg: key.alg, kid: key.kid, typ: 'JWT' })}.${encode(claims)}`;
  const hash = key.alg === 'EdDSA' ? null : `sha${key.alg.slice(2)}`;
  const signature = sign(hash, Buffer.from(input), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
    ...(key.alg.startsWith('PS')
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : {}),
  });
  return `${input}.${signature.toString('base64url')}`;
}
