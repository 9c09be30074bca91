import type { IncomingMessage } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { RequestEnmesh } from '@enmesh/core';
import { createHouse, open, send, type Answer, type House } from '../support/house.js';
import { encode } from '../support/jwt-verifier.js';
import { startRealServer } from '../support/real-server.js';

interface Keycloak {
  readonly base: string;
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly adminRealm: string;
  readonly admin: { readonly username: string; readonly password: string };
  readonly user: { readonly username: string; readonly password: string; readonly client: string };
}

const server = await startRealServer<Keycloak>('keycloak');
const ends: (() => unknown)[] = [];
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  await server?.stop();
});

async function tokenOf(endpoint: string, client: string, user: { username: string; password: string }): Promise<string> {
  const body = new URLSearchParams({
    grant_type: 'password',
    client_id: client,
    username: user.username,
    password: user.password,
  });
  const answer = await fetch(endpoint, { method: 'POST', body });
  return ((await answer.json()) as { access_token: string }).access_token;
}

/** Asks Keycloak's administration; the body of the answer, undefined when it has none. */
async function administer(
  { base, adminRealm, admin }: Keycloak,
  method: string,
  path: string,
  value?: unknown,
): Promise<unknown> {
  const token = await tokenOf(`${base}/realms/master/protocol/openid-connect/token`, 'admin-cli', admin);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const answer = await fetch(`${adminRealm}${path}`, {
    method,
    headers,
    ...(value === undefined ? {} : { body: JSON.stringify(value) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return text === '' ? undefined : JSON.parse(text);
}

interface KeyComponent {
  readonly id: string;
  readonly providerId: string;
  readonly parentId: string;
}
const keyProvider = 'org.keycloak.keys.KeyProvider';
const config = { priority: ['1000'], enabled: ['true'], active: ['true'], keySize: ['2048'], algorithm: ['RS256'] };

const policies = ({ issuer }: Keycloak): string => `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {jwtRules: [{issuer: "${issuer}", audiences: [gateway]}]}
`;

const kidOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;
const ask = (port: number, token: string): Promise<Answer> => send({ port }, 'GET', '/', [['Authorization', `Bearer ${token}`]]);

async function openPort({ mesh }: House): Promise<number> {
  return open(
    mesh.createServer((request, response) => {
      const { user } = (request as IncomingMessage & { enmesh: RequestEnmesh }).enmesh;
      response.end(JSON.stringify({ issuer: user?.issuer, groups: user?.claims['groups'] }));
    }),
  );
}

describe.skipIf(server === undefined)('the keys of a real Keycloak', () => {
  const keycloak = server?.ready as Keycloak;
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-keycloak-keys-'));
  const start = async (): Promise<{ house: House; port: number }> => {
    const jwks = { [keycloak.issuer]: { insecureHttp: true }, snapshotDirectory: join(directory, 'keys') };
    const house = await createHouse(policies(keycloak), { jwks });
    ends.push(() => house.close());
    return { house, port: await openPort(house) };
  };
  const alice = (): Promise<string> => tokenOf(keycloak.tokenEndpoint, keycloak.user.client, keycloak.user);

  it('are found by discovery, followed when they change, dropped when they go, and kept while it is down', async () => {
    ends.push(() => rmSync(directory, { recursive: true, force: true }));
    const { port } = await start();
    const before = await alice();
    expect(JSON.parse((await ask(port, before)).body)).toEqual({ issuer: keycloak.issuer, groups: ['staff'] });

    const components = (await administer(keycloak, 'GET', `/components?type=${keyProvider}`)) as KeyComponent[];
    const old = components.find(({ providerId }) => providerId === 'rsa-generated') as KeyComponent;
    const { parentId } = old;
    await administer(keycloak, 'POST', '/components', {
      name: 'next',
      providerId: 'rsa-generated',
      providerType: keyProvider,
      parentId,
      config,
    });
    const after = await alice();
    expect(kidOf(after)).not.toBe(kidOf(before));
    await expect.poll(async () => (await ask(port, after)).status).toBe(200);
    expect((await ask(port, before)).status).toBe(200);

    await administer(keycloak, 'DELETE', `/components/${old.id}`);
    const invented = `${encode({ alg: 'RS256', kid: 'invented' })}.${before.split('.')[1]}.${before.split('.')[2]}`;
    // Some unknown key makes the set be asked for again.
    await expect.poll(async () => ((await ask(port, invented)).status === 401 ? (await ask(port, before)).status : 0)).toBe(401);
    expect((await ask(port, after)).status).toBe(200);

    await server?.stop();
    expect((await ask(port, after)).status).toBe(200);
    const again = await start();
    expect((await ask(again.port, after)).status).toBe(200);
    expect((await ask(again.port, before)).status).toBe(401);
  });
});
