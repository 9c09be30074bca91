import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { inspect } from 'node:util';
import { createLocalJWKSet, exportJWK, jwtVerify } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import { EnmeshError } from '../errors.js';
import type { MeshIdentity } from '../identity/source.js';
import { createTestAuthority } from '../testing/authority.js';
import { createTestClock } from '../testing/clock.js';
import { issueCertificate, rootOptions } from '../x509/certificate.js';
import { sendTokenPost } from './exchange-post.js';
import { createTokenExchange, maxExchangesInFlight, type TokenExchangeOptions } from './exchange.js';
import type { ExchangeSpec } from './resource.js';

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: object, header: object = {}): string =>
  `${part({ alg: 'ES256', typ: 'JWT', ...header })}.${part(claims)}.${Buffer.alloc(64, 7).toString('base64url')}`;

const start = 1_800_000_000_000;
const raw = { text: jwt({ iss: 'https://idp.test', sub: 'alice', canary: 'c-4711' }), expiresAt: start + 600_000 };
const given = (claims: object = {}, more: object = {}): object => ({
  access_token: jwt({ sub: 'alice', aud: 'billing', exp: start / 1000 + 300, ...claims }),
  token_type: 'Bearer',
  expires_in: 300,
  issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  ...more,
});

const urn = (type: string): string => `urn:ietf:params:oauth:token-type:${type}`;
const txn = {
  aud: 'billing',
  txn: 'x-1',
  sub: 'alice',
  scope: 'pay',
  req_wl: 'gateway',
  iat: start / 1000,
  exp: start / 1000 + 60,
};
const txnAnswer = {
  access_token: jwt(txn, { typ: 'txntoken+jwt' }),
  token_type: 'N_A',
  issued_token_type: urn('txn_token'),
};

interface Asked {
  readonly request: IncomingMessage;
  readonly form: URLSearchParams;
}
type Answer = (response: ServerResponse, asked: Asked) => void;
const json =
  (body: unknown, status = 200): Answer =>
  (response) =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

async function listen(server: Server & { closeAllConnections(): void }): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  endings.push(() => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  });
  return (server.address() as AddressInfo).port;
}

function collect(answer: Answer, asked: Asked[]) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const one = { request, form: new URLSearchParams(body) };
      asked.push(one);
      answer(response, one);
    });
  };
}

function secretFile(text = ' s3cret/+ü\n'): string {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-exchange-'));
  endings.push(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'secret'), text);
  return join(directory, 'secret');
}

/** An exchange at a token endpoint of its own, on a standing clock. */
async function create(answer: Answer, spec: Partial<ExchangeSpec> = {}, options: Partial<TokenExchangeOptions> = {}) {
  const asked: Asked[] = [];
  const port = await listen(createServer(collect(answer, asked)));
  const clock = createTestClock(start);
  const exchange = createTokenExchange({
    spec: {
      tokenEndpoint: `http://127.0.0.1:${port}/token`,
      insecureHttp: true,
      audience: ['billing'],
      clientAuth: { method: 'client_secret_basic', clientId: 'gate way', clientSecretFile: secretFile() },
      ...spec,
    },
    clock: () => clock.now(),
    ...options,
  });
  endings.push(() => exchange.close());
  return { exchange, asked, clock, port };
}

const gateway = async (): Promise<MeshIdentity> =>
  (await createTestAuthority()).identity({ namespace: 'shop', serviceAccount: 'gateway' });

describe('what a token endpoint is asked', () => {
  it('asks for audience, resource and scope with the user token as subject and the secret as form-encoded basic credentials', async () => {
    const { exchange, asked } = await create(json(given()), {
      audience: ['billing'],
      resource: ['https://billing.test/'],
      scope: ['invoice', 'read'],
    });
    expect(await exchange.tokenFor(raw)).toBe((given() as { access_token: string }).access_token);
    expect(Object.fromEntries(asked[0]!.form)).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: raw.text,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: 'billing',
      resource: 'https://billing.test/',
      scope: 'invoice read',
    });
    const credentials = Buffer.from(asked[0]!.request.headers.authorization!.slice(6), 'base64').toString();
    expect(credentials).toBe('gate+way:s3cret%2F%2B%C3%BC');
    expect(asked[0]!.request.headers['user-agent']).toBe('enmesh');
  });

  it('sends the secret in the body for client_secret_post, read anew for each exchange', async () => {
    const clientSecretFile = secretFile('first');
    const { exchange, asked } = await create(json(given()), {
      clientAuth: { method: 'client_secret_post', clientId: 'gateway', clientSecretFile },
    });
    await exchange.tokenFor(raw);
    writeFileSync(clientSecretFile, 'second');
    await exchange.tokenFor({ ...raw, text: jwt({ sub: 'bob' }) });
    expect(asked.map(({ form }) => [form.get('client_id'), form.get('client_secret')])).toEqual([
      ['gateway', 'first'],
      ['gateway', 'second'],
    ]);
    expect(asked[0]!.request.headers.authorization).toBeUndefined();
  });

  it.each([
    ['RSA', () => generateKeyPairSync('rsa', { modulusLength: 2048 }), 'RS256'],
    ['P-256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'ES256'],
    ['P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'ES384'],
    ['Ed25519', () => generateKeyPairSync('ed25519'), 'Ed25519'],
  ] as const)('proves itself by private_key_jwt with a key of %s, for the token endpoint as audience', async (_, pair, alg) => {
    const { publicKey, privateKey } = pair();
    const privateKeyFile = secretFile(String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
    const { exchange, asked, port } = await create(json(given()), {
      clientAuth: { method: 'private_key_jwt', clientId: 'gateway', privateKeyFile, keyId: 'k1' },
    });
    await exchange.tokenFor(raw);
    const assertion = asked[0]!.form.get('client_assertion')!;
    const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k1' }] });
    const { protectedHeader, payload } = await jwtVerify(assertion, keys, { audience: `http://127.0.0.1:${port}/token` });
    expect(protectedHeader).toMatchObject({ alg, kid: 'k1' });
    expect(payload).toMatchObject({ iss: 'gateway', sub: 'gateway' });
    expect(payload.exp! - payload.iat!).toBeLessThanOrEqual(60);
    expect(asked[0]!.form.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
  });

  it('shows the SVID in the handshake for tls_client_auth, sends no secret, and asks again after a rotation', async () => {
    const authority = await createTestAuthority();
    const { ca, ...server } = await serverCertificate();
    const shown: string[] = [];
    const answer: Answer = (response, { request, form }) => {
      const { raw: der } = (request.socket as TLSSocket).getPeerCertificate();
      shown.push(`${form.get('client_id')} ${new X509Certificate(der).subjectAltName}`);
      json(given())(response, { request, form });
    };
    const options = { ...server, ca: authority.rootPem, requestCert: true, rejectUnauthorized: true };
    const asked: Asked[] = [];
    const port = await listen(createSecureServer(options, collect(answer, asked)));
    let identity = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
    const spec: Partial<ExchangeSpec> = {
      tokenEndpoint: `https://localhost:${port}/token`,
      insecureHttp: false,
      caFile: secretFile(ca),
      clientAuth: { method: 'tls_client_auth', clientId: 'gateway' },
    };
    const source = { svid: { ...identity.svid, current: () => identity.svid.current() }, bundles: identity.bundles };
    const { exchange } = await create(json(given()), spec, { identity: source });
    await exchange.tokenFor(raw);
    await exchange.tokenFor(raw);
    identity = await authority.identity({ namespace: 'shop', serviceAccount: 'gateway' });
    await exchange.tokenFor(raw);
    const line = 'gateway URI:spiffe://cluster.local/ns/shop/sa/gateway';
    expect(shown).toEqual([line, line]);
    expect([...asked[0]!.form.keys()]).not.toContain('client_secret');
    const { caFile: _ca, ...bySystem } = spec;
    const stranger = await create(json(given()), bySystem, { identity: source });
    await expect(stranger.exchange.tokenFor(raw)).rejects.toMatchObject({ code: 'ENMESH_PROPAGATION_EXCHANGE_FAILED' });
  });

  it('sends a JWT-SVID as client assertion and as actor, and demands that the answer names the actor', async () => {
    const audiences: string[] = [];
    const fetchJwtSvid = async (audience: string): Promise<string> => (audiences.push(audience), 'svid.of.us');
    const clientAuth = { method: 'jwt_svid', audience: 'https://idp.test' } as const;
    const spec = { clientAuth, actorToken: 'svid-jwt' } as const;
    const identity = { ...(await gateway()), fetchJwtSvid };
    const named = given({ act: { sub: 'spiffe://cluster.local/ns/shop/sa/gateway' } });
    const { exchange, asked } = await create(json(named), spec, { identity });
    await exchange.tokenFor(raw);
    expect(Object.fromEntries(asked[0]!.form)).toMatchObject({
      client_id: 'spiffe://cluster.local/ns/shop/sa/gateway',
      client_assertion: 'svid.of.us',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-spiffe',
      actor_token: 'svid.of.us',
      actor_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    });
    expect(audiences).toEqual(['https://idp.test', 'https://idp.test']);
    const silent = await create(json(given()), spec, { identity });
    await expect(silent.exchange.tokenFor(raw)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_ANSWER',
      message: expect.stringContaining('leaves the actor out'),
    });
  });

  it.each([
    [
      { method: 'client_secret_basic', clientId: 'g', clientSecretFile: '/nowhere/secret' },
      'clientSecretFile cannot be read (ENOENT)',
    ],
    [
      { method: 'client_secret_basic', clientId: 'g', clientSecretFile: '/dev/zero' },
      'clientSecretFile cannot be read (it is no regular file)',
    ],
    [{ method: 'client_secret_basic', clientId: 'g' }, 'clientAuth needs clientSecretFile'],
    [{ method: 'private_key_jwt', clientId: 'g', privateKeyFile: import.meta.filename }, 'holds no private key'],
    [{ method: 'tls_client_auth', clientId: 'g' }, 'needs the identity'],
    [{ method: 'jwt_svid', clientId: 'g' }, 'no JWT-SVIDs are given'],
  ] as const)('refuses the call and asks nobody when the proof %o cannot be made', async (clientAuth, sentence) => {
    const { exchange, asked } = await create(json(given()), { clientAuth });
    await expect(exchange.tokenFor(raw)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
      message: expect.stringContaining(sentence),
    });
    expect(asked).toHaveLength(0);
  });

  it.each([
    ['is not there', () => '/nowhere/ca.pem', 'caFile cannot be read (ENOENT)'],
    ['is empty', () => secretFile(''), 'caFile holds no certificate'],
    ['holds no PEM', () => secretFile('hello'), 'caFile holds no certificate'],
    [
      'holds what is no certificate',
      () => secretFile('-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n'),
      'caFile holds what is no certificate',
    ],
  ])('refuses the call and asks nobody when the file of authorities %s', async (_, file, sentence) => {
    const { exchange, asked } = await create(json(given()), { caFile: file() });
    await expect(exchange.tokenFor(raw)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
      message: expect.stringContaining(sentence),
    });
    expect(asked).toHaveLength(0);
  });

  it('says that the agent is silent where no JWT-SVID comes, not that the endpoint is', async () => {
    const silent = new EnmeshError('ENMESH_ISSUANCE_WORKLOAD_API', 'the agent is silent');
    const identity = { ...(await gateway()), fetchJwtSvid: () => Promise.reject(silent) };
    const { exchange, asked } = await create(json(given()), { clientAuth: { method: 'jwt_svid' } }, { identity });
    for (let i = 0; i < 2; i++)
      await expect(exchange.tokenFor(raw)).rejects.toMatchObject({
        code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
        message: 'no JWT-SVID: the agent is silent (ENMESH_ISSUANCE_WORKLOAD_API)',
      });
    const throwing = { ...identity, fetchJwtSvid: () => Promise.reject(new Error('quotes eyJ')) };
    const other = await create(json(given()), { clientAuth: { method: 'jwt_svid' } }, { identity: throwing });
    await expect(other.exchange.tokenFor(raw)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
      message: 'the platform gave no JWT-SVID',
    });
    expect([...asked, ...other.asked]).toHaveLength(0);
  });
});

/** A certificate for localhost and the authority that signed it. */
async function serverCertificate(): Promise<{ ca: string; cert: string; key: string }> {
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 };
  const newKey = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
  const [rootKey, key] = [newKey(), newKey()];
  const ca = await issueCertificate({ ...rootOptions('idp.example', rootKey), ...validity });
  const facts = { key, issuer: ca, issuerKey: rootKey, isCa: false, keyUsage: ['digitalSignature'] as const };
  const cert = await issueCertificate({ ...facts, dnsSans: ['localhost'], uriSans: [], ...validity } as never);
  return { ca, cert, key: key.export({ type: 'pkcs8', format: 'pem' }) as string };
}

describe('a token endpoint that lies, or gives no answer', () => {
  const rows: [title: string, answer: Answer, code: string, sentence: string, spec?: Partial<ExchangeSpec>][] = [
    ['200 with HTML', html(200), 'ANSWER', 'not JSON by its content-type'],
    ['HTML that says it is JSON', text('<html>', 'application/json'), 'ANSWER', 'cannot be read strictly'],
    ['JSON with a member twice', text('{"access_token":"a","access_token":"b"}', 'application/json'), 'ANSWER', 'strictly'],
    ['a list', json([given()]), 'ANSWER', 'no JSON object'],
    ['no token', json(given({}, { access_token: undefined })), 'ANSWER', 'no token response'],
    ['a token that is no text', json(given({}, { access_token: 7 })), 'ANSWER', 'no token response'],
    ['no token_type', json(given({}, { token_type: undefined })), 'ANSWER', 'no token response'],
    ['token_type DPoP', json(given({}, { token_type: 'DPoP' })), 'ANSWER', 'token_type is not Bearer'],
    ['token_type N_A', json(given({}, { token_type: 'N_A' })), 'ANSWER', 'token_type is not Bearer'],
    ['no issued_token_type', json(given({}, { issued_token_type: undefined })), 'ANSWER', 'issued_token_type'],
    ['an id_token by its type', json(given({}, { issued_token_type: urn('id_token') })), 'ANSWER', 'issued_token_type'],
    ['a refresh_token by its type', json(given({}, { issued_token_type: urn('refresh_token') })), 'ANSWER', 'issued_token_type'],
    ['an id_token by its claims', json(given({ typ: 'ID' })), 'ANSWER', 'id_token'],
    ['an id_token by its hashes', json(given({ at_hash: 'x' })), 'ANSWER', 'id_token'],
    ['a token for another audience', json(given({ aud: ['other'] })), 'ANSWER', 'another audience'],
    ['a token for no audience', json(given({ aud: undefined })), 'ANSWER', 'another audience'],
    ['a token for one of two audiences', json(given()), 'ANSWER', 'another audience', { audience: ['billing', 'ledger'] }],
    [
      'a token for another resource',
      json(given()),
      'ANSWER',
      'another audience',
      { audience: undefined as never, resource: ['https://r'] },
    ],
    ['a token that has expired', json(given({ exp: start / 1000 })), 'ANSWER', 'expired'],
    ['a token whose exp is text', json(given({ exp: '1999999999' })), 'ANSWER', 'exp is no number'],
    [
      'a transaction token unasked',
      json({ ...given(), access_token: jwt(txn, { typ: 'txntoken+jwt' }) }),
      'ANSWER',
      'is a transaction token',
    ],
    [
      'an ordinary token for a transaction token',
      json(given({}, { issued_token_type: urn('txn_token'), token_type: 'N_A' })),
      'ANSWER',
      'is no transaction',
      { requestedTokenType: 'txn_token' },
    ],
    [
      'a transaction token without txn',
      json({ ...txnAnswer, access_token: jwt({ ...txn, txn: undefined }, { typ: 'txntoken+jwt' }) }),
      'ANSWER',
      'must have txn',
      { requestedTokenType: 'txn_token' },
    ],
    [
      'an opaque token where a JWT was asked',
      json(given({}, { access_token: 'opaque', issued_token_type: urn('jwt') })),
      'ANSWER',
      'no JWT',
      { requestedTokenType: 'jwt' },
    ],
    ['the very token of the user', json(given({}, { access_token: raw.text })), 'ANSWER', "user's own token"],
    [
      'the token of the user with another end',
      json(given({}, { access_token: `${raw.text.slice(0, -4)}AAAA` })),
      'ANSWER',
      "user's own token",
    ],
    ['a token with a line break', json(given({}, { access_token: 'a\r\nx-admin: 1' })), 'ANSWER', 'characters'],
    ['a token of 17 KiB', json(given({}, { access_token: 'a'.repeat(17 * 1024) })), 'ANSWER', '16 KiB'],
    ['half a JWT', json(given({}, { access_token: `${part({ alg: 'ES256' })}.${part([])}.AAAA` })), 'ANSWER', 'begins as a JWT'],
    ['a negative expires_in', json(given({}, { expires_in: -1 })), 'ANSWER', 'expires_in'],
    ['expires_in that is no number', json(given({}, { expires_in: '300 s' })), 'ANSWER', 'expires_in'],
    ['10 MB', text(`{"access_token":"${'a'.repeat(10_000_000)}"}`, 'application/json'), 'FAILED', 'more than 64 KiB'],
    [
      'a compressed answer',
      (response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
      'FAILED',
      'compressed',
    ],
    ['a redirect', (response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end(), 'FAILED', 'redirects'],
    ['503', html(503), 'FAILED', 'status 503'],
    ['201', json(given(), 201), 'FAILED', 'status 201'],
    ['a reset', (_, { request }) => void request.socket.resetAndDestroy(), 'FAILED', 'ECONNRESET'],
    ['half an answer', half, 'FAILED', 'no answer'],
    ['silence', () => {}, 'FAILED', 'within 300 ms'],
    ['an OAuth error', json({ error: 'invalid_scope', error_description: raw.text }, 400), 'REFUSED', '400 and invalid_scope'],
    ['an error of its own', json({ error: `e-${raw.text}` }, 401), 'REFUSED', '401 and no error that is known'],
    ['400 with HTML', html(400), 'REFUSED', '400 and no error that is known'],
  ];
  it.each(rows)(
    'refuses the call on %s, and its error holds neither token nor secret',
    async (_, answer, code, sentence, spec = {}) => {
      const { exchange, asked } = await create(answer, spec, { timeoutMs: sentence.includes('300 ms') ? 300 : 30_000 });
      const error: unknown = await exchange.tokenFor(raw).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: `ENMESH_PROPAGATION_EXCHANGE_${code}`, message: expect.stringContaining(sentence) });
      const shown = inspect(error, { depth: 9, showHidden: true });
      for (const secret of [...raw.text.split('.').slice(1), 's3cret', 'x-admin', 'c-4711']) expect(shown).not.toContain(secret);
      expect(asked).toHaveLength(1);
    },
  );

  it('refuses an endpoint that is never asked, when it is created or at the name that leads there', async () => {
    const spec = { audience: ['billing'], clientAuth: { method: 'tls_client_auth', clientId: 'g' } } as const;
    const make = (tokenEndpoint: string, more: object = {}) => createTokenExchange({ spec: { ...spec, tokenEndpoint }, ...more });
    for (const [endpoint, sentence] of [
      ['http://idp.test/token', 'insecureHttp'],
      ['http://169.254.169.254/token', 'metadata'],
      ['https://[fe80::1]/token', 'metadata'],
      ['https://[::ffff:169.254.169.254]/token', 'metadata'],
      ['ftp://idp.test/token', 'neither https nor http'],
      ['https://user:pass@idp.test/token', 'user or password'],
      ['token', 'no URL'],
    ] as const)
      expect(() => make(endpoint)).toThrow(
        expect.objectContaining({ code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS', message: expect.stringContaining(sentence) }),
      );
    expect(() => make('http://idp.shop:80/token', { isMeshHost: () => true })).toThrow(/insecureHttp/);
    make('http://idp.shop:80/token', { isMeshHost: () => true, fetchToken: sendTokenPost }).close();
  });
});

describe('what an exchange keeps', () => {
  it('asks once for 1000 calls of one user at once, and not again while the token is fresh', async () => {
    const { exchange, asked } = await create((response, one) => void setTimeout(() => json(given())(response, one), 30));
    const tokens = await Promise.all(Array.from({ length: 1000 }, () => exchange.tokenFor(raw)));
    expect(new Set(tokens).size).toBe(1);
    await exchange.tokenFor(raw);
    expect(asked).toHaveLength(1);
  });

  it('never gives the token of one user to another', async () => {
    const { exchange, asked } = await create((response, one) =>
      json(given({ sub: one.form.get('subject_token') }))(response, one),
    );
    const users = Array.from({ length: 40 }, (_, i) => ({ text: jwt({ sub: `user-${i}` }), expiresAt: start + 600_000 }));
    const calls = Array.from({ length: 400 }, (_, i) => users[(i * 7) % users.length]!);
    const tokens = await Promise.all(calls.map((user) => exchange.tokenFor(user)));
    tokens.forEach((token, i) =>
      expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toMatchObject({ sub: calls[i]!.text }),
    );
    expect(asked).toHaveLength(users.length);
  });

  it.each([
    ['expires_in', {}, { expires_in: 100 }, Infinity, 90_000],
    ['expires_in as text', {}, { expires_in: '100' }, Infinity, 90_000],
    ['its own exp', { exp: start / 1000 + 200 }, { expires_in: 9999 }, Infinity, 180_000],
    ['its own exp without expires_in', { exp: start / 1000 + 200 }, { expires_in: undefined }, Infinity, 180_000],
    ["the user's exp", {}, {}, start + 50_000, 45_000],
    ['an hour, less 30 s', { exp: start / 1000 + 99_999 }, { expires_in: 99_999 }, Infinity, 3_570_000],
  ])('uses a token until %s less the skew', async (_, claims, more, expiresAt, until) => {
    const { exchange, asked, clock } = await create(json(given(claims, more)));
    const user = { ...raw, expiresAt };
    await exchange.tokenFor(user);
    clock.advance(until - 1);
    await exchange.tokenFor(user);
    expect(asked).toHaveLength(1);
    clock.advance(1);
    await exchange.tokenFor(user).catch(() => {});
    expect(asked).toHaveLength(2);
  });

  it('by a clock 5 minutes behind uses a token no longer than expires_in, and by one 5 minutes ahead refuses what seems to have ended', async () => {
    const behind = await create(json(given({ exp: start / 1000 + 300 + 120 }, { expires_in: 120 })));
    await behind.exchange.tokenFor(raw);
    behind.clock.advance(108_000);
    await behind.exchange.tokenFor(raw);
    expect(behind.asked).toHaveLength(2);
    const ahead = await create(json(given({ exp: start / 1000 - 300 + 120 }, { expires_in: 120 })));
    await expect(ahead.exchange.tokenFor(raw)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_ANSWER',
      message: expect.stringContaining('it has expired'),
    });
  });

  it('does not keep an opaque token without expires_in', async () => {
    const { exchange, asked } = await create(json(given({}, { access_token: 'opaque', expires_in: undefined })));
    expect(await Promise.all([exchange.tokenFor(raw), exchange.tokenFor(raw)])).toEqual(['opaque', 'opaque']);
    expect(asked).toHaveLength(1);
    await exchange.tokenFor(raw);
    expect(asked).toHaveLength(2);
  });

  it("asks nothing for a user's token that has expired", async () => {
    const { exchange, asked, clock } = await create(json(given()));
    clock.advance(600_000);
    await expect(exchange.tokenFor(raw)).rejects.toMatchObject({ code: 'ENMESH_PROPAGATION_USER_EXPIRED' });
    expect(asked).toHaveLength(0);
  });

  it("gives nothing where the user's token ends while the provider is asked", async () => {
    const { exchange, clock } = await create((response, one) => {
      clock.advance(600_000);
      json(given({ exp: start / 1000 + 9_999 }))(response, one);
    });
    await expect(exchange.tokenFor(raw)).rejects.toMatchObject({ code: 'ENMESH_PROPAGATION_USER_EXPIRED' });
  });

  it('keeps a refusal for a second, so that one user cannot make every call a token request', async () => {
    const { exchange, asked, clock } = await create(json({ error: 'invalid_request' }, 400));
    for (let i = 0; i < 20; i++) await expect(exchange.tokenFor(raw)).rejects.toThrow('invalid_request');
    expect(asked).toHaveLength(1);
    clock.advance(1_000);
    await expect(exchange.tokenFor(raw)).rejects.toThrow('invalid_request');
    expect(asked).toHaveLength(2);
  });

  it('leaves an endpoint in peace that gives no answer, says since when, and is back within a second', async () => {
    let isUp = false;
    const { exchange, asked, clock } = await create((response, one) => (isUp ? json(given()) : html(503))(response, one));
    const call = () =>
      exchange.tokenFor(raw).then(
        () => 'ok',
        (error: EnmeshError) => `${error.code} ${error.message}`,
      );
    const said = 'ENMESH_PROPAGATION_EXCHANGE_FAILED the token endpoint answers with status 503';
    expect(await call()).toBe(said);
    clock.advance(100);
    expect(await call()).toBe(`${said}. So it is since 2027-01-15T08:00:00.000Z; it is asked again within a second or two`);
    for (let i = 0; i < 600; i++) {
      clock.advance(100);
      await call();
    }
    // A minute: one each second at most, and not much less.
    expect(asked.length).toBeGreaterThan(55);
    expect(asked.length).toBeLessThan(125);
    isUp = true;
    clock.advance(1_000);
    expect(await call()).toBe('ok');
  });

  it('sends one call at a time to an endpoint that is silent, and refuses the others without waiting', async () => {
    let isSilent = true;
    const { exchange, asked, clock } = await create(
      (response, one) => (isSilent ? undefined : json(given())(response, one)),
      {},
      { timeoutMs: 50 },
    );
    const call = (user: number) =>
      exchange.tokenFor({ ...raw, text: `${raw.text}${user}` }).catch((error: Error) => error.message);
    expect(await call(0)).toContain('no answer within 50 ms');
    clock.advance(1_000);
    const messages = await Promise.all(Array.from({ length: 100 }, (_, user) => call(user)));
    expect(messages.filter((message) => message.includes('So it is since'))).toHaveLength(99);
    // On a busy machine a call may end before it has got there.
    expect(asked.length).toBeLessThanOrEqual(2);
    isSilent = false;
    clock.advance(1_000);
    expect(await call(1)).toBe((given() as { access_token: string }).access_token);
  });

  it('takes a refusal for an answer: the endpoint is there', async () => {
    let status = 503;
    const { exchange, asked, clock } = await create((response, one) => json({ error: 'invalid_grant' }, status)(response, one));
    await expect(exchange.tokenFor(raw)).rejects.toThrow('503');
    clock.advance(1_000);
    status = 400;
    await expect(exchange.tokenFor(raw)).rejects.toThrow('invalid_grant');
    await expect(exchange.tokenFor({ ...raw, text: 'another' })).rejects.toThrow('invalid_grant');
    expect(asked).toHaveLength(3);
  });

  it('refuses the users above the bound at once while the endpoint is slow', async () => {
    const { exchange } = await create(() => {}, {}, { timeoutMs: 500 });
    const users = Array.from({ length: maxExchangesInFlight + 3 }, (_, i) => ({ text: `user-${i}`, expiresAt: Infinity }));
    const outcomes = await Promise.all(users.map((user) => exchange.tokenFor(user).catch((error: Error) => error.message)));
    expect(outcomes.filter((message) => message.includes('in flight'))).toHaveLength(3);
  });

  it('ends what is in flight when it is closed, and gives nothing afterwards', async () => {
    const { exchange } = await create(() => {});
    const waiting = exchange.tokenFor(raw);
    exchange.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ENMESH_PROPAGATION_EXCHANGE_FAILED', message: 'the mesh is closed' });
    await expect(exchange.tokenFor(raw)).rejects.toThrow('the mesh is closed');
  });

  it('obtains a transaction token for a trust domain', async () => {
    const { exchange, asked } = await create(json(txnAnswer), { audience: ['billing'], requestedTokenType: 'txn_token' });
    expect(await exchange.tokenFor(raw)).toBe(txnAnswer.access_token);
    expect(asked[0]!.form.get('requested_token_type')).toBe(urn('txn_token'));
  });
});

function html(status: number): Answer {
  return (response) => void response.writeHead(status, { 'content-type': 'text/html' }).end('<html>busy</html>');
}

function text(body: string, contentType: string): Answer {
  return (response) =>
    void response
      .on('error', () => {})
      .writeHead(200, { 'content-type': contentType })
      .end(body);
}

function half(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 }).write('{"access_token"');
  setTimeout(() => response.destroy(), 20);
}
