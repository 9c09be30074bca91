import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createChain, type Chain, type ChainService } from '../support/hop-chain.js';
import { send, type Answer } from '../support/house.js';
import { startRealServer } from '../support/real-server.js';

interface Keycloak {
  readonly base: string;
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly jwksUri: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly adminRealm: string;
  readonly user: { readonly username: string; readonly password: string; readonly client: string };
  readonly gateway: { readonly id: string; readonly secret: string };
}

const server = await startRealServer<Keycloak>('keycloak');
afterAll(() => server?.stop());

describe.skipIf(server === undefined)("a user's token exchanged at Keycloak", () => {
  const keycloak = server?.ready as Keycloak;
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-keycloak-'));
  let chain: Chain;
  let gateway: ChainService;
  /** What the product service saw of its last request. */
  let seen: { authorization: string | undefined; claims: Record<string, unknown> | undefined; headers: string[] } | undefined;

  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };

  async function post(url: string, form: Record<string, string>): Promise<Record<string, unknown>> {
    const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(form) });
    return (await answer.json()) as Record<string, unknown>;
  }

  const login = async (client = keycloak.user.client): Promise<string> => {
    const { username, password } = keycloak.user;
    const answer = await post(keycloak.tokenEndpoint, { grant_type: 'password', client_id: client, username, password });
    return String(answer['access_token']);
  };

  const secretAuth = (method: string): object => ({
    method,
    clientId: keycloak.gateway.id,
    clientSecretFile: file('secret', keycloak.gateway.secret),
  });

  const documents = (exchange: object, audience: string | null = 'product'): string =>
    [
      ...[
        ['gateway', ['gateway', 'gateway-key']],
        ['product', ['product']],
      ].map(([name, audiences]) => ({
        apiVersion: 'security.istio.io/v1',
        kind: 'RequestAuthentication',
        metadata: { name, namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: name } },
          jwtRules: [{ issuer: keycloak.issuer, jwksUri: keycloak.jwksUri, audiences }],
        },
      })),
      {
        apiVersion: 'security.istio.io/v1',
        kind: 'AuthorizationPolicy',
        metadata: { name: 'product', namespace: 'shop' },
        spec: {
          selector: { matchLabels: { app: 'product' } },
          rules: [
            {
              from: [
                { source: { principals: ['cluster.local/ns/shop/sa/gateway'], requestPrincipals: [`${keycloak.issuer}/*`] } },
              ],
            },
          ],
        },
      },
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
            {
              hosts: ['product'],
              mode: 'EXCHANGE',
              exchange: {
                tokenEndpoint: keycloak.tokenEndpoint,
                insecureHttp: true,
                ...(audience !== null && { audience }),
                scope: ['product'],
                ...exchange,
              },
            },
          ],
        },
      },
    ]
      .map((document) => JSON.stringify(document))
      .join('\n---\n');

  beforeAll(async () => {
    chain = await createChain({
      services: ['gateway', 'product'],
      yaml: documents({ clientAuth: secretAuth('client_secret_basic') }),
      mesh: { jwks: { [keycloak.issuer]: { insecureHttp: true } } },
    });
    gateway = chain.of('gateway');
    gateway.handle = async (_request, response) => {
      const answer = await gateway.mesh
        .fetch(`${chain.of('product').url}/stock`)
        .then(async (reply) => ({ status: reply.status, text: await reply.text() }))
        .catch((error: { cause?: { code?: string; message?: string } }) => ({
          status: 502,
          text: `${error.cause?.code} ${error.cause?.message}`,
        }));
      response.writeHead(answer.status).end(answer.text);
    };
    chain.of('product').handle = (request, response) => {
      seen = {
        authorization: request.headers.authorization,
        claims: request.enmesh?.user?.claims,
        headers: request.rawHeaders,
      };
      response.end('12 pieces');
    };
    await Promise.all([gateway.mesh.ready(), chain.of('product').mesh.ready()]);
  });
  afterAll(async () => {
    await chain?.close();
    rmSync(directory, { recursive: true });
  });

  const ask = (token: string): Promise<Answer> =>
    send({ port: gateway.port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);

  it.each(['client_secret_basic', 'client_secret_post'])('becomes one for the next service, by %s', async (method) => {
    await chain.write(documents({ clientAuth: secretAuth(method) }));
    const token = await login();
    seen = undefined;
    expect(await ask(token)).toMatchObject({ status: 200, body: '12 pieces' });
    expect(seen).toMatchObject({ claims: { iss: keycloak.issuer, azp: 'gateway', preferred_username: 'alice' } });
    expect([seen!.claims!['aud']].flat()).toEqual(['product']);
    expect(JSON.stringify(seen)).not.toContain(token.split('.')[2]);
  });

  it('becomes one by private_key_jwt', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await addKeyClient({ ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'ES256' });
    const privateKeyFile = file('key.pem', String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
    const clientAuth = { method: 'private_key_jwt', clientId: 'gateway-key', privateKeyFile, keyId: 'k1' };
    await chain.write(documents({ clientAuth }));
    expect(await ask(await login())).toMatchObject({ status: 200, body: '12 pieces' });
    expect(seen).toMatchObject({ claims: { azp: 'gateway-key' } });
  });

  it.each([
    ['another audience than its scopes lead to', { audience: 'other' }, 'REFUSED', '400 and invalid_request'],
    [
      'an audience that is no client',
      { audience: 'spiffe://cluster.local/ns/shop/sa/product' },
      'REFUSED',
      '400 and invalid_client',
    ],
    ['a scope that it does not know', { scope: ['nosuch'] }, 'REFUSED', '400 and invalid_scope'],
    ['a transaction token', { requestedTokenType: 'txn_token' }, 'REFUSED', 'invalid_request'],
  ])('refuses the call where Keycloak is asked for %s', async (_, exchange, code, said) => {
    await chain.write(documents({ clientAuth: secretAuth('client_secret_basic'), ...exchange }));
    seen = undefined;
    const { status, body } = await ask(await login());
    expect(status).toBe(502);
    expect(body).toContain(`ENMESH_PROPAGATION_EXCHANGE_${code}`);
    expect(body).toContain(said);
    expect(seen).toBeUndefined();
  });

  it('refuses the call where Keycloak leaves in silence what it was asked for: it knows no resources', async () => {
    const exchange = { clientAuth: secretAuth('client_secret_basic'), resource: 'https://product.example' };
    await chain.write(documents(exchange, null));
    const { body } = await ask(await login());
    expect(body).toContain('ENMESH_PROPAGATION_EXCHANGE_ANSWER');
    expect(body).toContain('another audience');
  });

  it('refuses the call with a wrong secret, and makes it again when the file is right', async () => {
    const clientAuth = { ...secretAuth('client_secret_basic'), clientSecretFile: file('other', 'wrong') };
    await chain.write(documents({ clientAuth }));
    expect((await ask(await login())).body).toContain('401 and unauthorized_client');
    file('other', keycloak.gateway.secret);
    expect(await ask(await login())).toMatchObject({ status: 200 });
  });

  it('ends with the token of the user, although that of Keycloak lives for longer', async () => {
    await chain.write(documents({ clientAuth: secretAuth('client_secret_basic') }));
    const token = await login('shortlived');
    expect(await ask(token)).toMatchObject({ status: 200 });
    const life = Number(seen!.claims!['exp']) - Date.now() / 1000;
    expect(life).toBeGreaterThan(60);
    // The door lets the user in for a minute more, as Istio does; the token of the next hop has ended with theirs.
    await expect.poll(async () => (await ask(token)).body, { interval: 500 }).toContain('ENMESH_PROPAGATION_USER_EXPIRED');
  });

  /** A client that proves itself by a key, and whose name stands in the tokens of users. */
  async function addKeyClient(jwk: object): Promise<void> {
    const { access_token } = await post(`${keycloak.base}/realms/master/protocol/openid-connect/token`, {
      grant_type: 'password',
      client_id: 'admin-cli',
      ...keycloak.admin,
    });
    const admin = async (path: string, body?: object): Promise<Record<string, unknown>[]> => {
      const headers = { authorization: `Bearer ${String(access_token)}`, 'content-type': 'application/json' };
      const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
      const answer = await fetch(`${keycloak.adminRealm}${path}`, init);
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return body === undefined ? ((await answer.json()) as Record<string, unknown>[]) : [];
    };
    await admin('/clients', {
      clientId: 'gateway-key',
      enabled: true,
      publicClient: false,
      protocol: 'openid-connect',
      clientAuthenticatorType: 'client-jwt',
      standardFlowEnabled: false,
      fullScopeAllowed: false,
      attributes: {
        'standard.token.exchange.enabled': 'true',
        'use.jwks.string': 'true',
        'jwks.string': JSON.stringify({ keys: [jwk] }),
        'token.endpoint.auth.signing.alg': 'ES256',
      },
      defaultClientScopes: ['core'],
      optionalClientScopes: ['product'],
    });
    const [spa] = await admin(`/clients?clientId=${keycloak.user.client}`);
    await admin(`/clients/${String(spa?.['id'])}/protocol-mappers/models`, {
      name: 'aud-gateway-key',
      protocol: 'openid-connect',
      protocolMapper: 'oidc-audience-mapper',
      config: { 'included.client.audience': 'gateway-key', 'access.token.claim': 'true', 'id.token.claim': 'false' },
    });
  }
});
