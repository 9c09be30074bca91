import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseKeySet } from '../../packages/core/src/jwt/jwk.js';
import { parseJws } from '../../packages/core/src/jwt/jws.js';
import { refusals } from '../../packages/core/src/jwt/outcome.js';
import { checkSignature } from '../../packages/core/src/jwt/signature.js';
import { parseStrictJson } from '../../packages/core/src/jwt/strict-json.js';
import { parseToken, sanitizeAudience } from '../../packages/core/src/jwt/token.js';

const corpora = process.env['ENMESH_CORPORA'] ?? resolve(import.meta.dirname, '../../../shared/corpora');
const present = existsSync(corpora);
if (!present) console.log(`skip: no corpora at ${corpora}`);

const readText = (file: string): string => readFileSync(resolve(corpora, file), 'utf8');
const readJson = <T>(file: string): T => JSON.parse(readText(file)) as T;

/** Whether a compact JWS is accepted with these keys; its payload need be no JSON. */
function isVerified(jws: unknown, keys: readonly unknown[]): boolean {
  if (typeof jws !== 'string') return false;
  const parsed = parseJws(jws, () => ({}));
  return parsed.ok && checkSignature(parsed, parseKeySet(JSON.stringify({ keys })).keys) === undefined;
}

/** Compares verdicts with a corpus: what disagrees must be excused, and what is excused must disagree. */
function compare(
  cases: readonly { readonly id: string; readonly expected: unknown; readonly actual: unknown }[],
  excused: ReadonlyMap<string, string>,
) {
  const disagreeing = cases.filter(({ expected, actual }) => expected !== actual).map(({ id }) => id);
  const unexcused = disagreeing.filter((id) => !excused.has(id));
  const outdated = [...excused.keys()].filter((id) => !disagreeing.includes(id));
  return { cases: cases.length, excused: excused.size, unexcused, outdated };
}

interface WycheproofGroup {
  readonly comment: string;
  readonly private: { readonly keys?: readonly unknown[] };
  readonly public?: { readonly keys?: readonly unknown[] };
  readonly tests: readonly {
    readonly tcId: number;
    readonly comment: string;
    readonly jws?: unknown;
    readonly jwe?: unknown;
    readonly result: string;
  }[];
}

const groupsOf = (file: string) => readJson<{ testGroups: readonly WycheproofGroup[] }>(`wycheproof/jose/${file}`).testGroups;

function wycheproof(file: string) {
  return groupsOf(file).flatMap((group) => {
    const keys = group.public ?? group.private;
    return group.tests.map(({ tcId, jws, result, comment }) => ({
      id: `${tcId}`,
      about: `${group.comment} ${comment}`,
      expected: result === 'valid',
      actual: isVerified(jws, keys.keys ?? [keys]),
    }));
  });
}

const symmetric = 'a symmetric key: never used';
const otherAlg = 'the alg of the key is not that of the token, or no algorithm at all';
const empty = 'an empty payload is no JWT, and Envoy splits it into two parts';
const encrypted = 'a JWE: never decrypted';
const list = (reason: string, ...ids: number[]): [string, string][] => ids.map((id) => [`${id}`, reason]);

const signatureExceptions = new Map([
  ...list(symmetric, 1, 348, 352, 357, 358, 359, 372, 373, 376, 377),
  ...list(empty, 259, 264, 268, 272, 320, 325),
  ...list(otherAlg, 346, 347, 350, 351),
]);
const cryptoExceptions = new Map([...list(symmetric, 1, 48), ...list(encrypted, 50, 67)]);
const keyExceptions = new Map(list(symmetric, 2, 13, 14, 15));

describe.skipIf(!present)('JOSE corpora', () => {
  it('agrees with Wycheproof on the signature of every JWS, and accepts none that it calls invalid', () => {
    const cases = wycheproof('json_web_signature_test.json');
    expect(cases.filter(({ expected, actual }) => actual && !expected)).toEqual([]);
    expect(compare(cases, signatureExceptions)).toEqual({ cases: 401, excused: 20, unexcused: [], outdated: [] });
  });

  it('agrees with Wycheproof on weak and confused keys, and accepts none that it calls invalid', () => {
    const crypto = wycheproof('json_web_crypto_test.json');
    const keys = wycheproof('json_web_key_test.json');
    expect([...crypto, ...keys].filter(({ expected, actual }) => actual && !expected)).toEqual([]);
    expect(compare(crypto, cryptoExceptions)).toEqual({ cases: 83, excused: 4, unexcused: [], outdated: [] });
    expect(compare(keys, keyExceptions)).toEqual({ cases: 26, excused: 4, unexcused: [], outdated: [] });
  });

  it('refuses all 139 encrypted tokens of Wycheproof as malformed bearer tokens', () => {
    const tokens = groupsOf('json_web_encryption_test.json').flatMap(({ tests }) => tests.map(({ jwe }) => jwe));
    expect(tokens).toHaveLength(139);
    for (const token of tokens) expect(parseToken(String(token))).toBe(refusals.form);
  });

  it('verifies the plain compact signatures of the JOSE cookbook and no other example', () => {
    const verified: string[] = [];
    for (const folder of ['jws', 'rfc7797', 'curve25519', 'jwe'])
      for (const file of readdirSync(resolve(corpora, 'jose-cookbook', folder)).filter((name) => name.endsWith('.json'))) {
        const { input, output } = readJson<CookbookExample>(`jose-cookbook/${folder}/${file}`);
        const key = Object.fromEntries(Object.entries(input.key ?? {}).filter(([name]) => publicMembers.has(name)));
        if (isVerified(output.compact, [key])) verified.push(file);
        for (const json of [output.json, output.json_flat])
          if (json !== undefined) expect(parseToken(JSON.stringify(json)).ok).toBe(false);
      }
    expect(verified).toEqual([
      '4_1.rsa_v15_signature.json',
      '4_2.rsa-pss_signature.json',
      '4_3.ecdsa_signature.json',
      'jws.json',
    ]);
  });
});

interface CookbookExample {
  readonly input: { readonly key?: Readonly<Record<string, unknown>> };
  readonly output: { readonly compact?: string; readonly json?: unknown; readonly json_flat?: unknown };
}
const publicMembers = new Set(['kty', 'kid', 'use', 'alg', 'crv', 'n', 'e', 'x', 'y']);

// google/jwt_verify_lib's status names for our refusals.
const parseStatuses: Readonly<Record<string, keyof typeof refusals>> = {
  JwtHeaderParseErrorBadBase64: 'headerBase64',
  JwtHeaderParseErrorBadJson: 'headerJson',
  JwtHeaderBadAlg: 'algMissing',
  JwtHeaderNotImplementedAlg: 'algUnsupported',
  JwtHeaderBadKid: 'kidType',
  JwtPayloadParseErrorBadBase64: 'payloadBase64',
  JwtPayloadParseErrorBadJson: 'payloadJson',
  JwtPayloadParseErrorIssNotString: 'issType',
  JwtPayloadParseErrorSubNotString: 'subType',
  JwtPayloadParseErrorIatNotInteger: 'iatType',
  JwtPayloadParseErrorIatOutOfRange: 'iatRange',
  JwtPayloadParseErrorNbfNotInteger: 'nbfType',
  JwtPayloadParseErrorNbfOutOfRange: 'nbfRange',
  JwtPayloadParseErrorExpNotInteger: 'expType',
  JwtPayloadParseErrorExpOutOfRange: 'expRange',
  JwtPayloadParseErrorJtiNotString: 'jtiType',
  JwtPayloadParseErrorAudNotString: 'audType',
  JwtSignatureParseErrorBadBase64: 'signatureBase64',
};

describe.skipIf(!present)('the tables of the library inside Envoy', () => {
  it('parses its 28 tokens with the very same status', () => {
    const { cases } = readJson<{ cases: readonly { name: string; jwt: string; parseStatus: string }[] }>(
      'jwt-verify-lib/jwt-parse.cases.json',
    );
    const nameOf = (jwt: string): string => {
      const token = parseToken(jwt);
      return token.ok ? 'Ok' : (Object.entries(parseStatuses).find(([, name]) => refusals[name] === token)?.[0] ?? token.reason);
    };
    const compared = cases.map(({ name, jwt, parseStatus }) => ({ id: name, expected: parseStatus, actual: nameOf(jwt) }));
    expect(compare(compared, new Map())).toEqual({ cases: 28, excused: 0, unexcused: [], outdated: [] });
  });

  it('allows the very same audiences, all 35 of them', () => {
    const { cases } = readJson<{
      cases: readonly { name: string; config: readonly string[]; aud: readonly string[]; allowed: boolean }[];
    }>('jwt-verify-lib/audience.cases.json');
    const wrong = cases.filter(({ config, aud, allowed }) => {
      const configured = new Set(config.map(sanitizeAudience));
      return (configured.size === 0 || aud.some((audience) => configured.has(sanitizeAudience(audience)))) !== allowed;
    });
    expect(wrong).toEqual([]);
    expect(cases).toHaveLength(35);
  });

  it('verifies the tokens of its fuzzing seeds where their keys are public keys in JWK form', () => {
    const verdicts = ['ec', 'hmac', 'okp', 'pem', 'rsa', 'x509'].map((kind) => {
      const seed = readText(`jwt-verify-lib/corpus/jwks_${kind}.txt`);
      const [, jwt = ''] = /^jwt: "(.*)"$/m.exec(seed) ?? [];
      const [, jwks = ''] = /^jwks: '(.*)'$/m.exec(seed) ?? [];
      try {
        const token = parseToken(jwt);
        return [kind, token.ok && checkSignature(token, parseKeySet(jwks).keys)?.body];
      } catch (error) {
        return [kind, (error as { code?: string }).code];
      }
    });
    const noSet = 'ENMESH_JWT_KEY_SET_INVALID';
    const noKey = refusals.noUsableKey.body;
    const verified = undefined;
    expect(Object.fromEntries(verdicts)).toEqual({
      ec: verified,
      hmac: noKey,
      okp: verified,
      pem: noSet,
      rsa: verified,
      x509: noSet,
    });
  });
});

const jsonExceptions = new Map([
  ['y_object_duplicated_key.json', 'two members of one name are refused: readers disagree which one counts'],
  ['y_object_duplicated_key_and_value.json', 'two members of one name are refused: readers disagree which one counts'],
]);

describe.skipIf(!present)('JSONTestSuite', () => {
  it('reads what must be read, refuses what must be refused, and never fails otherwise', () => {
    const folder = resolve(corpora, 'jsontestsuite');
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /(^|\/)[yni]_[^/]*\.json$/.test(name),
    );
    const compared = files.map((file) => {
      const name = file.slice(file.lastIndexOf('/') + 1);
      const actual = isRead(readFileSync(resolve(folder, file)));
      return { id: name, expected: name.startsWith('i_') ? actual : name.startsWith('y_'), actual };
    });
    expect(compare(compared, jsonExceptions)).toEqual({ cases: 318, excused: 2, unexcused: [], outdated: [] });
  });
});

function isRead(octets: Uint8Array): boolean {
  try {
    parseStrictJson(octets);
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(SyntaxError);
    return false;
  }
}
