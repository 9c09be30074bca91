import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createMesh, type ConfigSource, type Mesh } from '@enmesh/core';
import { createWorkloadApi, type JwtBundleSet } from '@enmesh/spiffe';
import { exchangeDocuments, exchangePropagation, openProduct } from '../support/exchange-pair.js';
import { open, send } from '../support/house.js';
import { startRealServer, type RealServer } from '../support/real-server.js';
import { createFakeWorkloadApi, type FakeWorkloadApi } from '../support/workload-api.js';

interface Keycloak {
  readonly base: string;
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly jwksUri: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly adminRealm: string;
  readonly user: { readonly username: string; readonly password: string; readonly client: string };
}

// The features are built into the distribution, so it is built anew beside the one that other suites use.
const cache = process.env['ENMESH_SERVERS_CACHE'] ?? join(homedir(), '.cache/enmesh-servers');
const prepared = existsSync(cache) ? readdirSync(cache).find((name) => /^keycloak-[\d.]+$/.test(name)) : undefined;
const directory = mkdtempSync(join(tmpdir(), 'enmesh-keycloak-svid-'));
const home = join(directory, 'keycloak');
if (prepared !== undefined) cpSync(join(cache, prepared), home, { recursive: true });
const features = { KEYCLOAK_HOME: home, KC_FEATURES: 'spiffe,client-auth-federated' };
const server: RealServer<Keycloak> | undefined = await startRealServer<Keycloak>('keycloak', features);
afterAll(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const uri = 'spiffe://cluster.local/ns/shop/sa/gateway';

describe.skipIf(server === undefined)(
  "a user's token exchanged at Keycloak by a JWT-SVID (its features spiffe and client-auth-federated)",
  () => {
    const keycloak = server?.ready as Keycloak;
    const ends: (() => unknown)[] = [];
    let agent: FakeWorkloadApi;
    let gateway: Mesh;
    let door: number;
    let seen: string | undefined;
    let yaml = '';
    let audience = '';

    const config: ConfigSource = {
      read: async () => [
        { name: 'policies.yaml', text: yaml },
        { name: 'enmesh/tokens.yaml', text: JSON.stringify(propagation()) },
      ],
      watch: () => () => {},
    };
    const propagation = (): object =>
      exchangePropagation({
        tokenEndpoint: keycloak.tokenEndpoint,
        insecureHttp: true,
        audience: 'product',
        scope: ['product'],
        clientAuth: { method: 'jwt_svid', audience },
      });

    async function form(url: string, fields: Record<string, string>): Promise<Record<string, unknown>> {
      const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(fields) });
      return (await answer.json()) as Record<string, unknown>;
    }

    /** A client of the realm that is known by its SPIFFE ID, and whose name stands in the tokens of users. */
    async function addClient(bundleEndpoint: string): Promise<void> {
      const login = { grant_type: 'password', client_id: 'admin-cli', ...keycloak.admin };
      const { access_token } = await form(`${keycloak.base}/realms/master/protocol/openid-connect/token`, login);
      const admin = async (path: string, body?: object): Promise<Record<string, unknown>[]> => {
        const headers = { authorization: `Bearer ${String(access_token)}`, 'content-type': 'application/json' };
        const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
        const answer = await fetch(`${keycloak.adminRealm}${path}`, init);
        if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return body === undefined ? ((await answer.json()) as Record<string, unknown>[]) : [];
      };
      const trust = { trustDomain: 'spiffe://cluster.local', bundleEndpoint };
      await admin('/identity-provider/instances', { alias: 'spire', providerId: 'spiffe', enabled: true, config: trust });
      await admin('/clients', {
        clientId: 'gateway-svid',
        enabled: true,
        publicClient: false,
        protocol: 'openid-connect',
        clientAuthenticatorType: 'federated-jwt',
        standardFlowEnabled: false,
        fullScopeAllowed: false,
        attributes: { 'standard.token.exchange.enabled': 'true', 'jwt.credential.issuer': 'spire', 'jwt.credential.sub': uri },
        defaultClientScopes: ['core'],
        optionalClientScopes: ['product'],
      });
      const [spa] = await admin(`/clients?clientId=${keycloak.user.client}`);
      await admin(`/clients/${String(spa?.['id'])}/protocol-mappers/models`, {
        name: 'aud-gateway-svid',
        protocol: 'openid-connect',
        protocolMapper: 'oidc-audience-mapper',
        config: { 'included.client.audience': 'gateway-svid', 'access.token.claim': 'true', 'id.token.claim': 'false' },
      });
    }

    /** The bundle endpoint of the agent's trust domain, with its keys for JWT-SVIDs. */
    async function serveBundle(): Promise<string> {
      const api = createWorkloadApi({ socket: agent.uri });
      const bundles = await new Promise<JwtBundleSet>((done) => void api.watchJwtBundles({ onChange: done }));
      api.close();
      const keys = bundles
        .get('cluster.local')
        ?.keys.map(({ kid, key }) => ({ ...key.export({ format: 'jwk' }), kid, use: 'jwt-svid' }));
      const endpoint = createServer((_request, response) => {
        response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys, spiffe_refresh_hint: 300 }));
      });
      await new Promise<void>((done) => endpoint.listen(0, '127.0.0.1', done));
      ends.push(() => endpoint.close());
      return `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`;
    }

    beforeAll(async () => {
      agent = await createFakeWorkloadApi({ trustDomain: 'cluster.local' });
      ends.push(() => agent.stop());
      await agent.register({ namespace: 'shop', serviceAccount: 'gateway' });
      await addClient(await serveBundle());
      audience = keycloak.issuer;
      const product = await openProduct(agent, config, (line) => (seen = line));
      ends.push(() => product.mesh.close());
      yaml = exchangeDocuments(product.port, { issuer: keycloak.issuer, jwksUri: keycloak.jwksUri });
      audience = keycloak.issuer;
      gateway = await createMesh({
        ...{ namespace: 'shop', serviceAccount: 'gateway', labels: { app: 'gateway' }, config, log: false, env: {} },
        identity: { spiffe: { socket: agent.uri } },
        jwks: { [keycloak.issuer]: { insecureHttp: true } },
      });
      ends.push(() => gateway.close());
      await gateway.ready();
      door = await open(
        gateway.createServer((_request, response) => {
          gateway.request('http://product.shop.svc.cluster.local/').then(
            async ({ body }) => response.end(await body.text()),
            (error: { code?: string; message: string }) => response.writeHead(599).end(`${error.code} ${error.message}`),
          );
        }),
      );
    });
    afterAll(async () => {
      for (const end of ends.splice(0).reverse()) await end();
    });

    const enter = async (): ReturnType<typeof send> => {
      const { username, password, client } = keycloak.user;
      const user = await form(keycloak.tokenEndpoint, { grant_type: 'password', client_id: client, username, password });
      return send({ port: door }, 'GET', '/', [['Authorization', `Bearer ${String(user['access_token'])}`]]);
    };

    it('becomes one for the next service, with no secret anywhere', async () => {
      expect(await enter()).toMatchObject({ status: 200, body: 'product' });
      const [, payload = ''] = String(seen).split('.');
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
      expect(claims).toMatchObject({ iss: keycloak.issuer, azp: 'gateway-svid', aud: 'product', preferred_username: 'alice' });
    });

    it('is refused where the JWT-SVID is for the token endpoint: Keycloak wants its issuer as audience', async () => {
      audience = keycloak.tokenEndpoint;
      await gateway.reload();
      seen = undefined;
      expect(await enter()).toMatchObject({ status: 599, body: expect.stringContaining('400 and invalid_client') });
      expect(seen).toBeUndefined();
    });
  },
);
