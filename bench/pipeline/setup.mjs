// Makes what both twins need: identities of a test authority, a token, and the policies of the shop's product service.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestAuthority, createTestIssuer } from '@enmesh/core/testing';

const pem = (key) => key.export({ type: 'pkcs8', format: 'pem' });

/** The shop's product policies, with a user token beside them so that the whole pipeline runs. */
const policies = (issuer) => `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users, namespace: shop}
spec:
  jwtRules:
  - issuer: ${issuer.issuer}
    audiences: [shop]
    jwks: '${issuer.jwksText}'
    outputPayloadToHeader: sec-istio-auth-userinfo
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/gateway]}}]
    to: [{operation: {methods: [GET], paths: ["/products/*"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  selector: {matchLabels: {app: product}}
  rules:
  - from: [{source: {requestPrincipals: ["*"]}}]
    when: [{key: "request.auth.claims[groups]", values: [customer]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-drafts, namespace: shop}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/products/drafts/*"]}}]
  - when: [{key: "request.headers[x-debug]", values: ["*"]}]
`;

/** Writes the set-up to a temporary directory and returns its file with the values a check needs. */
export async function prepare() {
  const directory = mkdtempSync(join(tmpdir(), 'enmesh-bench-'));
  const authority = await createTestAuthority();
  const foreign = await createTestAuthority();
  const issuer = await createTestIssuer();
  const server = await authority.issue({ namespace: 'shop', serviceAccount: 'product' });
  const client = await authority.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  const stranger = await foreign.issue({ namespace: 'shop', serviceAccount: 'gateway' });
  const token = await issuer.sign({
    sub: 'jane',
    aud: 'shop',
    groups: ['customer'],
    scope: 'products:read stock:read',
    name: 'Jane',
  });
  const config = join(directory, 'mesh');
  mkdirSync(config);
  writeFileSync(join(config, 'policies.yaml'), policies(issuer));
  const setup = {
    id: server.id.uri,
    chain: server.chain,
    key: pem(server.privateKey),
    notBefore: server.notBefore,
    notAfter: server.notAfter,
    roots: [authority.rootPem],
    config,
    token,
    client: { chain: client.chain, key: pem(client.privateKey) },
    stranger: { chain: stranger.chain, key: pem(stranger.privateKey) },
  };
  const file = join(directory, 'setup.json');
  writeFileSync(file, JSON.stringify(setup), { mode: 0o600 });
  return { directory, file, setup };
}
