import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createMesh, noticeEvents, type ConfigSource, type Mesh } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { createWorkloadApi, verifyJwtSvid, type JwtBundleSet } from '@enmesh/spiffe';
import { exchangeDocuments, exchangePropagation, openProduct } from '../support/exchange-pair.js';
import { open, send, type Answer } from '../support/house.js';
import { createPrivateCertificate } from '../support/private-certificate.js';
import { until } from '../support/waiting.js';
import { createFakeWorkloadApi, type FakeWorkloadApi } from '../support/workload-api.js';

const gatewayUri = 'spiffe://cluster.local/ns/shop/sa/gateway';
const urn = (type: string): string => `urn:ietf:params:oauth:token-type:${type}`;

/** What the identity provider was asked, and by whom. */
interface Asked {
  readonly form: URLSearchParams;
  readonly serial: string | undefined;
}

let agent: FakeWorkloadApi;
let issuer: Awaited<ReturnType<typeof createTestIssuer>>;
let idp: Server;
let directory: string;
let asked: Asked[] = [];
let seen: string | undefined;
let actors = true;
let yaml = '';
let gateway: Mesh;
let door: number;
const ends: (() => unknown)[] = [];

const file = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};

const exchanging = (exchange: object): string =>
  JSON.stringify(
    exchangePropagation({
      tokenEndpoint: `https://localhost:${(idp.address() as AddressInfo).port}/token`,
      caFile: join(directory, 'ca.pem'),
      audience: 'product',
      ...exchange,
    }),
  );

const config: ConfigSource = {
  read: async () => [
    { name: 'policies.yaml', text: yaml },
    { name: 'enmesh/tokens.yaml', text: tokens },
  ],
  watch: () => () => {},
};
let tokens = '';
const use = async (exchange: object): Promise<boolean> => {
  tokens = exchanging(exchange);
  return gateway.reload();
};

async function enter(): Promise<Answer> {
  const token = await issuer.sign({ sub: `jane-${Math.random()}` });
  return send({ port: door }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);
}

async function startProvider(): Promise<void> {
  const { ca, cert, key } = await createPrivateCertificate();
  file('ca.pem', ca);
  idp = createServer({ cert, key, ca: agent.authority.rootPem, requestCert: true, rejectUnauthorized: false });
  idp.on('request', (request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      const form = new URLSearchParams(text);
      const shown = (request.socket as TLSSocket).getPeerX509Certificate();
      asked.push({ form, serial: shown?.subjectAltName === `URI:${gatewayUri}` ? shown.serialNumber : undefined });
      const claims = { sub: 'jane', aud: 'product', exp: Math.floor(Date.now() / 1000) + 300 };
      const act = actors ? { act: { sub: gatewayUri } } : {};
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const access_token = `${part({ alg: 'ES256', typ: 'at+jwt' })}.${part({ ...claims, ...act, n: asked.length })}.${'A'.repeat(86)}`;
      const answer = { access_token, token_type: 'Bearer', issued_token_type: urn('access_token'), expires_in: 300 };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((done) => idp.listen(0, '127.0.0.1', done));
  ends.push(() => idp.close());
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'enmesh-proof-'));
  [agent, issuer] = await Promise.all([createFakeWorkloadApi({ trustDomain: 'cluster.local' }), createTestIssuer()]);
  ends.push(
    () => rmSync(directory, { recursive: true, force: true }),
    () => agent.stop(),
  );
  await agent.register({ namespace: 'shop', serviceAccount: 'gateway' });
  await startProvider();
  const product = await openProduct(agent, config, (line) => (seen = line));
  ends.push(() => product.mesh.close());
  yaml = exchangeDocuments(product.port, { issuer: issuer.issuer, jwks: issuer.jwksText });
  tokens = exchanging({ clientAuth: { method: 'jwt_svid' } });
  const identity = { spiffe: { socket: agent.uri } };
  const own = { namespace: 'shop', serviceAccount: 'gateway', labels: { app: 'gateway' } };
  gateway = await createMesh({ ...own, config, identity, log: false, env: {} });
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
beforeEach(() => {
  asked = [];
  seen = undefined;
  actors = true;
});
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** The claims of a JWT-SVID, verified as an identity provider does, by the bundle of its trust domain. */
async function verified(token: string | null): Promise<{ readonly uri: string; readonly audiences: readonly string[] }> {
  const api = createWorkloadApi({ socket: agent.uri });
  try {
    const bundles = await new Promise<JwtBundleSet>((done) => void api.watchJwtBundles({ onChange: done }));
    const audience = 'https://idp.example';
    const { spiffeId, audiences } = verifyJwtSvid({ token: String(token), bundles, audience, now: Date.now() });
    return { uri: spiffeId.uri, audiences };
  } finally {
    api.close();
  }
}

describe('a workload whose identity comes from a Workload API proves itself at a token endpoint with a private authority', () => {
  it('by a JWT-SVID as client assertion and as actor', async () => {
    await use({ clientAuth: { method: 'jwt_svid', audience: 'https://idp.example' }, actorToken: 'svid-jwt' });
    expect(await enter()).toMatchObject({ status: 200, body: 'product' });
    const { form } = asked[0]!;
    expect(form.get('client_id')).toBe(gatewayUri);
    expect(form.get('client_assertion_type')).toBe('urn:ietf:params:oauth:client-assertion-type:jwt-spiffe');
    expect(form.get('actor_token_type')).toBe(urn('jwt'));
    for (const name of ['client_assertion', 'actor_token'])
      expect(await verified(form.get(name))).toEqual({ uri: gatewayUri, audiences: ['https://idp.example'] });
    expect(seen).toMatch(/^Bearer eyJ/);
  });

  it('and is refused the call where the provider leaves the actor out', async () => {
    actors = false;
    await use({ clientAuth: { method: 'tls_client_auth', clientId: 'gateway' }, actorToken: 'svid-jwt' });
    expect(await enter()).toMatchObject({ status: 599, body: expect.stringContaining('leaves the actor out') });
    expect(seen).toBeUndefined();
  });

  it('by its SVID in the handshake, which is the renewed one after a rotation, and then with a new token', async () => {
    await use({ clientAuth: { method: 'tls_client_auth', clientId: 'gateway' } });
    expect(await enter()).toMatchObject({ status: 200 });
    const first = seen;
    await agent.rotate(gatewayUri);
    await expect
      .poll(async () => {
        await enter();
        return new Set(asked.map(({ serial }) => serial)).size;
      })
      .toBe(2);
    expect(asked.every(({ serial }) => serial !== undefined)).toBe(true);
    expect(asked.every(({ form }) => form.get('client_id') === 'gateway' && !form.has('client_secret'))).toBe(true);
    expect(seen).not.toBe(first);
  });

  it('and says that the agent is silent where it is, and since when, without a word to the provider; and goes on once it speaks', async () => {
    await use({ clientAuth: { method: 'jwt_svid', audience: 'https://silent.example' } });
    agent.misbehave('silent');
    const { status, body } = await enter();
    expect(status).toBe(599);
    expect(body).toContain('ENMESH_ISSUANCE_WORKLOAD_API');
    // Between its probes the agent is not waited for.
    let refused = '';
    await until(async () => (refused = (await enter()).body).includes('So it is since 20'), 'a call that is refused at once');
    expect(refused).toMatch(/^ENMESH_PROPAGATION_EXCHANGE_SETTINGS /);
    expect(asked).toEqual([]);
    agent.misbehave(undefined);
    await until(async () => (await enter()).status === 200, 'a call that is made again');
  });

  it('and trusts no endpoint of another authority than that of caFile', async () => {
    const other = file('other.pem', (await createPrivateCertificate()).ca);
    await use({ clientAuth: { method: 'jwt_svid' }, caFile: other });
    expect((await enter()).body).toContain('ENMESH_PROPAGATION_EXCHANGE_FAILED');
    file('other.pem', readFileSync(join(directory, 'ca.pem'), 'utf8'));
    // Leaves the endpoint in peace for a moment after a failed handshake.
    await expect.poll(async () => (await enter()).status).toBe(200);
  });
});

describe('a workload whose identity gives no JWT-SVIDs', () => {
  const start = async (exchange: object): Promise<Mesh> => {
    tokens = exchanging(exchange);
    const own = { namespace: 'shop', serviceAccount: 'gateway', labels: { app: 'gateway' } };
    const mesh = await createMesh({ ...own, config, identity: await agent.authority.identity(own), log: false, env: {} });
    ends.push(() => mesh.close());
    return mesh;
  };

  it.each([
    ['clientAuth.method jwt_svid', { clientAuth: { method: 'jwt_svid' } }],
    ['actorToken svid-jwt', { clientAuth: { method: 'tls_client_auth', clientId: 'g' }, actorToken: 'svid-jwt' }],
  ])('does not start where %s is asked for, and says who gives them', async (need, exchange) => {
    await expect(start(exchange)).rejects.toMatchObject({
      code: 'ENMESH_PROPAGATION_EXCHANGE_SETTINGS',
      message: expect.stringMatching(
        new RegExp(`^enmesh/tokens.yaml:1:1 TokenPropagation shop/gateway: ${need} needs JWT-SVIDs.*identity: spiffe`),
      ),
    });
  });

  it('keeps the configuration it has where a reload asks for them', async () => {
    const mesh = await start({ clientAuth: { method: 'tls_client_auth', clientId: 'g' } });
    const told: (string | undefined)[] = [];
    const stop = noticeEvents.subscribe(({ message }) => told.push(message));
    tokens = exchanging({ clientAuth: { method: 'jwt_svid' } });
    expect(await mesh.reload()).toBe(false);
    stop();
    expect(told.join('\n')).toContain('needs JWT-SVIDs');
    tokens = exchanging({ clientAuth: { method: 'tls_client_auth', clientId: 'other' } });
    expect(await mesh.reload()).toBe(true);
  });

  it('starts where only another workload is asked for them', async () => {
    tokens = exchanging({ clientAuth: { method: 'jwt_svid' } });
    const own = { namespace: 'shop', serviceAccount: 'product', labels: { app: 'product' } };
    const mesh = await createMesh({ ...own, config, identity: await agent.authority.identity(own), log: false, env: {} });
    await mesh.close();
  });
});
