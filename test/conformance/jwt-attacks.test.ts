import {
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createTokenVerifier, encode, isUser } from '../support/jwt-verifier.js';

// The families of attacks that token testing tools run, told by what they do. The same on a port: test/flow/security/tokens.test.ts.
const now = Date.UTC(2026, 0, 1);
const seconds = now / 1000;
type Header = Readonly<Record<string, unknown>>;
type Claims = Readonly<Record<string, unknown>>;
const admin = (more: Claims = {}): Claims => ({
  iss: 'https://idp.test',
  sub: 'admin',
  aud: 'shop',
  exp: seconds + 300,
  ...more,
});

interface Victim {
  readonly alg: string;
  readonly jwk: JsonWebKey;
  readonly publicKey: KeyObject;
  sign(header: Header | string, claims: Claims | string): string;
}

function createVictim(alg: 'RS256' | 'ES256' | 'EdDSA'): Victim {
  const { publicKey, privateKey } =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : alg === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519');
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'key-1' } as JsonWebKey;
  return { alg, jwk, publicKey, sign: (header, claims) => signed(alg, header, claims, privateKey) };
}

function signed(alg: string, header: Header | string, claims: Claims | string, key: KeyObject): string {
  const input = `${encode(header)}.${encode(claims)}`;
  const options = { key, dsaEncoding: 'ieee-p1363' as const };
  return `${input}.${sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(input), options).toString('base64url')}`;
}

function hmac(header: Header, secret: string | Uint8Array, size = 256): string {
  const input = `${encode(header)}.${encode(admin())}`;
  return `${input}.${createHmac(`sha${size}`, secret).update(input).digest('base64url')}`;
}

const pemOf = (key: KeyObject, type: 'spki' | 'pkcs1' = 'spki'): string => key.export({ type, format: 'pem' }).toString();
const spelling = (text: string): string[] => [text, text.toUpperCase(), `${text[0]?.toUpperCase()}${text.slice(1)}`, 'nOnE'];

/** Every token of a family; all must be refused. */
const families: Readonly<Record<string, (victim: Victim, good: string) => string[]>> = {
  'no algorithm, in every spelling, with and without a signature': ({ alg }, good) =>
    spelling('none').flatMap((none) =>
      ['', 'AAAA', good.split('.')[2] ?? ''].map(
        (signature) => `${encode({ alg: none, kid: 'key-1', was: alg })}.${encode(admin())}.${signature}`,
      ),
    ),
  'a signature left out, cut or drawn out': (_, good) => {
    const [header, payload, signature = ''] = good.split('.');
    return ['', signature.slice(0, -2), signature.slice(4), `${signature}AA`, `${signature}${signature}`, 'AA'].map(
      (changed) => `${header}.${payload}.${changed}`,
    );
  },
  'a signature of nothing but zeros, ones or the order of the curve': ({ alg }) => {
    const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
    const values = [
      '00'.repeat(64),
      `${'00'.repeat(31)}01`.repeat(2),
      'ff'.repeat(64),
      order.repeat(2),
      '00'.repeat(256),
      `${'00'.repeat(255)}01`,
    ];
    return values.map((hex) => `${encode({ alg, kid: 'key-1' })}.${encode(admin())}.${encode(Buffer.from(hex, 'hex'))}`);
  },
  'other claims under the old signature': (_, good) => {
    const [header, , signature] = good.split('.');
    return [admin(), admin({ exp: undefined }), {}, admin({ sub: 'alice', admin: true })].map(
      (claims) => `${header}.${encode(claims)}.${signature}`,
    );
  },
  'the public key as the secret of an HMAC, in every form that it has': ({ publicKey, jwk }) => {
    const forms = [pemOf(publicKey), pemOf(publicKey).trimEnd(), JSON.stringify(jwk), JSON.stringify({ keys: [jwk] })];
    const octets = [publicKey.export({ type: 'spki', format: 'der' }), Buffer.from(String(jwk.n ?? jwk.x), 'base64url')];
    return [256, 384, 512].flatMap((size) =>
      [...forms, ...octets].map((form) => hmac({ alg: `HS${size}`, kid: 'key-1' }, form, size)),
    );
  },
  'a weak or empty secret': () =>
    ['', 'secret', 'password', 'changeme', 'your-256-bit-secret', 'key-1', '\0', 'null', 'undefined', '00000000'].flatMap(
      (secret) => [hmac({ alg: 'HS256' }, secret), hmac({ alg: 'HS256', kid: 'key-1' }, secret)],
    ),
  'a key of its own in the header': (victim) => {
    const thief = createVictim('RS256');
    const jwk = { ...thief.jwk, kid: 'key-1' };
    return [{ jwk }, { jwk, kid: 'key-1' }, { jwk: victim.jwk, kid: 'key-1' }].map((header) =>
      thief.sign({ alg: 'RS256', ...header }, admin()),
    );
  },
  'a place to fetch a key from in the header': (victim) => {
    const thief = createVictim('RS256');
    const places = ['https://evil.test/jwks.json', 'http://127.0.0.1:1/', 'file:///etc/passwd', 'https://idp.test@evil.test/'];
    return places.flatMap((place) =>
      [{ jku: place }, { x5u: place }].flatMap((header) => [
        thief.sign({ alg: 'RS256', kid: 'key-1', ...header }, admin()),
        victim.sign({ alg: victim.alg, kid: 'key-1', ...header }, admin()),
      ]),
    );
  },
  'a certificate of its own in the header': () => {
    const thief = createVictim('RS256');
    const der = thief.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
    return [{ x5c: [der] }, { x5c: [der], x5t: 'AAAA', 'x5t#S256': 'AAAA' }].map((header) =>
      thief.sign({ alg: 'RS256', kid: 'key-1', ...header }, admin()),
    );
  },
  'a kid that leads elsewhere': () => {
    const kids = [
      '../../../../dev/null',
      '/proc/sys/kernel/randomize_va_space',
      "x' UNION SELECT 'key",
      '|sleep 5',
      '__proto__',
      'constructor',
      '',
    ];
    return kids.flatMap((kid) => ['', '2', 'key', '\0'].map((content) => hmac({ alg: 'HS256', kid }, content)));
  },
  'a kid that is no string': ({ alg, sign: signAs }) =>
    [1, null, true, ['key-1'], { kid: 'key-1' }].map((kid) => signAs({ alg, kid }, admin())),
  'what the reader must understand, or must not': ({ alg, sign: signAs }) =>
    [
      { crit: ['exp'], exp: 1 },
      { crit: [] },
      { crit: ['b64'], b64: false },
      { b64: false },
      { b64: true },
      { zip: 'DEF' },
      { enc: 'A256GCM' },
    ].map((header) => signAs({ alg, kid: 'key-1', ...header }, admin())),
  encrypted: () =>
    ['RSA-OAEP', 'dir', 'PBES2-HS256+A128KW', 'ECDH-ES'].flatMap((alg) => [
      `${encode({ alg, enc: 'A256GCM', p2c: 2_147_483_647 })}.AA.AA.AA.AA`,
      `${encode({ alg, enc: 'A256GCM' })}...AA.AA`,
    ]),
  'in the other forms of a JWS': (_, good) => {
    const [header, payload, signature] = good.split('.');
    return [
      JSON.stringify({ protected: header, payload, signature }),
      JSON.stringify({ payload, signatures: [{ protected: header, signature }] }),
      `${header}..${signature}`,
      encode(good),
    ];
  },
  'two readers, two tokens': ({ alg, sign: signAs }) => [
    signAs({ alg, kid: 'key-1' }, `{"sub":"alice",${JSON.stringify(admin()).slice(1)}`),
    signAs({ alg, kid: 'key-1' }, `{"s\\u0075b":"alice",${JSON.stringify(admin()).slice(1)}`),
    signAs(`{"alg":"none","alg":"${alg}"}`, admin()),
    signAs(`\ufeff${JSON.stringify({ alg })}`, admin()),
    signAs({ alg }, `${JSON.stringify(admin())} {}`),
    signAs({ alg }, `{"a":${'['.repeat(40)}${']'.repeat(40)},${JSON.stringify(admin()).slice(1)}`),
  ],
  'another spelling of the same octets': (_, good) => {
    const [header = '', payload = '', signature = ''] = good.split('.');
    const padded = `${header}=.${payload}.${signature}`;
    return [
      padded,
      ` ${good}`,
      `${good} `,
      `${good}\n`,
      good.replace('.', '.\t'),
      `.${good}`,
      `${good}.`,
      good.replace('.', '..'),
      `${good}=`,
      `${good}%`,
    ];
  },
  'times that are no times, or are over': ({ alg, sign: signAs }) =>
    [
      { exp: `${seconds + 300}` },
      { exp: -1 },
      { exp: null },
      { exp: [seconds + 300] },
      { exp: { $gt: 0 } },
      { exp: true },
      { exp: 2 ** 64 },
      { exp: seconds - 61 },
      { nbf: seconds + 61 },
      { nbf: '0' },
      { iat: 'now' },
    ].map((times) => signAs({ alg, kid: 'key-1' }, admin(times))),
  'too large': ({ alg, sign: signAs }) => [
    signAs({ alg }, admin({ junk: 'x'.repeat(16_384) })),
    signAs({ alg, junk: 'x'.repeat(16_384) }, admin()),
    `${'A'.repeat(1_000_000)}.AA.AA`,
    '.'.repeat(100_000),
  ],
  'random octets': () =>
    Array.from({ length: 200 }, (_, index) => randomBytes(index).toString(index % 2 === 0 ? 'base64url' : 'latin1')),
};

describe.each(['RS256', 'ES256', 'EdDSA'] as const)('an attacker of an issuer that signs with %s', (alg) => {
  const victim = createVictim(alg);
  const jwks = JSON.stringify({ keys: [victim.jwk] });
  const good = victim.sign({ alg, kid: 'key-1', typ: 'JWT' }, admin({ sub: 'alice' }));

  it.each(Object.keys(families))('gets nowhere with a token that is %s', (family) => {
    const verify = createTokenVerifier({ issuer: 'https://idp.test', jwks, audiences: ['shop'] }, now);
    // Before, between and after: an attack must not change what becomes of a good token.
    expect(isUser(verify(good))).toBe(true);
    const tokens = families[family]?.(victim, good) ?? [];
    expect(tokens.length).toBeGreaterThan(0);
    for (const token of tokens) {
      const outcome = verify(token);
      expect([token.slice(0, 300), outcome.ok ? 'accepted' : outcome.status]).toEqual([token.slice(0, 300), 401]);
      expect(verify(token)).toBe(outcome);
    }
    expect(isUser(verify(good))).toBe(true);
  });

  it('gets nowhere with the key of one issuer and the name of another', () => {
    const other = createVictim(alg);
    const verify = createTokenVerifier(
      { issuer: 'https://idp.test', jwks: JSON.stringify({ keys: [{ ...other.jwk, kid: 'key-1' }] }) },
      now,
    );
    expect(verify(good)).toMatchObject({ ok: false, status: 401 });
    expect(createPublicKey({ key: other.jwk, format: 'jwk' }).asymmetricKeyType).toBe(victim.publicKey.asymmetricKeyType);
  });
});
