import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { createLocalJWKSet, jwtVerify, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createChain, type Chain } from '../support/hop-chain.js';
import { send, type Answer } from '../support/house.js';

/** The little that is used of oidc-provider, which has no types of its own. */
interface Context {
  readonly req: IncomingMessage;
  body: unknown;
  readonly oidc: { readonly client: { readonly clientId: string }; readonly params: Record<string, string | undefined> };
}
interface AccessToken {
  resourceServer: object;
  scope: string;
  readonly expiration: number;
  readonly tokenType: string;
  save(): Promise<string>;
}
interface Provider {
  callback(): RequestListener;
  registerGrantType(name: string, handle: (...args: unknown[]) => Promise<void>, parameters: string[], dupes: string[]): void;
  readonly AccessToken: new (properties: object) => AccessToken;
  readonly ResourceServer: new (identifier: string, data: object) => object;
}

const issuer = 'http://idp.shop.svc.cluster.local';
const endpoint = `${issuer}/token`;
const urn = (type: string): string => `urn:ietf:params:oauth:token-type:${type}`;
const grantType = 'urn:ietf:params:oauth:grant-type:token-exchange';
const idpKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const clientKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const jwkOf = (key: KeyObject, kid: string): object => ({ ...key.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' });
const publicOf = (key: KeyObject, kid: string): object => jwkOf(createPublicKey(key), kid);
const directory = mkdtempSync(join(tmpdir(), 'enmesh-oidc-'));

const certificateOf = (ctx: Context) => (ctx.req.socket as TLSSocket).getPeerX509Certificate?.();

const client = (client_id: string, token_endpoint_auth_method: string, more: object = {}): object => ({
  client_id,
  token_endpoint_auth_method,
  grant_types: [grantType],
  response_types: [],
  redirect_uris: [],
  id_token_signed_response_alg: 'ES256',
  ...more,
});

async function createProvider(userKeys: string): Promise<Provider> {
  // The package says on standard output that it would like another Node line.
  const { Provider: Class } = (await import('oidc-provider' as string)) as {
    Provider: new (issuer: string, o: object) => Provider;
  };
  const provider = new Class(issuer, {
    jwks: { keys: [jwkOf(idpKey, 'idp-1')] },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth'],
    clients: [
      client('by-basic', 'client_secret_basic', { client_secret: 's3cret/+ of basic' }),
      client('by-post', 'client_secret_post', { client_secret: 's3cret/+ of post' }),
      client('by-key', 'private_key_jwt', {
        jwks: { keys: [publicOf(clientKey, 'k1')] },
        token_endpoint_auth_signing_alg: 'ES256',
      }),
      client('by-svid', 'tls_client_auth', { tls_client_auth_san_uri: 'spiffe://cluster.local/ns/shop/sa/gateway' }),
    ],
    features: {
      devInteractions: { enabled: false },
      mTLS: {
        enabled: true,
        tlsClientAuth: true,
        getCertificate: (ctx: Context) => certificateOf(ctx)?.toString(),
        certificateAuthorized: (ctx: Context) => (ctx.req.socket as TLSSocket).authorized,
        certificateSubjectMatches: (ctx: Context, property: string, expected: string) =>
          property === 'tls_client_auth_san_uri' && certificateOf(ctx)?.subjectAltName === `URI:${expected}`,
      },
    },
  });
  const handle = async (...args: unknown[]): Promise<void> => {
    const ctx = args.find((each): each is Context => typeof each === 'object' && each !== null && 'oidc' in each) as Context;
    ctx.body = await exchange(provider, ctx, userKeys);
  };
  const parameters = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'];
  provider.registerGrantType(grantType, handle, parameters, ['audience', 'resource']);
  return provider;
}

async function exchange(provider: Provider, { oidc: { client, params } }: Context, userKeys: string): Promise<object> {
  const { subject_token = '', audience = '', scope = 'read', requested_token_type } = params;
  const { payload } = await jwtVerify(subject_token, createLocalJWKSet(JSON.parse(userKeys) as { keys: [] }));
  if (requested_token_type === urn('txn_token')) {
    const claims = { txn: `txn-${payload.sub}`, scope, req_wl: client.clientId };
    const token = new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'idp-1', typ: 'txntoken+jwt' });
    const signed = token
      .setIssuer(issuer)
      .setSubject(String(payload.sub))
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime('1 m');
    return { access_token: await signed.sign(idpKey), token_type: 'N_A', issued_token_type: requested_token_type };
  }
  const token = new provider.AccessToken({ accountId: payload.sub, client, gty: 'token-exchange' });
  const jwt = { sign: { alg: 'ES256' } };
  token.resourceServer = new provider.ResourceServer(audience, { audience, scope, accessTokenFormat: 'jwt', jwt });
  token.scope = scope;
  const access_token = await token.save();
  return { access_token, expires_in: token.expiration, token_type: token.tokenType, issued_token_type: urn('access_token') };
}

interface Seen {
  readonly claims: Record<string, unknown> | undefined;
  readonly lines: string;
}

describe("a user's token exchanged at oidc-provider, a service of the mesh", () => {
  let chain: Chain;
  const seen = new Map<string, Seen>();

  const rules = (name: string, rule: object): object => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'RequestAuthentication',
    metadata: { name, namespace: 'shop' },
    spec: { selector: { matchLabels: { app: name } }, jwtRules: [rule] },
  });
  const idpRule = { issuer, jwks: JSON.stringify({ keys: [publicOf(idpKey, 'idp-1')] }) };
  const documents = (exchange: object, inner: object = {}): string =>
    [
      rules('gateway', { issuer: 'ISSUER', jwks: 'JWKS_TEXT' }),
      rules('product', { ...idpRule, audiences: ['product'], ...inner }),
      rules('stock', { ...idpRule, ...inner }),
      {
        apiVersion: 'security.istio.io/v1',
        kind: 'PeerAuthentication',
        metadata: { name: 'modes', namespace: 'shop' },
        spec: { mtls: { mode: 'PERMISSIVE' } },
      },
      {
        apiVersion: 'enmesh.dev/v1',
        kind: 'TokenPropagation',
        metadata: { name: 'gateway', namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: 'gateway' } },
          outbound: [
            { hosts: ['product'], mode: 'EXCHANGE', exchange: { tokenEndpoint: endpoint, audience: 'product', ...exchange } },
          ],
        },
      },
    ]
      .map((document) =>
        JSON.stringify(document).replace('"JWKS_TEXT"', () => JSON.stringify(chain?.issuer.jwksText ?? '{"keys":[]}')),
      )
      .join('\n---\n');

  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const basic = { method: 'client_secret_basic', clientId: 'by-basic', clientSecretFile: file('basic', 's3cret/+ of basic') };

  beforeAll(async () => {
    chain = await createChain({
      services: ['gateway', 'product', 'stock', 'idp'],
      yaml: `apiVersion: v1\nkind: List\nitems: []\n`,
    });
    const callback = (await createProvider(chain.issuer.jwksText)).callback();
    chain.of('idp').handle = (request, response) => void callback(request, response);
    const relay =
      (name: string, next: string | undefined) =>
      async (...[request, response]: Parameters<ReturnType<Chain['of']>['handle']>): Promise<void> => {
        seen.set(name, { claims: request.enmesh?.user?.claims, lines: request.rawHeaders.join('\n') });
        if (next === undefined) return void response.end('12 pieces');
        const { mesh } = chain.of(name);
        const answer = await mesh.fetch(chain.of(next).url);
        response.writeHead(answer.status).end(await answer.text());
      };
    chain.of('gateway').handle = relay('gateway', 'product');
    chain.of('product').handle = relay('product', 'stock');
    chain.of('stock').handle = relay('stock', undefined);
  });
  afterAll(async () => {
    await chain?.close();
    rmSync(directory, { recursive: true });
  });

  const ask = async (token?: string): Promise<Answer> => {
    seen.clear();
    const { port } = chain.of('gateway');
    return send({ port }, 'GET', '/', [['Authorization', `Bearer ${token ?? (await chain.issuer.sign({ sub: 'alice' }))}`]]);
  };

  it.each([
    ['client_secret_basic', basic],
    [
      'client_secret_post',
      { method: 'client_secret_post', clientId: 'by-post', clientSecretFile: file('post', 's3cret/+ of post') },
    ],
    [
      'private_key_jwt',
      {
        method: 'private_key_jwt',
        clientId: 'by-key',
        keyId: 'k1',
        audience: issuer,
        privateKeyFile: file('key.pem', String(clientKey.export({ type: 'pkcs8', format: 'pem' }))),
      },
    ],
    ['tls_client_auth with the SVID, known by its URI SAN (RFC 8705)', { method: 'tls_client_auth', clientId: 'by-svid' }],
  ])('becomes one for the next service, by %s', async (_, clientAuth) => {
    await chain.write(documents({ scope: ['read', 'write'], clientAuth }));
    const token = await chain.issuer.sign({ sub: 'alice', canary: 'c-4711' });
    expect(await ask(token)).toMatchObject({ status: 200, body: '12 pieces' });
    expect(seen.get('product')?.claims).toMatchObject({
      iss: issuer,
      sub: 'alice',
      aud: 'product',
      client_id: clientAuth.clientId,
    });
    // The service after the next gets nothing of the user, nobody anything of the token.
    expect(seen.get('stock')?.claims).toBeUndefined();
    for (const { lines } of seen.values()) expect(lines).not.toContain(token.split('.')[2]);
  });

  it('is refused with a wrong secret and by another SVID, and no call is made', async () => {
    await chain.write(documents({ clientAuth: { ...basic, clientSecretFile: file('wrong', 'wrong') } }));
    expect(await ask()).toMatchObject({ status: 599, body: 'ENMESH_PROPAGATION_EXCHANGE_REFUSED' });
    expect([...seen.keys()]).toEqual(['gateway']);
    await chain.write(documents({ clientAuth: { method: 'tls_client_auth', clientId: 'by-svid' } }));
    await chain.of('gateway').renew(await chain.authority.issue({ namespace: 'shop', serviceAccount: 'stranger' }));
    expect(await ask()).toMatchObject({ status: 599, body: 'ENMESH_PROPAGATION_EXCHANGE_REFUSED' });
    await chain.of('gateway').renew();
    expect(await ask()).toMatchObject({ status: 200 });
  });

  it('becomes a transaction token that goes on unchanged through the chain', async () => {
    const source = { fromHeaders: [{ name: 'Txn-Token' }], audiences: ['cluster.local'] };
    const exchange = { audience: 'cluster.local', scope: ['pay'], requestedTokenType: 'txn_token', clientAuth: basic };
    await chain.write(documents(exchange, source));
    expect(await ask()).toMatchObject({ status: 200 });
    const claims = { iss: issuer, sub: 'alice', txn: 'txn-alice', req_wl: 'by-basic', aud: 'cluster.local' };
    expect(seen.get('product')?.claims).toMatchObject(claims);
    expect(seen.get('stock')?.claims).toMatchObject(claims);
  });

  it('was tried with the version of the lock file', () => {
    const { version } = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../node_modules/oidc-provider/package.json'), 'utf8'),
    ) as { version: string };
    console.log(`oidc-provider ${version}`);
    expect(version).toBe('9.13.3');
  });
});
