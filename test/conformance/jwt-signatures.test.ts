import { createPublicKey, generateKeyPairSync, sign, constants, type JsonWebKey, type KeyObject } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseKeySet } from '../../packages/core/src/jwt/jwk.js';
import { checkSignature } from '../../packages/core/src/jwt/signature.js';
import { createTokenVerifier, encode, isUser } from '../support/jwt-verifier.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const present = existsSync(corpora);
if (!present) console.log(`skip: no corpora at ${corpora}`);
const now = Date.UTC(2026, 0, 1);

interface Vectors {
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: 'valid' | 'invalid' | 'acceptable';
    }[];
  }[];
}

/** Cases of one file whose verdict as the signature of a JWS is not the one that the corpus gives, and how many were compared. */
function disagreements(file: string, alg: string, isDer: boolean) {
  const { testGroups } = JSON.parse(readFileSync(resolve(corpora, 'wycheproof/sig', file), 'utf8')) as Vectors;
  let cases = 0;
  let verified = 0;
  const wrong: string[] = [];
  for (const { publicKeyDer, tests } of testGroups) {
    const jwk = createPublicKey({ key: Buffer.from(publicKeyDer, 'hex'), format: 'der', type: 'spki' }).export({ format: 'jwk' });
    const { keys } = parseKeySet(JSON.stringify({ keys: [jwk] }));
    for (const { tcId, comment, msg, sig, result } of tests) {
      cases++;
      const signingInput = Buffer.from(msg, 'hex').toString('latin1');
      const text = `${signingInput}.${Buffer.from(sig, 'hex').toString('base64url')}`;
      const rest = { kid: '', payloadSegment: '', claims: {}, objection: undefined };
      const jws = { ok: true as const, alg, text, signedLength: signingInput.length, ...rest };
      const good = checkSignature(jws, keys) === undefined;
      if (good) verified++;
      // A JWS holds r and s side by side (RFC 7518 section 3.4): the form of certificates is never one.
      const expected = !isDer && result === 'valid';
      if (good !== expected && (isDer || result !== 'acceptable')) wrong.push(`${tcId} ${comment} (${result})`);
    }
  }
  return { cases, verified, wrong };
}

describe.skipIf(!present)('the 3 713 signature vectors of Wycheproof', () => {
  it.each([
    ['ecdsa_secp256r1_sha256_p1363_test.json', 'ES256', 262, 173],
    ['ecdsa_secp384r1_sha384_p1363_test.json', 'ES384', 280, 193],
    ['ecdsa_secp521r1_sha512_p1363_test.json', 'ES512', 318, 231],
    ['ed25519_test.json', 'EdDSA', 151, 88],
    ['rsa_pss_2048_sha256_mgf1_32_test.json', 'PS256', 108, 63],
    ['rsa_pss_3072_sha256_mgf1_32_test.json', 'PS256', 108, 63],
    ['rsa_pss_4096_sha512_mgf1_64_test.json', 'PS512', 179, 132],
    ['rsa_signature_2048_sha256_test.json', 'RS256', 259, 9],
    ['rsa_signature_3072_sha384_test.json', 'RS384', 259, 7],
    ['rsa_signature_4096_sha512_test.json', 'RS512', 259, 7],
  ])('%s has the same verdict under %s', (file, alg, cases, verified) => {
    expect(disagreements(file, alg, false)).toEqual({ cases, verified, wrong: [] });
  });

  it.each([
    ['ecdsa_secp256r1_sha256_test.json', 'ES256', 484],
    ['ecdsa_secp384r1_sha384_test.json', 'ES384', 504],
    ['ecdsa_secp521r1_sha512_test.json', 'ES512', 542],
  ])('%s, in the form of certificates, never verifies under %s', (file, alg, cases) => {
    expect(disagreements(file, alg, true)).toEqual({ cases, verified: 0, wrong: [] });
  });
});

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keyPairs: Readonly<Record<string, { readonly publicKey: KeyObject; readonly privateKey: KeyObject }>> = {
  RS: rsa,
  PS: rsa,
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  EdDSA: generateKeyPairSync('ed25519'),
};
const pairOf = (alg: string) => keyPairs[alg] ?? keyPairs[alg.slice(0, 2)]!;

function signAs(alg: string, header: object, payload: Uint8Array | object, key: KeyObject): string {
  const input = `${encode(header)}.${encode(payload)}`;
  const hash = alg === 'EdDSA' ? null : `sha${alg.slice(2)}`;
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  const options = { key, dsaEncoding: 'ieee-p1363' as const, ...(alg.startsWith('PS') ? pss : {}) };
  return `${input}.${sign(hash, Buffer.from(input), options).toString('base64url')}`;
}

const all = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];
const jwksOf = (alg: string, more: object = {}): string =>
  JSON.stringify({ keys: [{ ...(pairOf(alg).publicKey.export({ format: 'jwk' }) as JsonWebKey), ...more }] });

describe('each algorithm', () => {
  it.each(all)('%s verifies what it signed, and under no other name', (alg) => {
    const { privateKey } = pairOf(alg);
    for (const named of all) {
      const token = signAs(alg, { alg: named }, { iss: 'a' }, privateKey);
      expect([named, isUser(createTokenVerifier({ issuer: 'a', jwks: jwksOf(alg) }, now)(token))]).toEqual([
        named,
        named === alg,
      ]);
    }
  });

  it.each(all)('%s is refused by a key that names another of its family', (alg) => {
    const token = signAs(alg, { alg }, { iss: 'a' }, pairOf(alg).privateKey);
    for (const named of all.filter((other) => other !== alg && pairOf(other) === pairOf(alg)))
      expect(createTokenVerifier({ issuer: 'a', jwks: jwksOf(alg, { alg: named }) }, now)(token)).toMatchObject({ ok: false });
    expect(isUser(createTokenVerifier({ issuer: 'a', jwks: jwksOf(alg, { alg }) }, now)(token))).toBe(true);
  });
});

describe.skipIf(!present)('JSONTestSuite as what an issuer signed, and as its key set', () => {
  const folder = resolve(corpora, 'jsontestsuite/test_parsing');
  const files = present ? readdirSync(folder) : [];
  const octetsOf = (name: string): Buffer => readFileSync(resolve(folder, name));

  it('nothing of it is a user: what is no JSON object is refused, and what is one names no issuer', () => {
    const verify = createTokenVerifier({ issuer: 'a', jwks: jwksOf('ES256') }, now);
    const answers = new Map<string, number>();
    for (const name of files) {
      const outcome = verify(signAs('ES256', { alg: 'ES256' }, octetsOf(name), pairOf('ES256').privateKey));
      const said = outcome.ok ? 'accepted' : `${outcome.status} ${outcome.body}`;
      if (name.startsWith('n_')) expect([name, said]).toEqual([name, expectedFor(octetsOf(name))]);
      answers.set(said, (answers.get(said) ?? 0) + 1);
    }
    expect([...answers.keys()].sort()).toEqual([form, '401 Jwt issuer is not configured', json]);
    expect(files).toHaveLength(318);
  });
  const [form, json] = [
    '401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
    '401 Jwt payload is an invalid JSON',
  ];
  // Without a payload there are two parts, and one file makes a token of more than 16 KiB.
  const expectedFor = ({ length }: Buffer): string => (length === 0 || length > 12_000 ? form : json);

  it('nothing of it is a key set, and reading it fails in one way only', () => {
    for (const name of files) {
      let code: unknown = 'read';
      try {
        parseKeySet(octetsOf(name));
      } catch (error) {
        ({ code } = error as { code?: unknown });
      }
      expect([name, code]).toEqual([name, 'ENMESH_JWT_KEY_SET_INVALID']);
    }
  });
});
