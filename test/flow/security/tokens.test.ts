import { createHmac, createPublicKey, generateKeyPairSync, sign, type JsonWebKey } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestIssuer } from '@enmesh/core/testing';
import { openWitness, transcribe, type Reached, type Transcript, type Witness } from '../../support/attack.js';
import { createHouse, send, sendRaw, type Answer, type House } from '../../support/house.js';
import { peerAuthentication } from '../../support/documents.js';

// The verifier itself, on Wycheproof, the JOSE cookbook, jwt_verify_lib and Istio's own cases: test/conformance/jwt*.test.ts.
const policies = `${peerAuthentication('PERMISSIVE')}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ISSUER
    jwks: 'JWKS'
    audiences: [shop]
    fromHeaders: [{name: Authorization, prefix: "Bearer "}, {name: x-token}]
    fromParams: [access_token]
    fromCookies: [session]
    outputPayloadToHeader: x-jwt-payload
    outputClaimToHeaders: [{header: x-user-name, claim: name}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users-only, namespace: shop}
spec: {rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]}
`;

const secretClaim = 'a-claim-that-is-nobodys-business';
let house: House;
let witness: Witness;
let transcript: Transcript;
let token: string;
const used: string[] = [];

beforeAll(async () => {
  transcript = transcribe();
  house = await createHouse(policies);
  witness = await openWitness(house.mesh);
  token = await house.issuer.sign({ sub: 'jane', aud: 'shop', ssn: secretClaim, name: 'Jane' });
});
afterAll(async () => {
  await house.close();
  transcript.stop();
});

type Lines = readonly (readonly [string, string])[];
const get = (target: string, headers: Lines = []): Promise<Answer> => send({ port: witness.port }, 'GET', target, headers);
const bearer = (text: string): Promise<Answer> => {
  used.push(text);
  return get('/', [['Authorization', `Bearer ${text}`]]);
};
const seen = ({ status, body, bytes }: Answer): Reached => {
  expect(status, bytes).toBe(200);
  return JSON.parse(body) as Reached;
};
const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const claims = (more: object = {}): object => ({ iss: house.issuer.issuer, sub: 'admin', aud: 'shop', exp: 4102444800, ...more });

describe('rule 5: only what the issuer signed is a user', () => {
  it('takes a good token, so that the refusals below mean something', async () => {
    expect(seen(await bearer(token)).user).toBe(`${house.issuer.issuer}/jane`);
  });

  const forgeries: Record<string, () => string | Promise<string>> = {
    'alg none': () => `${encode({ alg: 'none', kid: 'key-1' })}.${encode(claims())}.`,
    'alg none with a signature': () => `${encode({ alg: 'none' })}.${encode(claims())}.AAAA`,
    'alg nOnE': () => `${encode({ alg: 'nOnE' })}.${encode(claims())}.AAAA`,
    'HS256 with the public key as its secret': () => {
      const pem = createPublicKey({ key: house.issuer.jwks.keys[0] as JsonWebKey, format: 'jwk' }).export({
        type: 'spki',
        format: 'pem',
      });
      const input = `${encode({ alg: 'HS256', kid: 'key-1' })}.${encode(claims())}`;
      return `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`;
    },
    'HS256 with the JWK as its secret': () => {
      const input = `${encode({ alg: 'HS256', kid: 'key-1' })}.${encode(claims())}`;
      return `${input}.${createHmac('sha256', house.issuer.jwksText).update(input).digest('base64url')}`;
    },
    'a key of its own in the header (jwk)': () => selfSigned({ withKey: true }),
    'a key of its own under a known kid': () => selfSigned({}),
    'a kid that is a path': () => selfSigned({ kid: '../../../../dev/null' }),
    'a kid that is SQL': () => selfSigned({ kid: "x' UNION SELECT 'key" }),
    'a kid that is __proto__': () => selfSigned({ kid: '__proto__' }),
    crit: () => house.issuer.signText(JSON.stringify({ alg: 'RS256', kid: 'key-1', crit: ['exp'] }), JSON.stringify(claims())),
    'b64 false': () =>
      house.issuer.signText(JSON.stringify({ alg: 'RS256', kid: 'key-1', b64: false }), JSON.stringify(claims())),
    x5u: () =>
      house.issuer.signText(
        JSON.stringify({ alg: 'RS256', kid: 'key-1', x5u: 'https://evil.example' }),
        JSON.stringify(claims()),
      ),
    'a name that stands twice in the payload': () =>
      house.issuer.signText(
        JSON.stringify({ alg: 'RS256', kid: 'key-1' }),
        JSON.stringify(claims()).replace('{', '{"sub":"jane",'),
      ),
    'the right claims of another issuer': async () =>
      (await createTestIssuer({ issuer: house.issuer.issuer })).sign(claims() as Record<string, unknown>),
    'an issuer nobody configured': () => house.issuer.sign({ ...claims(), iss: 'https://elsewhere.example' }),
    'no issuer': () =>
      house.issuer.signText(JSON.stringify({ alg: 'RS256', kid: 'key-1' }), JSON.stringify({ sub: 'admin', aud: 'shop' })),
    'an expired one': () => house.issuer.sign({ sub: 'jane', aud: 'shop' }, { now: Date.now() - 3_600_000 }),
    'an encrypted one': () => `${encode({ alg: 'RSA-OAEP', enc: 'A256GCM' })}.AA.AA.AA.AA`,
    'an empty payload': () => `${token.split('.')[0]}..${token.split('.')[2]}`,
    'a blank inside': () => token.replace('.', '. '),
    'padding behind': () => `${token}=`,
    'the last character changed to an equal one': () =>
      token.slice(0, -1) +
      'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[
        'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(token.at(-1) as string) + 1
      ],
    'a second token behind a comma': () => `${token}, ${token}`,
    '100 KB of token': () => `${token.split('.')[0]}.${'A'.repeat(12_000)}.${token.split('.')[2]}`,
    'nothing but dots': () => '...',
    'control characters': () => `${token.slice(0, -1)}\t`,
  };

  function selfSigned({ withKey = false, kid = 'key-1' }: { withKey?: boolean; kid?: string }): string {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = publicKey.export({ format: 'jwk' });
    const input = `${encode({ alg: 'RS256', kid, ...(withKey && { jwk }) })}.${encode(claims())}`;
    return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
  }

  it.each(Object.entries(forgeries))('%s is refused', async (_what, forge) => {
    const before = witness.reached.length;
    const answer = await bearer(await forge());
    expect([400, 401, 403, 431]).toContain(answer.status);
    expect(answer.bytes).not.toContain('key-');
    expect(witness.reached).toHaveLength(before);
  });

  it('a token for another audience is refused with 403, one without any with 403 too', async () => {
    expect((await bearer(await house.issuer.sign({ sub: 'jane', aud: 'other' }))).status).toBe(403);
    expect((await bearer(await house.issuer.sign({ sub: 'jane' }))).status).toBe(403);
  });

  it('a token of 100 KB ends in 431 or 401 without being handled, wherever it stands', async () => {
    const huge = 'A'.repeat(100 * 1024);
    for (const [target, headers] of [
      ['/', [['Authorization', `Bearer ${huge}`]]],
      ['/', [['Cookie', `session=${huge}`]]],
      [`/?access_token=${huge}`, []],
    ] as [string, Lines][])
      expect([401, 431]).toContain((await get(target, headers)).status);
  });
});

describe('rule 5: a token counts where it is looked for, and bad ones are not passed over', () => {
  const bad = 'eyJhbGciOiJSUzI1NiJ9.e30.AAAA';
  it.each<[string, () => readonly [string, Lines?]]>([
    ['in the parameter', () => [`/?access_token=${token}`]],
    ['in a parameter whose name is escaped', () => [`/?%61ccess%5ftoken=${token}`]],
    ['in a parameter whose value is escaped', () => [`/?access_token=${token.replaceAll('.', '%2e')}`]],
    ['in a header of its own', () => ['/', [['X-Token', token]]]],
    ['in the cookie', () => ['/', [['Cookie', `a=b; session=${token}`]]]],
    ['in the cookie in quotes', () => ['/', [['Cookie', `session="${token}"`]]]],
  ])('%s it names the user, and leaves the request unless it is the cookie', async (where, make) => {
    const [target, headers] = make();
    const answer = await get(target, headers);
    const reached = seen(answer);
    expect(reached.user).toBe(`${house.issuer.issuer}/jane`);
    if (!where.includes('cookie')) expect(answer.bytes).not.toContain(token.split('.')[2]);
  });

  it.each<[string, () => readonly [string, Lines?]]>([
    [
      'a bad one in the cookie beside a good one in the header',
      () => [
        '/',
        [
          ['Authorization', `Bearer ${token}`],
          ['Cookie', `session=${bad}`],
        ],
      ],
    ],
    [
      'a bad one in the parameter beside a good one in the header',
      () => [`/?access_token=${bad}`, [['Authorization', `Bearer ${token}`]]],
    ],
    ['a bad one in a header beside a good one in the parameter', () => [`/?access_token=${token}`, [['X-Token', bad]]]],
    [
      'two lines of a token header, the second bad',
      () => [
        '/',
        [
          ['X-Token', token],
          ['X-Token', bad],
        ],
      ],
    ],
    [
      'two lines of a token header, the first bad',
      () => [
        '/',
        [
          ['X-Token', bad],
          ['X-Token', token],
        ],
      ],
    ],
    ['a bad parameter before a good one', () => [`/?access_token=${bad}&access_token=${token}`]],
    ['an empty parameter', () => ['/?access_token=']],
    ['a bare parameter', () => ['/?access_token']],
  ])('%s is refused', async (_what, make) => {
    const [target, headers] = make();
    expect((await get(target, headers)).status).toBe(401);
  });

  it('of two parameters the judged one counts and neither is handed over', async () => {
    const other = await house.issuer.sign({ sub: 'other', aud: 'shop' });
    for (const query of [
      `access_token=${token}&access_token=${other}`,
      `access_token=${token}&%61ccess_token=${other}&a=1`,
      `a=1&access_token=${token}&access_token=x`,
    ]) {
      const answer = await get(`/?${query}`);
      const { user, url } = seen(answer);
      expect(user).toBe(`${house.issuer.issuer}/jane`);
      expect(url).not.toMatch(/access|eyJ/);
    }
  });

  it.each([
    ['?q=a+b%2Bc&access_token=TOKEN', '?q=a+b%2Bc'],
    ['?b=%26x%3D1&access_token=TOKEN&a=%23', '?a=%23&b=%26x%3D1'],
    ['?a=%zz&access_token=TOKEN', '?a=%zz'],
    ['?a=%E4%BD%A0&access_token=TOKEN', '?a=%E4%BD%A0'],
    ['?access_token=TOKEN', ''],
  ])('taking it out of %s changes no other parameter', async (query, rest) => {
    const { url } = seen(await get(`/${query.replace('TOKEN', token)}`));
    expect(new URLSearchParams(url?.slice(1))).toEqual(new URLSearchParams(rest));
  });

  it('no other name is looked at', async () => {
    for (const query of ['ACCESS_TOKEN', 'access-token', 'access_token%20', 'xaccess_token', 'access_token[]', 'access_token%00'])
      expect((await get(`/?${query}=${token}`)).status).toBe(403);
    expect((await get('/', [['Authorization', `Basic ${token}`]])).status).toBe(403);
    expect((await get('/', [['X_Token', token]])).status).toBe(403);
  });

  it('a connection that brought a good token brings nothing for the requests behind it', async () => {
    const both = `GET /first HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
    const { bytes } = await sendRaw({ port: witness.port }, both);
    expect([...bytes.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '403']);
  });

  it('a preflight is let through to policy without a user, whatever it brings', async () => {
    const headers: Lines = [
      ['Origin', 'https://elsewhere.example'],
      ['Access-Control-Request-Method', 'GET'],
      ['Authorization', `Bearer ${token}`],
    ];
    expect((await send({ port: witness.port }, 'OPTIONS', '/', headers)).status).toBe(403);
  });
});

describe('rule 8: the raw token stays at the door and out of every message', () => {
  it('no reader of the request finds it, unless the rule forwards it', async () => {
    const answer = await bearer(token);
    const { headers } = seen(answer);
    expect(headers['x-jwt-payload']).toBe(token.split('.')[1]);
    for (const part of [token, token.split('.')[0], token.split('.')[2]]) expect(answer.bytes).not.toContain(part);
  });

  it('what stands in the target beside the path is said by nobody', async () => {
    for (const target of [
      'http://jane:pass-word@product.shop/x',
      '/x?access_token=pass-word',
      '/x#pass-word',
      '/\xe9?pass-word',
      'http://product.shop?pass-word',
    ])
      await get(target);
    expect(transcript.text()).not.toContain('pass-word');
  });

  it('neither tokens nor their parts, claims, keys or certificates were said by any event or line, whatever was sent above', () => {
    const text = transcript.text();
    expect(text.length).toBeGreaterThan(10_000);
    const parts = [...used, token].flatMap((one) => one.split('.')).filter((part) => part.length > 20);
    expect(parts.filter((part) => text.includes(part))).toEqual([]);
    const { n } = house.issuer.jwks.keys[0] as { n: string };
    for (const secret of [secretClaim, n, 'BEGIN', 'PRIVATE KEY', 'CERTIFICATE', '"jane"', 'access_token='])
      expect(text).not.toContain(secret);
  });
});
