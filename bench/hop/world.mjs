// Two services of one mesh in one process, and the contexts of requests that the first one had: without a user, and of several users.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMesh } from '@enmesh/core';
import { createTestIssuer } from '@enmesh/core/testing';
import { issueCertificate, parseX509Svid, rootOptions, svidOptions } from '@enmesh/core/x509';

const documents = (issuer, port) => `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, jwtRules: [{issuer: "${issuer.issuer}", jwks: '${issuer.jwksText}'}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: product, namespace: shop}
spec:
  hosts: [product.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${port}}]
  endpoints: [{address: 127.0.0.1, serviceAccount: product}]
`;

const propagation = (issuer, entry) => `
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: gateway, namespace: shop}
spec: {selector: {matchLabels: {app: gateway}}, outbound: [${JSON.stringify({ hosts: ['product'], ...entry })}]}
---
apiVersion: enmesh.dev/v1
kind: TokenPropagation
metadata: {name: product, namespace: shop}
spec: {selector: {matchLabels: {app: product}}, inbound: [{principals: [cluster.local/ns/shop/sa/gateway], issuers: ["${issuer.issuer}"]}]}
`;

const newKey = {
  'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
};

const fixed = (value) => ({ current: () => value, watch: () => () => {} });
const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));

/** An authority whose leaves have keys of one kind. */
async function createAuthority(keyType) {
  const rootKey = newKey['P-256']();
  const validity = { notBefore: Date.now() - 60_000, notAfter: Date.now() + 86_400_000 };
  const root = await issueCertificate({ ...rootOptions('cluster.local', rootKey), ...validity });
  const bundles = fixed(new Map([['cluster.local', { trustDomain: 'cluster.local', roots: [root] }]]));
  return async (name) => {
    const privateKey = newKey[keyType]();
    const options = { ...svidOptions(`spiffe://cluster.local/ns/shop/sa/${name}`, privateKey), issuer: root, issuerKey: rootKey };
    return { svid: fixed(parseX509Svid({ chain: await issueCertificate({ ...options, ...validity }), privateKey })), bundles };
  };
}

/** A token endpoint that gives a token of the usual size for a day. */
async function createProvider(directory) {
  const issued_token_type = 'urn:ietf:params:oauth:token-type:access_token';
  let count = 0;
  const server = createServer((request, response) => {
    const access_token = `${String(count++).padStart(8, '0')}${'t'.repeat(900)}`;
    const answer = { access_token, token_type: 'Bearer', issued_token_type, expires_in: 86_400 };
    request.resume().on('end', () => response.setHeader('content-type', 'application/json').end(JSON.stringify(answer)));
  });
  const port = await listen(server);
  writeFileSync(join(directory, 'secret'), 'secret');
  const clientAuth = { method: 'client_secret_post', clientId: 'gateway', clientSecretFile: join(directory, 'secret') };
  const exchange = { tokenEndpoint: `http://127.0.0.1:${port}/token`, insecureHttp: true, audience: 'product', clientAuth };
  return { exchange, close: () => server.close() };
}

/** `advance` moves the clock of both services: after 31 s every hop token is made and verified anew. `carried` counts the calls that had what their mode says. */
export async function createWorld({ mode, keyType, users }) {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-hop-'));
  const [issue, issuer, provider] = await Promise.all([createAuthority(keyType), createTestIssuer(), createProvider(directory)]);
  const entry = mode === 'HOP' ? { mode, claims: ['groups'] } : { mode, exchange: provider.exchange };
  let port = 1;
  let ahead = 0;
  const config = {
    read: async () => [
      { name: 'a.yaml', text: documents(issuer, port) },
      { name: 'enmesh/b.yaml', text: propagation(issuer, entry) },
    ],
    watch: () => () => {},
  };
  const joinMesh = async (name) => {
    const workload = { namespace: 'shop', serviceAccount: name, labels: { app: name } };
    return createMesh({ ...workload, config, identity: await issue(name), log: false, env: {}, clock: () => Date.now() + ahead });
  };
  const [gateway, product] = [await joinMesh('gateway'), await joinMesh('product')];
  let known = 0;
  port = await listen(
    product.createServer((request, response) => {
      if (mode === 'HOP' ? request.enmesh.user !== undefined : request.headers.authorization !== undefined) known += 1;
      response.end('ok');
    }),
  );
  await Promise.all([gateway.reload(), product.reload()]);
  const contexts = [];
  const door = await listen(
    gateway.createServer((_request, response) => {
      contexts.push(gateway.context());
      response.end();
    }),
  );
  await (await fetch(`http://127.0.0.1:${door}`)).text();
  for (let n = 0; n < users; n++) {
    const token = await issuer.sign({ sub: `user-${n}`, groups: ['staff'] }, { expiresIn: 86_400 });
    await (await fetch(`http://127.0.0.1:${door}`, { headers: { authorization: `Bearer ${token}` } })).text();
  }
  const [nobody, ...somebody] = contexts;
  return {
    ...{ gateway, nobody, somebody },
    carried: () => known,
    advance: (ms) => (ahead += ms),
    async close() {
      await Promise.all([gateway.close(), product.close()]);
      provider.close();
      rmSync(directory, { recursive: true });
    },
  };
}
